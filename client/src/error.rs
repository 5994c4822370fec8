//! [`ClientError`]: why a call to a daemon did not give its answer.

use std::time::Duration;

use reveille_config::Endpoint;
use reveille_config::dto::Problem;

/// Why a call failed. The message stands alone: it names where, what was asked and what the system said, so that a caller may keep it as text;
/// there is no `source()` that would say the last part again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens, or the socket may not be opened.
    #[error("cannot reach {endpoint}: {cause}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        cause: std::io::Error,
    },
    /// No whole answer came in time.
    #[error("{endpoint} gave no answer to {request} within {} s", waited.as_secs_f32())]
    Timeout {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("{endpoint} broke off {request}: {}", in_full(cause.as_ref()))]
    Exchange {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// What broke.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is longer than [`crate::ANSWER_BYTES_MAX`]; asking again would not help.
    #[error("{endpoint} answered {request} with more than {} octets", crate::ANSWER_BYTES_MAX)]
    TooLong {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
    },
    /// The daemon refused, and said why: the message is the daemon's own, after the field at fault.
    #[error("{}{}", problem.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default(), problem.detail)]
    Refused {
        /// Status, title, detail and the field at fault.
        problem: Problem,
    },
    /// The answer is not what this client understands: a daemon of another version, or another program.
    #[error("{endpoint} answered {request} with something unexpected: {cause}")]
    Answer {
        /// Where.
        endpoint: Endpoint,
        /// Method and path.
        request: String,
        /// What could not be read.
        cause: serde_json::Error,
    },
}

impl ClientError {
    /// The HTTP status of a refusal; `None` where there was no answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem } => Some(problem.status),
            _ => None,
        }
    }

    /// Whether the daemon answered that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether asking again later may help: nobody answered, or the daemon said that it is busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Exchange { .. } => true,
            Self::Refused { problem } => matches!(problem.status, 408 | 429 | 502 | 503 | 504),
            Self::TooLong { .. } | Self::Answer { .. } => false,
        }
    }
}

/// An error with its causes: what a library says last is often the only part that tells.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! [`RedfishError`]: why a Redfish service was not asked or did not do it, with its address and the step in every text.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use reveille_config::limit::BODY_BYTES_MAX;

/// Why something failed at a Redfish service.
#[derive(Debug, thiserror::Error)]
#[error("BMC {address}: {step}: {cause}")]
pub struct RedfishError {
    /// `host:port`, as the node's `driver_info` has it.
    pub address: String,
    /// Method and path.
    pub step: String,
    /// Why.
    #[source]
    pub cause: RedfishCause,
}

/// Why something failed at a Redfish service. No text holds a password or a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedfishCause {
    /// The certificates to trust cannot be had.
    #[error("the certificates of redfish_verify_ca cannot be used: {}{why}", path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display())))]
    Trust {
        /// The file; none for those that this host trusts.
        path: Option<PathBuf>,
        /// Why.
        why: String,
    },
    /// No connection, or no TLS on it.
    #[error("it cannot be reached: {0}")]
    Connect(String),
    /// Its certificate is not trusted.
    #[error(
        "its certificate is not trusted ({0}): see redfish_verify_ca, and whether the certificate is for the host in redfish_address"
    )]
    Certificate(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection ended before the answer.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The answer is longer than any that means something.
    #[error("it answers with more than {BODY_BYTES_MAX} octets")]
    TooLong,
    /// The answer is no JSON.
    #[error("it answers no JSON but what begins with {begins:?}: is it a Redfish service?")]
    NotJson {
        /// How it begins.
        begins: String,
    },
    /// It wants the request elsewhere; that is not followed.
    #[error("it redirects ({0}), which is not followed")]
    Redirect(StatusCode),
    /// The user or the password.
    #[error("it refuses the user or the password ({0})")]
    Unauthorized(StatusCode),
    /// The user may not.
    #[error("the user may not do this (403): {0}")]
    Forbidden(String),
    /// Sessions are wanted, and it has none.
    #[error("it has no sessions: set redfish_auth_type to basic or auto")]
    NoSessions,
    /// It opened a session without a token.
    #[error("it opened a session and gave no token")]
    NoToken,
    /// It changed under us each time.
    #[error("it says that the resource has changed meanwhile (412), again and again")]
    Changing,
    /// Another status than success.
    #[error("it answers {status}: {words}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What it says.
        words: String,
    },
    /// Which of its systems is meant is not said.
    #[error("it has {count} systems ({some}): set redfish_system_id to one of them")]
    Systems {
        /// How many.
        count: usize,
        /// The first.
        some: String,
    },
    /// Something that is needed is not in a resource.
    #[error("it does not say {0}")]
    Missing(&'static str),
    /// It cannot do what is wanted.
    #[error("{0}")]
    Cannot(String),
    /// The task that it began failed.
    #[error("the task that it began failed: {0}")]
    Task(String),
}

impl RedfishCause {
    /// Whether trying again later may help: what is wrong with credentials, certificates and abilities stays wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Trust { .. } | Self::Certificate(_) | Self::Redirect(_) | Self::Unauthorized(_) => false,
            Self::Forbidden(_) | Self::NoSessions | Self::Systems { .. } | Self::Cannot(_) => false,
            Self::Status { status, .. } => {
                !matches!(*status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
            }
            Self::Connect(_) | Self::Timeout(_) | Self::Broken(_) | Self::TooLong | Self::NotJson { .. } => true,
            Self::NoToken | Self::Changing | Self::Missing(_) | Self::Task(_) => true,
        }
    }

    /// The word of metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Trust { .. } => "trust",
            Self::Connect(_) => "connect",
            Self::Certificate(_) => "certificate",
            Self::Timeout(_) => "timeout",
            Self::Broken(_) => "broken",
            Self::TooLong => "too_long",
            Self::NotJson { .. } => "not_json",
            Self::Redirect(_) => "redirect",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NoSessions | Self::NoToken => "no_session",
            Self::Changing => "changing",
            Self::Status { .. } => "status",
            Self::Systems { .. } => "systems",
            Self::Missing(_) => "missing",
            Self::Cannot(_) => "cannot",
            Self::Task(_) => "task",
        }
    }
}

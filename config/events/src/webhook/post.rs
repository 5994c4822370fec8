//! [`Poster`]: one HTTP exchange with a receiver, and [`Failure`]: why it was none.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reveille_config::webhook::Webhook;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::message::Message;

/// Octets of an answer's body that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A connection that is not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Why an exchange failed. Says nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The certificates to trust cannot be had.
    #[error("the certificates to trust cannot be used: {0}")]
    Trust(String),
    /// No connection, or no TLS on it.
    #[error("it cannot be reached: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("it has not answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection ended before the answer.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// It wants the request elsewhere; that is not followed.
    #[error("it redirects ({0}), which is not followed: write where it really is")]
    Redirect(StatusCode),
    /// It wants no more.
    #[error("it is gone (410): nothing more is sent to it until the configuration is loaded again")]
    Gone,
    /// It refused the request.
    #[error("it refuses ({status})")]
    Refused {
        /// With this.
        status: StatusCode,
        /// And wants it again after this time.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// The word of metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Trust(_) => "trust",
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Broken(_) => "broken",
            Self::Redirect(_) => "redirect",
            Self::Gone => "gone",
            Self::Refused { .. } => "refused",
        }
    }

    /// What it answered, where it did.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Redirect(status) | Self::Refused { status, .. } => Some(status.as_u16()),
            Self::Gone => Some(StatusCode::GONE.as_u16()),
            Self::Trust(_) | Self::Connect(_) | Self::Timeout(_) | Self::Broken(_) => None,
        }
    }

    /// When the receiver wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Keeps one connection to a receiver.
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Poster {
    /// Reads whom to trust.
    ///
    /// # Errors
    /// [`Failure::Trust`].
    pub(super) fn new(hook: &Webhook) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::Trust(error.to_string()))?;
        let tls = builder.with_root_certificates(roots(hook)?).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client })
    }

    /// Posts a message; success is a status of 200 to 299.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn post(&self, hook: &Webhook, message: &Message) -> Result<StatusCode, Failure> {
        let unix_secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = Request::post(&hook.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("reveille/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", unix_secs)
            .header("webhook-signature", message.signatures(hook, unix_secs))
            .body(Full::new(message.body.clone()))
            .map_err(|error| Failure::Connect(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let why = innermost(&error);
                if error.is_connect() { Failure::Connect(why) } else { Failure::Broken(why) }
            })?;
            let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let status = answer.status();
            // What it says besides does not matter.
            let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            match status {
                status if status.is_success() => Ok(status),
                status if status.is_redirection() => Err(Failure::Redirect(status)),
                StatusCode::GONE => Err(Failure::Gone),
                status => Err(Failure::Refused { status, retry_after: retry_after.map(Duration::from_secs) }),
            }
        };
        let limit = Duration::from_secs(hook.timeout_secs);
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Failure::Timeout(limit)))
    }
}

/// Posts a signed message with one event of the kind `test`, once, for trying a receiver; gives the status that it answers.
///
/// # Errors
/// See [`Failure`].
pub async fn test(daemon: &str, hook: &Webhook) -> Result<u16, Failure> {
    let id = format!("test-{:016x}", getrandom::u64().unwrap_or_default());
    let message = Message::test(daemon, hook, id);
    Poster::new(hook)?.post(hook, &message).await.map(|status| status.as_u16())
}

/// The last of an error's causes, which says what happened and not where.
fn innermost(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match untrusted(cause) {
        Some(why) => {
            format!(
                "its certificate is not trusted ({why}): see `ca`, and whether the certificate is for the host in `url`"
            )
        }
        None => cause.to_string(),
    }
}

/// Why a certificate was refused: an error of TLS is inside one of the system, or inside that of another, and is none of their causes.
fn untrusted<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::CertificateError> {
    loop {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

/// The certificates of the hook's own, or those that this host trusts.
fn roots(hook: &Webhook) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    if hook.url.starts_with("http://") {
        return Ok(roots);
    }
    let Some(path) = &hook.ca else {
        let found = rustls_native_certs::load_native_certs();
        return match roots.add_parsable_certificates(found.certs) {
            (0, _) => Err(Failure::Trust("this host has none (install ca-certificates), and `ca` names none".into())),
            _ => Ok(roots),
        };
    };
    let unusable = |why: String| Failure::Trust(format!("{}: {why}", path.display()));
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| unusable(error.to_string()))?;
    if all.is_empty() {
        return Err(unusable("it holds no certificate in PEM".into()));
    }
    for certificate in all {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(roots)
}

//! [`Clients`]: one HTTP exchange with a service, bounded in time and size, by a client that trusts whom the node says.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reveille_config::limit::BODY_BYTES_MAX;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::error::RedfishCause;
use crate::proto::access::Trust;
use crate::proto::redfish;

/// A connection that is not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// Files of trusted certificates for which a client is kept; one more makes one be forgotten.
const FILES_MAX: usize = 64;
/// The header of a session.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How a request says who we are. Never printed.
#[derive(Clone)]
pub(super) enum Proof {
    /// Not at all.
    Nothing,
    /// By a session's token.
    Token(Zeroizing<String>),
    /// By `name:password` in base64.
    Basic(Zeroizing<String>),
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<&'a Value>,
    /// `If-Match`.
    pub tag: Option<&'a str>,
    pub proof: Proof,
    /// `Accept`.
    pub accepts: &'static str,
}

/// What every answer is but a stream.
pub(super) const JSON: &str = "application/json";

/// What is answered.
#[derive(Debug)]
pub(super) struct Said {
    pub status: StatusCode,
    /// `null` where there is none.
    pub body: Value,
    headers: HeaderMap,
}

impl Said {
    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `ETag`.
    pub fn tag(&self) -> Option<&str> {
        self.text(&ETAG)
    }

    /// The path of `Location`.
    pub fn location(&self) -> Option<&str> {
        redfish::path(self.text(&LOCATION)?)
    }

    /// The token of a session that was opened.
    pub fn token(&self) -> Option<Zeroizing<String>> {
        self.text(&TOKEN).map(|token| Zeroizing::new(token.to_owned()))
    }

    /// When it wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.text(&RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
    }
}

/// Clients by whom they trust.
#[derive(Default)]
pub(super) struct Clients {
    by_trust: Mutex<HashMap<Trust, (Option<SystemTime>, Http)>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// One exchange. `secret` is what no error's text may hold; `patience` is how long the deadline was away when all began.
    pub async fn exchange(
        &self,
        trust: &Trust,
        base: &str,
        ask: Ask<'_>,
        secret: Option<&str>,
        (deadline, patience): (Instant, Duration),
    ) -> Result<Said, RedfishCause> {
        let client = self.client(trust)?;
        let request = request(base, ask)?;
        let exchange = async {
            let answer = client.request(request).await.map_err(|error| failure(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
                match error.downcast_ref::<LengthLimitError>() {
                    Some(_) => RedfishCause::TooLong,
                    None => RedfishCause::Broken(innermost(&*error)),
                }
            })?;
            Ok((head, body.to_bytes()))
        };
        let (head, body) = timeout_at(deadline, exchange).await.map_err(|_| RedfishCause::Timeout(patience))??;
        let status = head.status;
        let body = match serde_json::from_slice(&body) {
            Ok(value) => value,
            Err(_) if body.is_empty() => Value::Null,
            // The status tells enough: many refuse in plain text, or in HTML.
            Err(_) if !status.is_success() => Value::String(redfish::begins(&body, secret)),
            Err(_) => return Err(RedfishCause::NotJson { begins: redfish::begins(&body, secret) }),
        };
        if status.is_redirection() {
            return Err(RedfishCause::Redirect(status));
        }
        Ok(Said { status, body, headers: head.headers })
    }

    /// Asks for a stream: only its head has to come before the deadline.
    pub async fn open(
        &self,
        trust: &Trust,
        base: &str,
        ask: Ask<'_>,
        (deadline, patience): (Instant, Duration),
    ) -> Result<(StatusCode, Incoming), RedfishCause> {
        let answer = self.client(trust)?.request(request(base, ask)?);
        let answer = timeout_at(deadline, answer).await.map_err(|_| RedfishCause::Timeout(patience))?;
        let answer = answer.map_err(|error| failure(&error))?;
        Ok((answer.status(), answer.into_body()))
    }

    /// The client for whom to trust; a file is read again when it was changed.
    fn client(&self, trust: &Trust) -> Result<Http, RedfishCause> {
        let changed_at = match trust {
            Trust::File(path) => std::fs::metadata(path).and_then(|file| file.modified()).ok(),
            Trust::Host | Trust::Anybody => None,
        };
        let mut by_trust = self.by_trust.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((at, client)) = by_trust.get(trust).filter(|(at, _)| *at == changed_at) {
            let _ = at;
            return Ok(client.clone());
        }
        let client = build(trust)?;
        if by_trust.len() >= FILES_MAX
            && let Some(any) = by_trust.keys().next().cloned()
        {
            by_trust.remove(&any);
        }
        by_trust.insert(trust.clone(), (changed_at, client.clone()));
        Ok(client)
    }
}

fn request(base: &str, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, RedfishCause> {
    let cannot = |what: &str| RedfishCause::Cannot(format!("this {what} cannot be sent"));
    let uri: Uri = format!("{base}{}", ask.path).parse().map_err(|_| cannot("path"))?;
    let mut request = Request::builder()
        .method(ask.method)
        .uri(uri)
        .header(ACCEPT, ask.accepts)
        .header("odata-version", "4.0")
        .header(USER_AGENT, concat!("reveille/", env!("CARGO_PKG_VERSION")));
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| cannot("token"))?;
        value.set_sensitive(true);
        Ok(value)
    };
    match &ask.proof {
        Proof::Nothing => {}
        Proof::Token(token) => request = request.header(TOKEN, secret(token)?),
        Proof::Basic(basic) => request = request.header(AUTHORIZATION, secret(&format!("Basic {}", **basic))?),
    }
    if let Some(tag) = ask.tag {
        request = request.header(IF_MATCH, HeaderValue::from_str(tag).map_err(|_| cannot("tag"))?);
    }
    let body = match ask.body {
        Some(body) => {
            request = request.header(CONTENT_TYPE, "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    request.body(Full::new(body)).map_err(|error| RedfishCause::Cannot(error.to_string()))
}

fn build(trust: &Trust) -> Result<Http, RedfishCause> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |why: String| RedfishCause::Trust { path: None, why };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    let tls = match trust {
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnybodyIsTrusted(provider)))
            .with_no_client_auth(),
        Trust::File(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        Trust::Host => {
            let mut roots = RootCertStore::empty();
            // Where there are none, TLS fails with a word of an unknown issuer; plain HTTP needs none.
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(1)
        .build(connector))
}

fn roots(path: &Path) -> Result<RootCertStore, RedfishCause> {
    let unusable = |why: String| RedfishCause::Trust { path: Some(path.to_owned()), why };
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| unusable(error.to_string()))?;
    if all.is_empty() {
        return Err(unusable("it holds no certificate in PEM".into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in all {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(roots)
}

fn failure(error: &hyper_util::client::legacy::Error) -> RedfishCause {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(why) = untrusted(cause) {
            return RedfishCause::Certificate(why.to_string());
        }
        match cause.source() {
            Some(next) => cause = next,
            None if error.is_connect() => return RedfishCause::Connect(cause.to_string()),
            None => return RedfishCause::Broken(cause.to_string()),
        }
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Why a certificate was refused: an error of TLS is inside one of the system, and is none of its causes.
fn untrusted<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::CertificateError> {
    loop {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

/// `redfish_verify_ca = false`: whoever answers is believed; what it signs is still checked.
#[derive(Debug)]
struct AnybodyIsTrusted(Arc<CryptoProvider>);

impl ServerCertVerifier for AnybodyIsTrusted {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

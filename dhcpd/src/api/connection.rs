//! [`serve`]: accepts connections and runs HTTP/1.1 or 2 on them, bounded in number, in the size of heads and in time. Of requests it knows nothing but who sends them.
//!
//! What is no HTTP ends its own connection, is counted by reason, and changes nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::counter;
use reveille_config::dto::token::Role;
use reveille_config::limit::{LEASE_API_CONNECTIONS_MAX, LEASE_API_STREAMS_MAX};
use reveille_stall::{Answers, Stalled};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service as _;

use super::access::Peer;
use super::certificate::Certificates;
use super::version::{self, Begun, Version};

/// A request's head must have come by then, and the next request on a connection that is kept open; before that, the end of a TLS handshake.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// Octets of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Octets of bodies that wait for their handlers, of one HTTP/2 connection, and of an answer that waits for its reader.
const WINDOW_BYTES: u32 = 128 << 10;
/// After an error of `accept` that lies with us (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long somebody may take to hear that there are too many connections.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// Connections that are being told that there are too many; the ones beyond are only closed.
const REFUSALS_MAX: usize = 64;

/// By which way connections come in, which says who their callers are.
#[derive(Debug, Clone)]
pub enum Door {
    /// A unix socket, which only some may open.
    Unix,
    /// Plain TCP on the loopback, where everybody on the host may do this much.
    Loopback(Option<Role>),
    /// TLS.
    Tls(Arc<Certificates>),
}

/// Something that connections come from.
pub trait Accept: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// Where it began.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// No TLS, or none that we speak.
    #[error("TLS: {0}")]
    Handshake(io::Error),
    /// Nobody said anything in time.
    #[error("nothing came in time")]
    Silent,
    /// The windows stay shut.
    #[error("nothing of an answer was taken")]
    Unread,
    /// Later.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Accepts until `stop` turns true, then lets the requests under way finish.
pub async fn serve<A: Accept>(listener: A, door: Door, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(LEASE_API_CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            let (door, router, stop) = (door.clone(), router.clone(), stop.clone());
            connections.spawn(async move {
                if let Err(error) = enter(stream, door, router, stop).await {
                    let reason = reason(&error);
                    counter!("reveille_dhcpd_http_connection_errors_total", "reason" => reason).increment(1);
                    tracing::debug!(%error, reason, "a connection to the lease API broke off");
                }
                drop(permit);
            });
        } else {
            counter!("reveille_dhcpd_http_refused_at_limit_total").increment(1);
            // Who expects TLS would not understand it.
            if !matches!(door, Door::Tls(_))
                && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
            {
                connections.spawn(async move {
                    refuse(stream).await;
                    drop(permit);
                });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Finds out who comes in and what is spoken, within [`HEAD_TIME_MAX`].
async fn enter<S>(stream: S, door: Door, router: Router, stop: watch::Receiver<bool>) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let role = match door {
        Door::Unix => Peer::LOCAL.role,
        Door::Loopback(role) => role,
        Door::Tls(certificates) => {
            let handshake = tokio::time::timeout(HEAD_TIME_MAX, certificates.acceptor().accept(stream));
            let stream = handshake.await.map_err(|_| Broken::Silent)?.map_err(Broken::Handshake)?;
            let session = stream.get_ref().1;
            let role = certificates.role_of(session.peer_certificates());
            // RFC 9113 §3.2: over TLS the version is settled by ALPN.
            let version = if session.alpn_protocol() == Some(b"h2") { Version::Two } else { Version::One };
            return run(Begun::fresh(stream), version, Peer { role }, router, stop).await;
        }
    };
    let detected = tokio::time::timeout(HEAD_TIME_MAX, version::detect(stream)).await;
    let (version, stream) = detected.map_err(|_| Broken::Silent)??;
    run(stream, version, Peer { role }, router, stop).await
}

async fn run<S>(
    stream: Begun<S>,
    version: Version,
    peer: Peer,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request.map(Body::new))
    });
    let stream = TokioIo::new(Stalled::new(stream));
    let answers = Answers::default();
    // The two connection types share no trait. What HTTP/1.1 does not take is seen by its stream.
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                result = connection.as_mut() => return Ok(result?),
                () = answers.stalled() => return Err(Broken::Unread),
                _ = stop.wait_for(|stop| *stop) => {}
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => Ok(result?),
                () = answers.stalled() => Err(Broken::Unread),
            }
        }};
    }
    let watched = |request| {
        let (answers, answer) = (answers.clone(), service.call(request));
        async move { answer.await.map(|answer| answer.map(|body| answers.watch(body))) }
    };
    match version {
        Version::One => drive!(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(stream, service)
        ),
        Version::Two => drive!(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(HEAD_TIME_MAX)
                .keep_alive_timeout(HEAD_TIME_MAX)
                .max_concurrent_streams(LEASE_API_STREAMS_MAX)
                .initial_connection_window_size(WINDOW_BYTES)
                .initial_stream_window_size(WINDOW_BYTES)
                .max_send_buf_size(WINDOW_BYTES as usize)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .serve_connection(stream, service_fn(watched))
        ),
    }
}

/// The word that a connection's failure is counted under.
fn reason(error: &Broken) -> &'static str {
    match error {
        Broken::Handshake(_) => "tls",
        Broken::Silent => "silent",
        Broken::Unread => "slow-reader",
        Broken::Http(error) if error.is_parse() => "parse",
        Broken::Http(error) if error.is_timeout() => "head-timeout",
        Broken::Http(error) if error.is_incomplete_message() => "incomplete",
        Broken::Http(error) if is_stall(error) => "slow-reader",
        Broken::Http(_) | Broken::Stream(_) => "broken",
    }
}

/// Whether the peer took nothing of what waited for it.
fn is_stall(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Says that there are too many connections, without reading the request.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const BODY: &str =
        r#"{"status":503,"title":"not now","detail":"there are as many connections to this listener as there may be"}"#;
    let answer = async {
        let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close";
        let kind = "content-type: application/problem+json";
        let answer = format!("{head}\r\n{kind}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whoever does not take even that is only closed.
    let _ = tokio::time::timeout(REFUSAL_TIME_MAX, answer).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, DuplexStream};
    use tokio::sync::mpsc;

    fn router() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    /// What the server says to these octets, and why it ended the connection.
    async fn answer(octets: &[u8], close: bool) -> (String, Option<&'static str>) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let stop = watch::Sender::new(false);
        let served = tokio::spawn(enter(server, Door::Unix, router(), stop.subscribe()));
        client.write_all(octets).await.unwrap();
        if close {
            client.shutdown().await.unwrap();
        }
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        let why = served.await.unwrap().err().map(|error| reason(&error));
        (String::from_utf8(said).unwrap(), why)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_request_has_its_reason() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        for (octets, close, status, why) in [
            (&b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"[..], false, "HTTP/1.1 200", None),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true, "HTTP/1.1 400", Some("parse")),
            (b"GET / HTTP/9.9\r\n\r\n", true, "HTTP/1.1 400", Some("parse")),
            (many.as_bytes(), true, "HTTP/1.1 431", Some("parse")),
            (long.as_bytes(), true, "HTTP/1.1 4", Some("parse")),
            (b"GET / HTTP/1.1\r\nho", true, "", Some("incomplete")),
            (b"GET / HTTP/1.1\r\nho", false, "", Some("head-timeout")),
            (b"", false, "", Some("silent")),
            (b"PRI * HTTP/2.0", false, "", Some("silent")),
            (b"PRI * HTTP/2.0", true, "HTTP/1.1 400", Some("parse")),
        ] {
            let (said, reason) = answer(octets, close).await;
            assert!(said.starts_with(status), "{}: {said}", String::from_utf8_lossy(octets));
            assert_eq!(reason, why, "{}", String::from_utf8_lossy(octets));
        }
    }

    /// Connections that the test makes.
    struct Doors(tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>);

    impl Accept for Doors {
        type Stream = DuplexStream;
        async fn accept(&self) -> io::Result<DuplexStream> {
            match self.0.lock().await.recv().await {
                Some(stream) => Ok(stream),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn ten_thousand_connections_are_not_kept_and_room_is_for_the_next() {
        const REQUEST: &[u8] = b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n";
        let (doors, come) = mpsc::channel(1);
        let stop = watch::Sender::new(false);
        let entered = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&entered);
        let wait = async move || {
            waiting.add_permits(1);
            std::future::pending::<&str>().await
        };
        let router = router().route("/wait", get(wait));
        let served = tokio::spawn(serve(Doors(come.into()), Door::Unix, router, stop.subscribe()));
        let open = async || {
            let (client, server) = tokio::io::duplex(1_024);
            doors.send(server).await.unwrap();
            client
        };
        let mut kept = Vec::new();
        for _ in 0..LEASE_API_CONNECTIONS_MAX {
            let mut client = open().await;
            client.write_all(REQUEST).await.unwrap();
            kept.push(client);
        }
        let _ = entered.acquire_many(LEASE_API_CONNECTIONS_MAX as u32).await.unwrap();
        for _ in LEASE_API_CONNECTIONS_MAX..10_000 {
            let mut said = String::new();
            open().await.read_to_string(&mut said).await.unwrap();
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
        }
        kept.pop();
        let answered = async {
            loop {
                let mut client = open().await;
                let mut said = String::new();
                // One that is refused may be closed before it has asked.
                let _ = client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
                client.read_to_string(&mut said).await.unwrap();
                if said.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("room again");
        served.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_its_answer_is_cut() {
        let (mut client, server) = tokio::io::duplex(1_024);
        let stop = watch::Sender::new(false);
        let long = Router::new().route("/", get(async || "x".repeat(1 << 20)));
        client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let ended = enter(server, Door::Unix, long, stop.subscribe()).await;
        assert_eq!(ended.err().map(|error| reason(&error)), Some("slow-reader"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_shuts_its_window_is_cut_like_who_does_not_read() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let stop = watch::Sender::new(false);
        let long = Router::new().route("/", get(async || "x".repeat(1 << 20)));
        let served = tokio::spawn(enter(server, Door::Unix, long, stop.subscribe()));
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 16);
        let (mut send, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
        // It answers every ping.
        tokio::spawn(connection);
        let ask = async |send: &mut hyper::client::conn::http2::SendRequest<Body>| {
            send.send_request(Request::get("http://h/").body(Body::empty()).unwrap()).await.unwrap()
        };
        let read = ask(&mut send).await.into_body();
        let octets = axum::body::to_bytes(Body::new(read), 2 << 20).await.unwrap();
        assert_eq!(octets.len(), 1 << 20, "who reads has all of it");
        tokio::time::sleep(Duration::from_secs(300)).await;
        let unread = ask(&mut send).await;
        let ended = served.await.unwrap();
        assert_eq!(ended.err().map(|error| reason(&error)), Some("slow-reader"));
        drop(unread);
    }

    #[tokio::test]
    async fn who_is_refused_hears_why() {
        let (mut client, server) = tokio::io::duplex(1_000);
        refuse(server).await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 5"), "{said}");
    }
}

//! [`serve`]: accepts connections and has HTTP spoken on them, with TLS or without, bounded in number, in the size of heads and in time.
//!
//! It knows nothing of requests: the machines' server and bootd's own API both run on it.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::lane::{Lane, Offload, Sendfile};
use super::speak::{PREFACE, Version, run};
use crate::io::said::{Cause, is_due};
use crate::io::{Certificates, Counters};

/// A request's head must have come by then (slow-loris), and the next request on a connection that is kept open; before
/// that, the end of a TLS handshake.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// Header fields of a request.
pub(super) const HEADERS_MAX: usize = 64;
/// Octets of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// After an error of `accept` that lies with us (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are being told that there are too many.
const REFUSALS_MAX: usize = 64;

/// Why a connection ended other than by either side's closing it between two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectionError {
    /// What came is no head of a request, or one that is too large.
    Parse,
    /// No whole head within `HEAD_TIME_MAX`.
    HeadTimeout,
    /// The client closed in the middle of a message.
    Incomplete,
    /// The client reset the connection, or had closed it when there was something to send.
    Reset,
    /// The client took nothing of an answer for [`reveille_stall::STALL_MAX`].
    Stalled,
    /// No TLS where it is expected, or none that we speak.
    Tls,
    /// Anything else; a body that could not be sent to its end is also counted with the transfers.
    Other,
}

impl ConnectionError {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 7] =
        [Self::Parse, Self::HeadTimeout, Self::Incomplete, Self::Reset, Self::Stalled, Self::Tls, Self::Other];

    /// The word that metrics count it under.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::HeadTimeout => "head-timeout",
            Self::Incomplete => "incomplete",
            Self::Reset => "reset",
            Self::Stalled => "stalled",
            Self::Tls => "tls",
            Self::Other => "other",
        }
    }

    fn of(error: &Broken) -> Self {
        let error = match error {
            Broken::Http(error) => error,
            Broken::Silent => return Self::HeadTimeout,
            Broken::Stalled => return Self::Stalled,
            Broken::Tls(_) => return Self::Tls,
        };
        let io = std::iter::successors(Some(error as &dyn Error), |error| (*error).source())
            .find_map(|error| error.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
        match io {
            _ if error.is_parse() => Self::Parse,
            _ if error.is_timeout() => Self::HeadTimeout,
            _ if error.is_incomplete_message() => Self::Incomplete,
            _ if error.is_user() => Self::Other,
            Some(ErrorKind::UnexpectedEof) => Self::Incomplete,
            Some(
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::NotConnected,
            ) => Self::Reset,
            Some(ErrorKind::TimedOut) => Self::Stalled,
            Some(_) | None => Self::Other,
        }
    }
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Nothing came in time.
    #[error("nothing came in time")]
    Silent,
    /// Nothing got on for long.
    #[error("the client takes nothing")]
    Stalled,
    /// The handshake.
    #[error("TLS: {0}")]
    Tls(#[source] std::io::Error),
    /// Later.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// By which way connections come in.
#[derive(Debug, Clone)]
pub enum Door {
    /// As they are.
    Plain,
    /// Over TLS.
    Tls(Arc<Certificates>),
}

/// Something that connections come from.
pub trait Accept: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Sendfile + Unpin + Send + 'static;
    /// The next one, and who it is.
    fn accept(&self) -> impl Future<Output = std::io::Result<(Self::Stream, IpAddr)>> + Send;
    /// Which version a client speaks, by what it says first. Nothing is taken from the stream.
    fn version(stream: &Self::Stream) -> impl Future<Output = Version> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept(&self) -> std::io::Result<(Self::Stream, IpAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Heads and ends of bodies go out at once; bodies come in large pieces anyway.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer.ip().to_canonical()))
    }

    async fn version(stream: &TcpStream) -> Version {
        // A client that says "PRI " with a first segment and the rest later is none that exists; it then hears that this is no request.
        let mut first = [0; 4];
        match stream.peek(&mut first).await {
            Ok(4) if PREFACE.starts_with(&first) => Version::Two,
            // An error is met again by who reads.
            _ => Version::One,
        }
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    async fn accept(&self) -> std::io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = UnixListener::accept(self).await?;
        Ok((stream, IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    async fn version(_: &UnixStream) -> Version {
        Version::One
    }
}

/// Accepts until `stop` turns true, then lets the requests under way finish. `service` makes the service of
/// one peer's connection; where it is given a lane, bodies may put pieces of files into it.
pub async fn serve<A, F, S, B>(
    listener: A,
    door: Door,
    connections: Arc<Semaphore>,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
    service: F,
) where
    A: Accept,
    F: Fn(IpAddr, Option<Lane>) -> S + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Error + Send + Sync,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Error + Send + Sync,
{
    let mut tasks = JoinSet::new();
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if is_due(Cause::Accept) {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match connections.clone().try_acquire_owned() {
            Ok(permit) => {
                let (service, counters, stop) = (service.clone(), counters.clone(), stop.clone());
                let door = door.clone();
                tasks.spawn(async move {
                    counters.http_connections.increment(1);
                    if let Err(error) = enter::<A, _, _, _>(stream, door, move |lane| service(peer, lane), stop).await {
                        counters.http_connection_failed(ConnectionError::of(&error));
                        tracing::debug!(%peer, error = &error as &dyn Error, "HTTP connection ended");
                    }
                    counters.http_connections.decrement(1);
                    drop(permit);
                });
            }
            Err(_) => {
                counters.http_refused_at_limit.increment(1);
                // Who expects TLS would not understand it.
                if matches!(door, Door::Plain)
                    && let Ok(permit) = refusals.clone().try_acquire_owned()
                {
                    tasks.spawn(async move {
                        refuse(stream).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Finds out what is spoken, and speaks it. Without TLS, HTTP/1 has a lane.
async fn enter<A, F, S, B>(stream: A::Stream, door: Door, service: F, stop: watch::Receiver<bool>) -> Result<(), Broken>
where
    A: Accept,
    F: FnOnce(Option<Lane>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Error + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Error + Send + Sync,
{
    if let Door::Tls(certificates) = door {
        let handshake = tokio::time::timeout(HEAD_TIME_MAX, certificates.acceptor().accept(stream));
        let stream = handshake.await.map_err(|_| Broken::Silent)?.map_err(Broken::Tls)?;
        // RFC 9113 §3.2: over TLS the version is settled by ALPN.
        let version = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Version::Two } else { Version::One };
        return run(stream, version, service(None), stop).await;
    }
    let version = tokio::time::timeout(HEAD_TIME_MAX, A::version(&stream)).await.map_err(|_| Broken::Silent)?;
    match version {
        Version::One => {
            let lane = Lane::default();
            run(Offload::new(stream, lane.clone()), version, service(Some(lane)), stop).await
        }
        Version::Two => run(stream, version, service(None), stop).await,
    }
}

/// Says that there are too many connections, without reading the request.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    // Whoever does not take even that is only closed.
    let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncReadExt, ReadBuf};
    use tokio::time::Instant;

    async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut_off() {
        let (mut client, server) = tokio::io::duplex(1_000);
        let stop = watch::Sender::new(false);
        let began = Instant::now();
        let served = tokio::spawn(run(server, Version::One, service_fn(hello), stop.subscribe()));
        let trickle = async {
            for octet in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 1_000)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(&[*octet]).await.is_err() {
                    return;
                }
            }
            panic!("a head of a thousand seconds is waited for");
        };
        trickle.await;
        assert_eq!(ConnectionError::of(&served.await.unwrap().unwrap_err()), ConnectionError::HeadTimeout);
        assert!(began.elapsed() <= HEAD_TIME_MAX + Duration::from_secs(2), "{:?}", began.elapsed());
    }

    /// What reading from it fails with.
    struct Fails(ErrorKind);

    impl AsyncRead for Fails {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Err(self.0.into()))
        }
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_reason() {
        use ConnectionError as E;
        let many_fields: &'static [u8] =
            Box::leak([&b"GET / HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(65)].concat().into());
        for (octets, then, expected) in [
            (&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], None, Some(E::Parse)),
            (b"GET\r\n\r\n", None, Some(E::Parse)),
            (b"GET / HTTP/9.9\r\n\r\n", None, Some(E::Parse)),
            (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", None, Some(E::Parse)),
            (&[b'a'; HEAD_BYTES_MAX + 1], None, Some(E::Parse)),
            (many_fields, None, Some(E::Parse)),
            (b"GET / HTTP/1.1\r\nHo", None, Some(E::Incomplete)),
            (b"GET / HTTP/1.1\r\nHo", Some(ErrorKind::ConnectionReset), Some(E::Reset)),
            (b"GET / HTTP/1.1\r\nHo", Some(ErrorKind::Other), Some(E::Other)),
            (b"", None, None),
            // hyper takes a client that closes its half for one that has gone.
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None, Some(E::Incomplete)),
        ] {
            let stop = watch::Sender::new(false);
            let got = match then {
                None => {
                    let stream = tokio::io::join(octets, tokio::io::sink());
                    run(stream, Version::One, service_fn(hello), stop.subscribe()).await
                }
                Some(kind) => {
                    let stream = tokio::io::join(octets.chain(Fails(kind)), tokio::io::sink());
                    run(stream, Version::One, service_fn(hello), stop.subscribe()).await
                }
            };
            let start = octets[..octets.len().min(60)].escape_ascii();
            assert_eq!(got.as_ref().err().map(E::of), expected, "{start}, then {then:?}: {got:?}");
        }
    }

    #[tokio::test]
    async fn random_and_truncated_requests_are_counted_by_reason_and_others_are_served() {
        const EACH: usize = 50;
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let counters = Arc::new(metrics::with_local_recorder(&recorder, Counters::new));
        let server = serve(listener, Door::Plain, Arc::new(Semaphore::new(9)), counters, stop.subscribe(), |_, _| {
            service_fn(hello)
        });
        let server = tokio::spawn(server);
        let ask = async |request: &[u8], closes: bool| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // The server may close before it has read everything.
            let _ = stream.write_all(request).await;
            if closes {
                let _ = stream.shutdown().await;
            }
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap();
            answer
        };
        let mut x = 2_u64;
        for n in 0..EACH {
            // 0x80 and above begin no method, so that every run of them is wrong from its first octet on.
            let random: Vec<u8> = std::iter::repeat_with(|| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (x >> 56) as u8
            })
            .take(1 + n * 10)
            .collect();
            let answer = ask(&[&[0x80 | random[0]], &random[1..]].concat(), true).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
            let truncated = &REQUEST[..1 + n % (REQUEST.len() - 3)];
            assert!(ask(truncated, true).await.is_empty(), "{}", truncated.escape_ascii());
        }
        assert!(ask(REQUEST, false).await.ends_with(b"hello"));
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(60), server).await.expect("ends when told to").unwrap();
        let text = recorder.handle().render();
        for (reason, n) in [("parse", EACH), ("incomplete", EACH), ("other", 0)] {
            let line = format!("reveille_bootd_http_connection_errors_total{{reason=\"{reason}\"}} {n}");
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_kept_open_for_nothing_is_closed() {
        let (mut client, server) = tokio::io::duplex(1_000);
        let stop = watch::Sender::new(false);
        let began = Instant::now();
        let _served = tokio::spawn(run(server, Version::One, service_fn(hello), stop.subscribe()));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"hello"));
        assert!(began.elapsed() <= HEAD_TIME_MAX + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let counters = Arc::new(Counters::new());
        let server = serve(listener, Door::Plain, Arc::new(Semaphore::new(1)), counters, stop.subscribe(), |_, _| {
            service_fn(hello)
        });
        let server = tokio::spawn(server);
        let ask = async |request: &[u8]| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            (stream, String::from_utf8(answer.to_vec()).unwrap())
        };
        let (first, answer) = ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200");
        let (_, answer) = ask(b"").await;
        assert_eq!(answer, "HTTP/1.1 503");
        drop(first);
        let deadline = Instant::now() + Duration::from_secs(60);
        while ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.1 != "HTTP/1.1 200" {
            assert!(Instant::now() < deadline, "the place of a connection that is closed stays taken");
        }
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(60), server).await.expect("ends when told to").unwrap();
    }
}

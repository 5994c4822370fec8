//! [`run`]: speaks HTTP/1.1 or 2 on one connection to its end.
//!
//! HTTP/1.1 has its own bounds in time: a head must come, and what is sent must be taken. On an HTTP/2 connection a client can keep streams open for
//! nothing while it answers every ping, so there the connection as a whole must get on: no new request and no octet of an answer taken for [`STALL_MAX`]
//! ends it.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reveille_stall::{STALL_MAX, Stalled};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::connection::{Broken, HEAD_BYTES_MAX, HEAD_TIME_MAX, HEADERS_MAX};

/// How every HTTP/2 connection begins (RFC 9113 §3.4); no method of HTTP/1 does.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests under way on one HTTP/2 connection; more wait.
const STREAMS_MAX: u32 = 32;
/// Octets of one stream that wait to be sent.
const SEND_BYTES_MAX: usize = 128 << 10;

/// The major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0 and 1.1.
    One,
    /// HTTP/2.
    Two,
}

/// Serves until the connection ends; once `stop` turns true, only what is under way.
pub(super) async fn run<I, S, B>(
    stream: I,
    version: Version,
    service: S,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Broken>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Error + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Error + Send + Sync,
{
    let stream = TokioIo::new(Stalled::new(stream));
    if version == Version::One {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // `Content-Length`: in no other spelling does GRUB up to 2.06 see it, and it would wait until the connection is closed.
            .title_case_headers(true)
            .header_read_timeout(HEAD_TIME_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            _ = stop.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        return Ok(connection.await?);
    }
    let progress = Progress::default();
    let service = service_fn(|request| {
        let (progress, answer) = (progress.clone(), service.call(request));
        progress.note();
        async move { Ok::<_, S::Error>(answer.await?.map(|body| Watched { body: Box::pin(body), progress })) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIME_MAX)
        .keep_alive_timeout(HEAD_TIME_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let stopped = std::pin::pin!(async {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            () = progress.stopped() => Err(Broken::Stalled),
        }
    });
    tokio::select! {
        result = connection.as_mut() => return Ok(result?),
        stopped = stopped => stopped?,
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection => Ok(result?),
        () = progress.stopped() => Err(Broken::Stalled),
    }
}

/// How far a connection has come: a number that grows.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<AtomicU64>);

impl Progress {
    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves after [`STALL_MAX`] in which it has not grown.
    async fn stopped(&self) {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            tokio::time::sleep(STALL_MAX).await;
            if self.0.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// A body whose frames are progress: HTTP/2 asks for one when its client has room for it.
struct Watched<B> {
    body: Pin<Box<B>>,
    progress: Progress,
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = self.body.as_mut().poll_frame(cx);
        if frame.is_ready() {
            self.progress.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Empty;
    use std::convert::Infallible;
    use std::time::Duration;
    use tokio::time::Instant;

    /// A body without an end.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1_024])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http_2_connection_that_does_not_get_on_is_ended() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let stop = watch::Sender::new(false);
        let service = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Endless)));
        let began = Instant::now();
        let served = tokio::spawn(run(server, Version::Two, service, stop.subscribe()));
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://x/large").body(Empty::<Bytes>::new()).unwrap();
        // The body is held and never read: the windows fill, and pings go on.
        let answer = send.send_request(request).await.unwrap();
        let error = served.await.unwrap().unwrap_err();
        assert!(matches!(error, Broken::Stalled), "{error:?}");
        assert!(began.elapsed() <= 2 * STALL_MAX + Duration::from_secs(5), "{:?}", began.elapsed());
        drop(answer);
    }
}

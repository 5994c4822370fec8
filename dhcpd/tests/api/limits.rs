//! What there may be at a time of what lasts: exports, and batches that come in. Beyond it a clear answer; room again when one ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use reveille_config::limit::{BATCH_BYTES_MAX, BATCHES_BYTES_MAX, EXPORTS_MAX};
use reveille_dhcpd::api::Peer;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep};
use tower::ServiceExt as _;

use crate::harness::Server;

/// What a request is answered.
async fn ask(router: Router, method: &'static str, path: &'static str, body: Body) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path).body(body).unwrap();
    request.extensions_mut().insert(Peer::LOCAL);
    router.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn as_many_exports_are_read_as_there_may_be() {
    let server = Server::new();
    let export = async || ask(server.router.clone(), "GET", "/v1/leases:export", Body::empty()).await;
    let mut open = Vec::new();
    for _ in 0..EXPORTS_MAX {
        let answer = export().await;
        assert_eq!(answer.status(), StatusCode::OK);
        open.push(answer);
    }
    let refused = export().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let detail = refused.into_body().collect().await.unwrap().to_bytes();
    let detail = String::from_utf8_lossy(&detail).into_owned();
    assert!(detail.contains(&format!("{EXPORTS_MAX} exports are being read")), "{detail}");
    // Whoever has read all of one, or goes away, makes room.
    open.pop().unwrap().into_body().collect().await.unwrap();
    let next = export().await;
    assert_eq!(next.status(), StatusCode::OK);
    drop(next);
    assert_eq!(export().await.status(), StatusCode::OK);
}

/// A body of unknown length, white space every ten seconds; it counts what it has given.
struct Slow {
    next: Pin<Box<Sleep>>,
    given: Arc<AtomicUsize>,
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.next.as_mut().poll(cx));
        self.next.as_mut().reset(Instant::now() + Duration::from_secs(10));
        self.given.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

/// Lets everything else go on until it is so; the clock stands still meanwhile.
async fn until(is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never is so");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_room_and_is_then_refused() {
    const BATCH: &str = "/v1/reservations:batch";
    const MOST: usize = BATCHES_BYTES_MAX / BATCH_BYTES_MAX;
    let server = Server::new();
    // Each may be as long as a batch may be.
    let given: [Arc<AtomicUsize>; MOST] = Default::default();
    let mut coming = JoinSet::new();
    for given in &given {
        let body = Body::new(Slow { next: Box::pin(sleep(Duration::ZERO)), given: given.clone() });
        coming.spawn(ask(server.router.clone(), "POST", BATCH, body));
    }
    let all_gave = async |pieces: usize| until(|| given.iter().all(|own| own.load(Ordering::Relaxed) >= pieces)).await;
    // The clock is the test's: it stands still while what reads a batch is at work.
    tokio::time::advance(Duration::from_millis(1)).await;
    all_gave(1).await;
    let refused = tokio::spawn(ask(server.router.clone(), "POST", BATCH, Body::from("no JSON")));
    tokio::task::yield_now().await;
    for pieces in 2..=4 {
        assert!(!refused.is_finished(), "it waits for 30 s");
        tokio::time::advance(Duration::from_secs(10)).await;
        all_gave(pieces).await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let refused = refused.await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));

    // One that waits is taken as soon as another ends.
    let waiting = tokio::spawn(ask(server.router.clone(), "POST", BATCH, Body::from("no JSON")));
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    coming.abort_all();
    assert_eq!(waiting.await.unwrap().status(), StatusCode::BAD_REQUEST, "it was read, and is no JSON");
}

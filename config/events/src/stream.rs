//! [`Streams`]: server-sent events, a task for each reader that gives it what is next when it has room for it.
//!
//! Invariants: a reader has at most two chunks of its own in memory, however slowly it reads; nothing waits for it; one that takes nothing for
//! [`STALL_MAX`] is ended; there are at most so many streams as was said.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use metrics::{Gauge, counter, gauge};
use reveille_config::dto::event::{Epoch, EventQuery, Place, sse};
use reveille_config::limit::EVENT_CHUNK_BYTES;
use reveille_stall::STALL_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::Log;

/// Events taken at a time, at about 256 octets each.
pub const EVENTS_AT_ONCE: usize = EVENT_CHUNK_BYTES / 256;
/// A reader that has everything waits so long for what comes next, so that a busy daemon wakes it for many events and not for each.
pub const PAUSE: Duration = Duration::from_millis(20);

/// One reader's place in what a daemon tells.
pub trait Feed: Send + 'static {
    /// What is next, as it goes out: resolves when there is something. Where it is dropped before that, nothing is lost.
    fn next(&mut self) -> impl Future<Output = Bytes> + Send;
    /// The sequence up to which its reader has been given everything.
    fn position(&self) -> u64;
    /// Which log's sequence that is.
    fn epoch(&self) -> Epoch;
}

/// A reader of a [`Log`].
#[derive(Debug)]
pub struct LogFeed<L> {
    log: Arc<L>,
    query: EventQuery,
    since: u64,
    has_all: bool,
}

impl<L: Log> LogFeed<L> {
    /// One that begins after `since`; where the query begins does not count.
    pub fn new(log: Arc<L>, since: u64, query: EventQuery) -> Self {
        Self { log, query: EventQuery { limit: EVENTS_AT_ONCE, ..query }, since, has_all: false }
    }
}

impl<L: Log> Feed for LogFeed<L> {
    async fn next(&mut self) -> Bytes {
        loop {
            if self.has_all {
                self.log.grown(self.since).await;
                tokio::time::sleep(PAUSE).await;
            }
            let page = self.log.page_now(self.since, &self.query);
            self.since = page.next;
            self.has_all = page.next >= self.log.last();
            let mut octets = Vec::new();
            if let Some(lost) = page.lost {
                sse::write_lost(&mut octets, self.log.epoch(), lost);
            }
            page.events.iter().for_each(|event| sse::write_event(&mut octets, self.log.epoch(), event));
            if !octets.is_empty() {
                return octets.into();
            }
            tokio::task::yield_now().await;
        }
    }

    fn position(&self) -> u64 {
        self.since
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }
}

/// As many streams are open as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} streams of events are open, as many as there may be")]
pub struct TooMany(usize);

/// The streams of one daemon.
#[derive(Debug, Clone)]
pub struct Streams {
    daemon: &'static str,
    max: usize,
    permits: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Streams {
    /// Room for `max` streams, which end when `stop` turns true; `daemon` is in the names of their metrics.
    pub fn new(daemon: &'static str, max: usize, stop: watch::Receiver<bool>) -> Self {
        Self { daemon, max, permits: Arc::new(Semaphore::new(max)), stop }
    }

    /// What the daemon is called in metrics.
    pub(crate) fn daemon(&self) -> &'static str {
        self.daemon
    }

    /// Resolves when the daemon stops.
    pub(crate) async fn stopped(&self) {
        // An error means that the daemon is gone.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// The answer that is a stream of what the feed gives.
    ///
    /// # Errors
    /// There are too many.
    pub fn open(&self, feed: impl Feed) -> Result<Response, TooMany> {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            counter!(format!("reveille_{}_event_streams_refused_total", self.daemon)).increment(1);
            return Err(TooMany(self.max));
        };
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(run(self.clone(), feed, sender, Open::begin(self.daemon, permit)));
        let headers = [
            (header::CONTENT_TYPE, sse::CONTENT_TYPE),
            (header::CACHE_CONTROL, "no-store"),
            // For a proxy that would gather what is to go on at once.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        Ok((headers, Body::new(Chunks(receiver))).into_response())
    }
}

async fn run(streams: Streams, mut feed: impl Feed, chunks: mpsc::Sender<Bytes>, _open: Open) {
    let serve = async {
        let mut octets = greeting(&feed);
        loop {
            let told = feed.position();
            match tokio::time::timeout(STALL_MAX, chunks.send(octets)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    counter!(format!("reveille_{}_event_streams_stalled_total", streams.daemon)).increment(1);
                    return;
                }
            }
            octets = tokio::select! {
                octets = feed.next() => octets,
                () = tokio::time::sleep(Duration::from_secs(sse::HEARTBEAT_SECS)) => heartbeat(told, &feed),
                () = chunks.closed() => return,
            };
        }
    };
    tokio::select! {
        () = serve => {}
        () = streams.stopped() => {}
    }
}

/// How far the reader has come, or only that it is still heard.
fn heartbeat(told: u64, feed: &impl Feed) -> Bytes {
    let place = Place::of(feed.epoch(), feed.position()).filter(|place| place.sequence > told);
    let mut octets = Vec::new();
    match place {
        Some(place) => sse::write_position(&mut octets, place),
        None => octets.extend_from_slice(b":\n\n"),
    }
    octets.into()
}

/// So that the reader knows at once that it is heard, and where it is: it comes back to there also where it breaks off before the first event.
fn greeting(feed: &impl Feed) -> Bytes {
    let mut octets = b"retry: 1000\n".to_vec();
    match Place::of(feed.epoch(), feed.position()) {
        Some(place) => sse::write_position(&mut octets, place),
        None => octets.push(b'\n'),
    }
    octets.into()
}

/// A stream that is open, counted for as long as this lives.
struct Open {
    streams: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn begin(daemon: &str, permit: OwnedSemaphorePermit) -> Self {
        let streams = gauge!(format!("reveille_{daemon}_event_streams"));
        streams.increment(1);
        Self { streams, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.decrement(1);
    }
}

/// The body of the answer: the chunks as they come.
struct Chunks(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|octets| Ok(Frame::data(octets))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use reveille_config::dto::event::Since;
    use reveille_config::dto::event::sse::{Item, Reader};

    use super::*;
    use crate::Ring;
    use crate::ring::tests::push;

    async fn next(body: &mut Body, reader: &mut Reader) -> Option<Item> {
        loop {
            if let Some(item) = reader.poll_item().unwrap() {
                return Some(item);
            }
            reader.handle_octets(&body.frame().await?.unwrap().into_data().unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_told_all_it_asks_for_and_how_far_it_has_come_where_nothing_is_for_it() {
        let (stop, stopped) = watch::channel(false);
        let streams = Streams::new("x", 1, stopped);
        let ring = Arc::new(Ring::after(Epoch(1), 100));
        push(&ring, "test", 2);
        let query = EventQuery { kinds: vec!["test".into()], ..EventQuery::default() };
        let feed = || LogFeed::new(ring.clone(), 7, query.clone());
        let mut body = streams.open(feed()).unwrap().into_body();
        assert_eq!(streams.open(feed()).unwrap_err(), TooMany(1));
        let mut reader = Reader::default();
        let mut items = Vec::new();
        let at = |sequence| Item::Position(Since::Place(Place { epoch: Epoch(1), sequence }));
        assert_eq!(next(&mut body, &mut reader).await, Some(at(7)), "where it begins");
        for _ in 0..3 {
            items.push(next(&mut body, &mut reader).await.unwrap());
        }
        let sequences: Vec<_> = items
            .iter()
            .map(|item| match item {
                Item::Lost(lost) => (lost.from, lost.to),
                Item::Event(event) => (event.sequence, 0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sequences, [(8, 100), (101, 0), (102, 0)]);
        push(&ring, "other", 1);
        assert_eq!(next(&mut body, &mut reader).await, Some(at(103)), "at the next heartbeat");
        stop.send_replace(true);
        assert_eq!(next(&mut body, &mut reader).await, None, "the end of the daemon ends its streams");
        drop(body);
        while streams.permits.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_nothing_is_ended_and_makes_room() {
        let (_stop, stopped) = watch::channel(false);
        let streams = Streams::new("x", 1, stopped);
        let ring = Arc::new(Ring::after(Epoch(1), 0));
        push(&ring, "test", 3 * EVENTS_AT_ONCE);
        let mut body = streams.open(LogFeed::new(ring.clone(), 0, EventQuery::default())).unwrap().into_body();
        tokio::time::sleep(STALL_MAX / 2).await;
        assert_eq!(streams.permits.available_permits(), 0, "it may still read");
        let mut reader = Reader::default();
        assert!(next(&mut body, &mut reader).await.is_some(), "where it begins");
        tokio::time::sleep(STALL_MAX / 2 + Duration::from_secs(1)).await;
        assert_eq!(streams.permits.available_permits(), 0, "it has read meanwhile");
        tokio::time::sleep(STALL_MAX).await;
        assert_eq!(streams.permits.available_permits(), 1);
        assert!(streams.open(LogFeed::new(ring, 0, EventQuery::default())).is_ok());
        let mut events = 0;
        while next(&mut body, &mut reader).await.is_some() {
            events += 1;
        }
        assert_eq!(events, EVENTS_AT_ONCE, "what was ready for it, then the end");
    }
}

//! A stream of server-sent events: a task that takes what is next in the rings when its reader has room for it.
//!
//! Invariants: a reader has at most two chunks of its own in memory, however slowly it reads; it is told what it lost, and nothing waits for it; one that takes nothing
//! for [`STALL_MAX`] is ended, and may come back to where it was. There
//! are at most [`EVENT_STREAMS_MAX`] streams. Chunks of readers that want everything are made once and shared.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use metrics::{Gauge, counter, gauge};
use reveille_config::dto::event::{EventQuery, sse};
use reveille_config::limit::{EVENT_CHUNK_BYTES, EVENT_STREAMS_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::cursor::Cursor;
use crate::api::ApiState;
use crate::api::problem::ApiError;
use crate::api::stall::STALL_MAX;

/// Events taken at a time, at about 256 octets each.
const EVENTS_AT_ONCE: usize = EVENT_CHUNK_BYTES / 256;
/// A reader that has everything waits so long for what comes next, so that a busy server wakes it for many events and not for each.
const PAUSE: Duration = Duration::from_millis(20);
/// Chunks kept for other readers that want everything.
const SHARED_CHUNKS_MAX: usize = 64;

/// What all streams share.
#[derive(Debug)]
pub(in crate::api) struct Streams {
    permits: Arc<Semaphore>,
    chunks: Mutex<VecDeque<SharedChunk>>,
}

/// Events after `since`, up to `through`, as they go out.
#[derive(Debug, Clone)]
struct SharedChunk {
    since: u64,
    through: u64,
    octets: Bytes,
}

impl Default for Streams {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)), chunks: Mutex::default() }
    }
}

/// Opens a stream.
///
/// # Errors
/// 503 where there are too many.
pub(super) fn open(state: Arc<ApiState>, cursor: Cursor, query: &EventQuery) -> Result<Response, ApiError> {
    let Ok(permit) = Arc::clone(&state.streams.permits).try_acquire_owned() else {
        counter!("reveille_dhcpd_event_streams_refused_total").increment(1);
        return Err(ApiError::unavailable(format!(
            "{EVENT_STREAMS_MAX} streams of events are open, as many as there may be"
        )));
    };
    let (sender, receiver) = mpsc::channel(1);
    let shared = query.wants_all_durable();
    tokio::spawn(run(state, cursor, shared, sender, Open::begin(permit)));
    let headers = [
        (header::CONTENT_TYPE, sse::CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
        // For a proxy that would gather what is to go on at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((StatusCode::OK, headers, Body::new(Chunks(receiver))).into_response())
}

async fn run(state: Arc<ApiState>, mut cursor: Cursor, shared: bool, chunks: mpsc::Sender<Bytes>, _open: Open) {
    // So that the reader knows at once that it is heard.
    let mut next = Some(Bytes::from_static(b"retry: 1000\n\n"));
    let mut all_sent = false;
    let mut told = cursor.position().0;
    loop {
        if let Some(octets) = next.take() {
            tokio::select! {
                sent = tokio::time::timeout(STALL_MAX, chunks.send(octets)) => match sent {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => {
                        counter!("reveille_dhcpd_event_streams_stalled_total").increment(1);
                        return;
                    }
                },
                () = state.closed() => return,
            }
            if all_sent {
                tokio::time::sleep(PAUSE).await;
            }
        }
        // Listening begins before looking, so that nothing comes between.
        let mut grown = pin!(state.store.shared.events.grown());
        grown.as_mut().enable();
        let (octets, more) = chunk(&state, &mut cursor, shared);
        if !octets.is_empty() {
            told = cursor.position().0;
            (next, all_sent) = (Some(octets), !more);
            continue;
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = grown => tokio::time::sleep(PAUSE).await,
            () = tokio::time::sleep(Duration::from_secs(sse::HEARTBEAT_SECS)) => {
                let position = cursor.position().0;
                let mut octets = Vec::new();
                if position > told { sse::write_position(&mut octets, position) } else { octets.extend_from_slice(b":\n\n") }
                told = position;
                next = Some(octets.into());
            }
            () = chunks.closed() => return,
            () = state.closed() => return,
        }
    }
}

/// What is next for this reader, and whether there is more at once.
fn chunk(state: &ApiState, cursor: &mut Cursor, shared: bool) -> (Bytes, bool) {
    let since = cursor.position().0;
    let chunks = || state.streams.chunks.lock().unwrap_or_else(PoisonError::into_inner);
    if shared && let Some(made) = chunks().iter().rev().find(|chunk| chunk.since == since) {
        cursor.go_to(made.through);
        return (made.octets.clone(), true);
    }
    let found = cursor.take(state, EVENTS_AT_ONCE);
    let mut octets = Vec::with_capacity(found.events.len() * 256);
    if let Some(lost) = found.lost {
        counter!("reveille_dhcpd_event_streams_lost_total").increment(1);
        sse::write_lost(&mut octets, lost);
    }
    if found.missed > 0 {
        sse::write_missed(&mut octets, found.missed);
    }
    for event in &found.events {
        sse::write_event(&mut octets, event);
    }
    let octets = Bytes::from(octets);
    if shared && found.lost.is_none() && !found.events.is_empty() {
        let mut chunks = chunks();
        if chunks.len() == SHARED_CHUNKS_MAX {
            chunks.pop_front();
        }
        chunks.push_back(SharedChunk { since, through: cursor.position().0, octets: octets.clone() });
    }
    (octets, found.more)
}

/// A stream that is open, counted for as long as this lives.
struct Open {
    streams: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn begin(permit: OwnedSemaphorePermit) -> Self {
        let streams = gauge!("reveille_dhcpd_event_streams");
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

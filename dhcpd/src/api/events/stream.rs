//! [`Reader`]: what a stream of events gives its reader next. Chunks of readers that want everything are made once and shared.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use metrics::counter;
use reveille_config::dto::event::{Epoch, sse};
use reveille_events::{EVENTS_AT_ONCE, Feed, PAUSE};

use super::cursor::Cursor;
use crate::api::ApiState;

/// Chunks kept for other readers that want everything.
const SHARED_CHUNKS_MAX: usize = 64;

/// The chunks that readers share.
#[derive(Debug, Default)]
pub(in crate::api) struct SharedChunks(Mutex<VecDeque<SharedChunk>>);

/// Events after `since`, up to `through`, as they go out.
#[derive(Debug, Clone)]
struct SharedChunk {
    since: u64,
    through: u64,
    octets: Bytes,
}

impl SharedChunks {
    /// The last one made of what is after `since`.
    fn after(&self, since: u64) -> Option<SharedChunk> {
        let chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().rev().find(|chunk| chunk.since == since).cloned()
    }

    fn add(&self, chunk: SharedChunk) {
        let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if chunks.len() == SHARED_CHUNKS_MAX {
            chunks.pop_front();
        }
        chunks.push_back(chunk);
    }
}

/// A reader of a stream.
pub(super) struct Reader {
    state: Arc<ApiState>,
    cursor: Cursor,
    /// Whether it wants everything that is durable, and nothing else.
    wants_all: bool,
    has_all: bool,
}

impl Reader {
    /// One that begins where the cursor is.
    pub(super) fn new(state: Arc<ApiState>, cursor: Cursor, wants_all: bool) -> Self {
        Self { state, cursor, wants_all, has_all: false }
    }

    /// What is next, and whether there is more at once.
    fn chunk(&mut self) -> (Bytes, bool) {
        let since = self.position();
        if self.wants_all
            && let Some(made) = self.state.shared_chunks.after(since)
        {
            self.cursor.go_to(made.through);
            return (made.octets, true);
        }
        let found = self.cursor.take(&self.state, EVENTS_AT_ONCE);
        let mut octets = Vec::with_capacity(found.events.len() * 256);
        if let Some(lost) = found.lost {
            counter!("reveille_dhcpd_event_streams_lost_total").increment(1);
            sse::write_lost(&mut octets, self.epoch(), lost);
        }
        if found.missed > 0 {
            sse::write_missed(&mut octets, found.missed);
        }
        for event in &found.events {
            sse::write_event(&mut octets, self.epoch(), event);
        }
        let octets = Bytes::from(octets);
        if self.wants_all && found.lost.is_none() && !found.events.is_empty() {
            self.state.shared_chunks.add(SharedChunk { since, through: self.position(), octets: octets.clone() });
        }
        (octets, found.more)
    }
}

impl Feed for Reader {
    async fn next(&mut self) -> Bytes {
        loop {
            if std::mem::take(&mut self.has_all) {
                tokio::time::sleep(PAUSE).await;
            }
            let state = Arc::clone(&self.state);
            // Listening begins before looking, so that nothing comes between.
            let mut grown = pin!(state.store.shared.events.grown());
            grown.as_mut().enable();
            let (octets, more) = self.chunk();
            if !octets.is_empty() {
                self.has_all = !more;
                return octets;
            }
            if more {
                tokio::task::yield_now().await;
            } else {
                grown.await;
                self.has_all = true;
            }
        }
    }

    fn position(&self) -> u64 {
        self.cursor.position().0
    }

    fn epoch(&self) -> Epoch {
        self.state.epoch()
    }
}

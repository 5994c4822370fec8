//! [`Report`]: how far a file's body has come, and what is said of it at its end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::body::BodyError;
use crate::io::Counters;
use crate::store::{Ongoing, Protocol};

/// Shared by a body and the pieces of it that wait to be sent. With the last of them the transfer has ended: complete if all its octets
/// went out, else with what [`Report::fail`] was told, else broken off by the client.
#[derive(Debug)]
pub(super) struct Report {
    bytes: u64,
    sent: AtomicU64,
    failed: OnceLock<BodyError>,
    /// Taken at the end.
    ongoing: Option<Ongoing>,
    counters: Arc<Counters>,
}

impl Report {
    /// A body of `bytes` octets.
    pub(super) fn new(bytes: u64, ongoing: Ongoing, counters: Arc<Counters>) -> Self {
        Self { bytes, sent: AtomicU64::new(0), failed: OnceLock::new(), ongoing: Some(ongoing), counters }
    }

    /// So many more octets went out.
    pub(super) fn sent(&self, bytes: usize) {
        let sent = self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if let Some(ongoing) = &self.ongoing {
            ongoing.set_bytes_sent(sent);
        }
    }

    /// The body ends short for this reason; gives it as an error of the stream.
    pub(super) fn fail(&self, reason: BodyError) -> io::Error {
        // The first reason stays.
        let _ = self.failed.set(reason);
        io::Error::other(reason)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let Some(ongoing) = self.ongoing.take() else { return };
        let sent = self.sent.load(Ordering::Relaxed);
        let outcome = match self.failed.get() {
            Some(reason) => reason.label(),
            None if sent == self.bytes => "complete",
            None => "broken off by the client",
        };
        self.counters.ended(Protocol::Http, outcome, sent);
        ongoing.end(outcome);
    }
}

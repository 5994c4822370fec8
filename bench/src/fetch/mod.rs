//! Machines that fetch boot files: the load for the boot server and its peers. Every answer is checked; prints one JSON line.

pub mod downloads;
pub mod http;
pub mod tftp;

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What came of a load, within the measured time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fetched {
    /// How long it was, seconds.
    pub seconds: f64,
    /// Octets of payload that arrived.
    pub bytes: u64,
    /// Downloads that ended well, also before and after that time.
    pub completed: u64,
    /// Those within that time.
    pub completed_within: u64,
    /// Downloads that failed.
    pub failed: u64,
    /// Why the first did.
    pub first_failure: Option<String>,
    /// Downloads under way at the end of that time.
    pub active: u64,
    /// Messages sent again.
    pub repeated: u64,
    /// CPU time of the server in that time, seconds.
    pub server_cpu_s: f64,
    /// Its resident anonymous memory at the end of that time, MiB.
    pub server_mib: f64,
    /// Share of that time that the load itself computed, 0 to 1.
    pub busy: f64,
}

impl Fetched {
    /// Octets a second, in millions.
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    /// The server's CPU seconds for 10⁹ octets.
    pub fn cpu_per_gb(&self) -> f64 {
        self.server_cpu_s / (self.bytes as f64 / 1e9)
    }

    /// Downloads a second.
    pub fn per_s(&self) -> f64 {
        self.completed_within as f64 / self.seconds
    }
}

/// How busy a loop was: time between finding something to do and having done it.
struct Busy {
    nanos: u64,
    since: Instant,
}

impl Busy {
    fn new() -> Self {
        Self { nanos: 0, since: Instant::now() }
    }

    /// A turn has ended; whether it had something to do. Gives the time.
    fn turn(&mut self, worked: bool) -> Instant {
        let now = Instant::now();
        if worked {
            self.nanos += (now - self.since).as_nanos() as u64;
        }
        self.since = now;
        now
    }
}

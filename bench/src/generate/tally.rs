//! What came of a phase of load.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Counts of one phase.
#[derive(Clone, Default)]
pub struct Tally {
    /// Exchanges begun.
    pub started: u64,
    /// New clients bound.
    pub bound: u64,
    /// Clients that renewed.
    pub renewed: u64,
    /// Addresses given back.
    pub released: u64,
    /// Addresses declined.
    pub declined: u64,
    /// Offers to made-up clients.
    pub flood_offers: u64,
    /// Messages sent again.
    pub retries: u64,
    /// Clients that gave up.
    pub unanswered: u64,
    /// Answers nobody waited for any more.
    pub late: u64,
    /// Refusals.
    pub naks: u64,
    /// Answers that must not be.
    pub violations: u64,
    /// The first of them.
    pub first_violation: Option<String>,
    /// From when the DISCOVER was due to the OFFER.
    pub offer: Histogram,
    /// From when the REQUEST was due to the ACK.
    pub ack: Histogram,
    /// From when the DISCOVER was due to the ACK.
    pub dora: Histogram,
}

/// Latencies, microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Histogram> for Latency {
    fn from(histogram: &Histogram) -> Self {
        let at = |share| (histogram.micros_at(share) * 10.0).round() / 10.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// A phase as it is printed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Which phase.
    pub name: String,
    /// How long it loaded, seconds; for clients counted beforehand: until the last was bound.
    pub seconds: f64,
    /// Exchanges begun.
    pub started: u64,
    /// Made-up clients that asked.
    pub flooded: u64,
    /// New clients bound in that time.
    pub bound: u64,
    /// Clients that renewed in that time.
    pub renewed: u64,
    /// See [`Tally`].
    pub released: u64,
    /// See [`Tally`].
    pub declined: u64,
    /// See [`Tally`].
    pub flood_offers: u64,
    /// See [`Tally`].
    pub retries: u64,
    /// See [`Tally`].
    pub unanswered: u64,
    /// See [`Tally`].
    pub late: u64,
    /// See [`Tally`].
    pub naks: u64,
    /// See [`Tally`].
    pub violations: u64,
    /// See [`Tally`].
    pub first_violation: Option<String>,
    /// Messages sent.
    pub messages: u64,
    /// Microseconds from when the DISCOVER was due to the OFFER.
    pub offer_us: Latency,
    /// Microseconds from when the REQUEST was due to the ACK.
    pub ack_us: Latency,
    /// Microseconds from when the DISCOVER was due to the ACK.
    pub dora_us: Latency,
    /// CPU time of the server in that time, seconds; 0 if it was not asked for.
    pub server_cpu_s: f64,
    /// Share of that time that the generator itself computed, 0 to 1: near 1 means that it was the limit.
    pub generator_busy: f64,
}

impl Outcome {
    /// Bound clients and renewals a second.
    pub fn per_second(&self) -> f64 {
        (self.bound + self.renewed) as f64 / self.seconds
    }

    /// The server's CPU microseconds for each.
    pub fn cpu_micros(&self) -> f64 {
        self.server_cpu_s * 1e6 / ((self.bound + self.renewed) as f64).max(1.0)
    }
}

//! The driver task's counters, looked up once: it counts every datagram.

use metrics::{Counter, counter};

use crate::proto::ipmi::DropReason;

/// Handles of `reveille_bmc_*`.
pub(super) struct Counters {
    pub received: Counter,
    pub sent: Counter,
    pub repeats: Counter,
    pub send_errors: Counter,
    pub sessions_opened: Counter,
    dropped: [Counter; DropReason::ALL.len()],
}

impl Counters {
    pub fn new() -> Self {
        Self {
            received: counter!("reveille_bmc_datagrams_total", "direction" => "received"),
            sent: counter!("reveille_bmc_datagrams_total", "direction" => "sent"),
            repeats: counter!("reveille_bmc_repeats_total"),
            send_errors: counter!("reveille_bmc_send_errors_total"),
            sessions_opened: counter!("reveille_bmc_sessions_opened_total"),
            dropped: DropReason::ALL.map(|reason| counter!("reveille_bmc_dropped_total", "reason" => reason.label())),
        }
    }

    pub fn dropped(&self, reason: DropReason) {
        if let Some(at) = DropReason::ALL.iter().position(|one| *one == reason) {
            self.dropped[at].increment(1);
        }
    }
}

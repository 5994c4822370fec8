//! What clients betray of other DHCP servers: whom they choose.

use std::net::Ipv4Addr;

use super::{Desk, Job};
use crate::proto::time::Millis;

/// A server that was noted is not noted again for so long, so that a busy one costs the workers no lock.
const NOTED_SECS: u32 = 5;

/// The servers noted last: more are noted more often than needed.
#[derive(Debug, Default)]
pub(super) struct Noted([Option<(Ipv4Addr, usize, Millis)>; 4]);

impl Noted {
    /// Whether to note this one now.
    fn is_due(&mut self, now: Millis, link: usize, server: Ipv4Addr) -> bool {
        let known = self.0.iter_mut().flatten().find(|(noted, on, _)| (*noted, *on) == (server, link));
        if let Some((.., at)) = known {
            let due = at.plus_secs(NOTED_SECS) <= now;
            if due {
                *at = now;
            }
            return due;
        }
        self.0.rotate_right(1);
        self.0[0] = Some((server, link, now));
        true
    }
}

impl Desk {
    /// A client on the link asked another server for its lease. A relay may say for itself which server it is about (RFC 5107), so only direct ones count.
    pub(super) fn note_other_server(&mut self, job: &Job<'_>, link: usize) {
        let Some(server) = job.packet.server_id().filter(|_| job.packet.giaddr().is_unspecified()) else { return };
        // Rubbish that a client makes up is no server.
        if server.is_loopback() || server.is_multicast() || server.is_broadcast() {
            return;
        }
        let known = self.shared.scopes.load().knows_server(server);
        if !known && self.noted.is_due(job.now.monotonic, link, server) {
            self.shared.foreign().asked_for(job.now.unix, link, server);
        }
    }
}

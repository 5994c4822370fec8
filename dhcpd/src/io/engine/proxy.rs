//! ProxyDHCP on port 67 (PXE specification 2.1, §2.2): boot information beside the server that gives the addresses.

use super::{Desk, Job, Outgoing};
use crate::proto::reason::DropReason;
use crate::proto::view::MessageType;

impl Desk {
    /// Answers a boot client's DHCPDISCOVER with what it can boot; everything else is the other server's.
    pub(super) fn proxy(&mut self, job: &Job<'_>) {
        if job.packet.message_type != MessageType::Discover {
            return self.dropped(job, DropReason::OtherServer);
        }
        let buffer = self.buffers.pop().unwrap_or_default();
        match job.asker(job.rules).proxy_offer(buffer) {
            Ok(reply) => {
                self.counters.offers.increment(1);
                self.send(job.due(), Outgoing { scope: job.scope.index, reply });
            }
            Err(buffer) => {
                self.recycle(buffer);
                self.dropped(job, DropReason::NothingToBoot);
            }
        }
    }
}

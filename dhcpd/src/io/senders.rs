//! How much one sender may ask: by client and by relay, in buckets of fixed memory.

use std::hash::{BuildHasher, RandomState};

use reveille_config::dhcpd::Limits;
use reveille_config::limit::{WATCHED_CLIENTS_MAX, WATCHED_RELAYS_MAX};

use crate::proto::rate::Rates;
use crate::proto::reason::DropReason;
use crate::proto::time::Now;
use crate::proto::view::PacketView;

/// What the senders of one thread have asked lately.
#[derive(Debug)]
pub struct Senders {
    clients: Rates,
    relays: Rates,
    /// Drawn anew by each process: nobody can choose a hardware address that shares another's buckets.
    hash: RandomState,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            clients: Rates::new(WATCHED_CLIENTS_MAX),
            relays: Rates::new(WATCHED_RELAYS_MAX),
            hash: RandomState::new(),
        }
    }
}

impl Senders {
    /// Takes a packet into account; why it is not looked at, if it is too much.
    pub fn over_limit(&mut self, now: Now, packet: &PacketView<'_>, limits: &Limits) -> Option<DropReason> {
        let now = now.monotonic;
        let (giaddr, chaddr) = (packet.giaddr(), packet.chaddr());
        if limits.client_packets_per_sec > 0
            && !self.clients.allow(now, self.hash.hash_one(chaddr.0), limits.client_packets_per_sec)
        {
            return Some(DropReason::ClientRate);
        }
        let relayed = limits.relay_packets_per_sec > 0 && !giaddr.is_unspecified();
        let over = relayed && !self.relays.allow(now, self.hash.hash_one(giaddr), limits.relay_packets_per_sec);
        over.then_some(DropReason::RelayRate)
    }
}

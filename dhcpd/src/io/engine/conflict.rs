//! An offer waits until it is known that nobody uses its address; other clients do not notice. What waits is the packet itself, which goes its way once more when
//! the check is over: the address is held for its client meanwhile, and is offered if it is still the best.

use std::net::{Ipv4Addr, SocketAddrV4};

use reveille_config::MacAddr;
use reveille_config::dhcpd::ConflictMethod;
use reveille_config::limit::{CONFLICT_CHECKS_MAX, CONFLICT_RESULTS_MAX, CONFLICT_TRIES_MAX};

use super::early::chaddr;
use super::{Arrival, Desk, Engine, Job};
use crate::proto::conflict::{Answer, Checks, Conflict, Method, Probe, Question};
use crate::proto::decide::ClientState;
use crate::proto::reason::{ChosenBy, DropReason};
use crate::proto::scope::{ClientKey, Scope};
use crate::proto::time::Now;
use crate::store::table::{ClientFacts, refusal_reason};

/// An address that a check found in use rests so long at most, seconds, even where declined ones rest longer: it is checked again before it is offered.
const CONFLICT_REST_SECS: u32 = 600;

/// A packet that waits for the check of an address.
#[derive(Debug)]
pub(super) struct Parked {
    octets: Vec<u8>,
    link: usize,
    from: SocketAddrV4,
    key: ClientKey,
    address: Ipv4Addr,
    chosen_by: ChosenBy,
    /// How many addresses were found in use for it before.
    tries: u8,
}

/// What is remembered of a packet that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resumed {
    address: Ipv4Addr,
    chosen_by: ChosenBy,
    tries: u8,
}

/// One worker's share of the checks.
pub(super) fn checks(workers: usize) -> Checks<Parked> {
    Checks::new((CONFLICT_CHECKS_MAX / workers).max(1), CONFLICT_RESULTS_MAX / workers)
}

impl Engine {
    /// The next thing to ask the network; the answer, if one comes, is for [`Engine::handle_probe_result`].
    pub fn poll_probe(&mut self) -> Option<Probe> {
        self.desk.checks.poll_probe()
    }

    /// Somebody answered for `address`: `holder` where the answer says who.
    pub fn handle_probe_result(&mut self, now: Now, address: Ipv4Addr, holder: Option<MacAddr>) {
        match self.desk.checks.handle_answer(now.monotonic, address, holder) {
            Answer::Unasked | Answer::Own(None) => {}
            Answer::Own(Some(parked)) => self.go_on(now, parked),
            Answer::Conflict(conflict) => {
                self.desk.conflict(now, address, holder, &conflict);
                if let Some(mut parked) = conflict.parcel {
                    parked.tries += 1;
                    self.go_on(now, parked);
                }
            }
        }
    }

    /// Lets go on what waited for addresses that nobody answered for.
    pub(super) fn go_on_where_clear(&mut self, now: Now) {
        while let Some(parked) = self.desk.checks.poll_clear(now.monotonic) {
            self.go_on(now, parked);
        }
    }

    fn go_on(&mut self, now: Now, parked: Parked) {
        let Parked { octets, link, from, address, chosen_by, tries, .. } = parked;
        let Self { parser, desk, .. } = self;
        if tries > CONFLICT_TRIES_MAX {
            desk.dropped_early(now, DropReason::ConflictTries, chaddr(&octets), link);
        } else if let Ok(packet) = parser.parse(&octets) {
            desk.resumed = Some(Resumed { address, chosen_by, tries });
            desk.packet(now, &packet, Arrival { octets: &octets, link, from, broadcast: false });
            desk.resumed = None;
        }
        self.recycle(octets);
    }
}

impl Desk {
    /// Whether the offer of `address` has to wait for a check, or cannot be made now because there are too many. `client` is as it was before the offer.
    pub(super) fn waits_for_check(
        &mut self,
        job: &Job<'_>,
        arrival: Arrival<'_>,
        client: &ClientState,
        address: Ipv4Addr,
        chosen_by: ChosenBy,
    ) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-2.2
        //# As a consistency check, the allocating server SHOULD probe the reused address before allocating the address, e.g., with an ICMP echo request, and the client SHOULD probe the newly received address, e.g., with ARP.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
        //# When allocating a new address, servers SHOULD check that the offered network address is not already in use
        //= https://www.rfc-editor.org/rfc/rfc4039#section-3.1
        //# When allocating a new address, servers SHOULD check that the offered network address is not already in use; e.g., the server may probe the offered address with an ICMP Echo Request.
        let relayed = !job.packet.giaddr().is_unspecified();
        let Some(method) = method(job.scope, relayed, chosen_by) else { return false };
        let in_use_by_client = client.binding.is_some_and(|own| own.address == address && own.remaining_secs > 0);
        if in_use_by_client || self.checks.is_clear(job.now.monotonic, address) {
            return false;
        }
        let mut octets = self.buffers.pop().unwrap_or_default();
        octets.clear();
        octets.extend_from_slice(arrival.octets);
        let tries = self.resumed.map_or(0, |resumed| resumed.tries);
        let (link, from, key) = (arrival.link, arrival.from, job.key);
        let parked = Parked { octets, link, from, key, address, chosen_by, tries };
        let probe = Probe { scope: job.scope.index, address, method };
        let wait_millis = job.scope.conflict.wait_millis;
        let question = Question { probe, client: job.packet.chaddr(), wait_millis };
        match self.checks.park(job.now.monotonic, question, parked) {
            Ok(None) => self.counters.conflict_checks(method),
            Ok(Some(before)) => self.recycle(before.octets),
            Err(parked) => {
                self.recycle(parked.octets);
                self.dropped(job, DropReason::ConflictChecksFull);
            }
        }
        true
    }

    /// The rule that chose the address before it was held for the client while it was checked.
    pub(super) fn first_chosen_by(&self, address: Ipv4Addr, chosen_by: ChosenBy) -> ChosenBy {
        self.resumed.filter(|resumed| resumed.address == address).map_or(chosen_by, |resumed| resumed.chosen_by)
    }

    /// A message of the client that is no DHCPDISCOVER: what it sent before is over.
    pub(super) fn no_longer_waits(&mut self, job: &Job<'_>, client: &ClientState) {
        if self.checks.is_empty() {
            return;
        }
        if let Some(parked) = client.offered.and_then(|address| self.checks.withdraw(address, job.packet.chaddr())) {
            self.recycle(parked.octets);
        }
    }

    /// Somebody uses an address that was about to be offered: it rests, and whoever runs the network is told.
    fn conflict(&mut self, now: Now, address: Ipv4Addr, holder: Option<MacAddr>, conflict: &Conflict<Parked>) {
        self.counters.conflicts.increment(1);
        let shared = std::sync::Arc::clone(&self.shared);
        let scopes = shared.scopes.load();
        let Some(scope) = scopes.get(conflict.scope) else { return };
        let by = holder.map_or_else(|| "a machine that answers ping".to_owned(), |mac| mac.to_string());
        tracing::warn!(scope = &*scope.name, %address, holder = by, "an address of a pool or reservation is in use by a machine that has no lease of it");
        // It rests where it was about to be offered; else the client has gone away, and the event alone is worth a record.
        let rests = conflict
            .parcel
            .as_ref()
            .map(|parked| parked.key)
            .filter(|&key| self.table.client(now, key, None, &ClientFacts::default()).offered == Some(address));
        let key = rests.unwrap_or_else(|| shared.client_on(scope.network, conflict.client, &[]));
        let until = rests.map_or(now.unix, |_| now.unix.plus(scope.decline_secs.min(CONFLICT_REST_SECS)));
        let macs = (conflict.client, holder.unwrap_or_default());
        match self.table.note_conflict(now, key, macs, address, until) {
            Ok(pending) => self.waiting.push_back(super::Waiting::Note { pending }),
            Err(refused) => {
                // Not at rest, but not offered either: the next client that would get it has it checked again.
                if rests.is_some() {
                    self.table.forget_offer(key);
                }
                self.counters.dropped(refusal_reason(&refused.reason));
            }
        }
    }

    /// Gives the memory of a reply or a packet back.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < super::BUFFERS_MAX {
            self.buffers.push(buffer);
        }
    }
}

/// How an address is asked for, if it is.
fn method(scope: &Scope, relayed: bool, chosen_by: ChosenBy) -> Option<Method> {
    match (scope.conflict.method, relayed) {
        (ConflictMethod::Off, _) | (ConflictMethod::Arp, true) => None,
        (ConflictMethod::Icmp, _) => Some(Method::Icmp),
        (ConflictMethod::Arp | ConflictMethod::Auto, false) => Some(Method::Arp),
        // An echo reply does not say whether the machine itself gave it, from before it was known here.
        (ConflictMethod::Auto, true) => {
            (!matches!(chosen_by, ChosenBy::Reservation | ChosenBy::Binding)).then_some(Method::Icmp)
        }
    }
}

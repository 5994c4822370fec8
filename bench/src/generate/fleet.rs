//! [`Fleet`]: simulated clients and the check of every answer they get; no sockets, no clock.
//!
//! Invariant: an address has one owner from the first ACK that bound it until its owner's RELEASE. What breaks it, or answers a client
//! with another's transaction, address or server, is a *violation*: counted, the first one kept in words.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::tally::Tally;
use crate::packet::{ACK, DECLINE, DISCOVER, Message, NAK, OFFER, RELEASE, REQUEST, Reply};

/// Transaction ids hold the slot in their low bits, so that an answer finds its client at once.
const SLOT_BITS: u32 = 20;
/// Clients under way at a time at the most; the last slot number marks made-up clients.
pub const SLOTS_MAX: usize = (1 << SLOT_BITS) - 1;
/// Addresses that answers may bear: 10.0.0.0/8. Servers give those of 10.64.0.0/10; the stateless responder binds more clients in a turn than those are.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const ADDRESSES: u32 = 1 << 24;
/// Clients whose addresses the file reserves have numbers from here.
pub const RESERVED_FIRST: u32 = 0xf000_0000;
/// Made-up clients have numbers from here.
pub const FLOOD_FIRST: u32 = 0x8000_0000;
/// The first reserved address; that of the client `RESERVED_FIRST + n` is `n` further.
pub const RESERVED_BASE: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 0);

/// The hardware address of the client with this number.
pub fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([0x02, 0x42, a, b, c, d])
}

fn number_of(mac: MacAddr) -> Option<u32> {
    match mac.octets() {
        [0x02, 0x42, number @ ..] => Some(u32::from_be_bytes(number)),
        _ => None,
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Discovering,
    Requesting,
    Renewing,
}

/// A client under way. Times are nanoseconds of the run.
#[derive(Debug, Clone, Copy)]
struct Slot {
    state: State,
    tries: u8,
    generation: u16,
    number: u32,
    address: Ipv4Addr,
    server: Ipv4Addr,
    /// When it was meant to begin.
    started: u64,
    /// When its present message was due.
    asked: u64,
    /// When that was last sent.
    sent: u64,
}

/// How an unanswered message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Every half second, seven times.
    Steady,
    /// As boot ROMs do: after 4, 8, 16 and 32 seconds.
    Rom,
}

impl Retry {
    /// How long the n-th copy waits for its answer, nanoseconds; `None` when the client gives up.
    fn patience(self, tries: u8) -> Option<u64> {
        match self {
            Self::Steady => (tries < 8).then_some(500_000_000),
            Self::Rom => (tries < 4).then(|| 4_000_000_000 << tries),
        }
    }
}

/// What comes of an answer.
#[derive(Debug)]
pub enum Next {
    /// Nothing to say.
    Nothing,
    /// The client goes on.
    Send(Message),
    /// A new client is bound.
    Bound,
    /// A client has renewed.
    Renewed,
    /// The client was refused and is out.
    Refused,
}

/// A client that has an address.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Which client.
    pub number: u32,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Who owns an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Client(u32),
    Declined,
}

/// The simulated clients of a run.
pub struct Fleet {
    server: Ipv4Addr,
    slots: Vec<Slot>,
    free: Vec<u32>,
    owners: Vec<Owner>,
    /// Clients that have an address and nothing under way, the one longest idle first.
    pub bound: VecDeque<Bound>,
    released: bool,
    /// What came of the present phase.
    pub tally: Tally,
}

impl Fleet {
    /// Nobody yet; `server` is whose identifier answers must bear.
    pub fn new(server: Ipv4Addr) -> Self {
        let owners = vec![Owner::Nobody; ADDRESSES as usize];
        let (slots, free, bound) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { server, slots, free, owners, bound, released: false, tally: Tally::default() }
    }

    /// Clients under way.
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A new client's first message; it was meant to be sent at `due`. `None` when [`SLOTS_MAX`] are under way.
    pub fn discover(&mut self, now: u64, due: u64, number: u32) -> Option<Message> {
        self.tally.started += 1;
        self.begin(State::Discovering, now, due, Bound { number, address: Ipv4Addr::UNSPECIFIED })
    }

    /// A renewal of a client that has an address.
    pub fn renew(&mut self, now: u64, due: u64, client: Bound) -> Option<Message> {
        self.tally.started += 1;
        self.begin(State::Renewing, now, due, client)
    }

    /// A client gives its address back.
    pub fn release(&mut self, client: Bound) -> Message {
        self.released = true;
        self.tally.released += 1;
        if let Some(owner) = self.owner(client.address) {
            *owner = Owner::Nobody;
        }
        let none = Ipv4Addr::UNSPECIFIED;
        let (chaddr, server) = (mac(client.number), self.server);
        Message { kind: RELEASE, xid: u32::MAX, chaddr, ciaddr: client.address, requested: none, server }
    }

    /// A client has found its address in use: nobody may get it again in this run.
    pub fn decline(&mut self, client: Bound) -> Message {
        self.released = true;
        self.tally.declined += 1;
        if let Some(owner) = self.owner(client.address) {
            *owner = Owner::Declined;
        }
        let none = Ipv4Addr::UNSPECIFIED;
        let (chaddr, server) = (mac(client.number), self.server);
        Message { kind: DECLINE, xid: u32::MAX, chaddr, ciaddr: none, requested: client.address, server }
    }

    /// A client that is never heard of again.
    pub fn made_up(number: u32) -> Message {
        let none = Ipv4Addr::UNSPECIFIED;
        Message { kind: DISCOVER, xid: u32::MAX, chaddr: mac(number), ciaddr: none, requested: none, server: none }
    }

    fn begin(&mut self, state: State, now: u64, due: u64, client: Bound) -> Option<Message> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.slots.len() < SLOTS_MAX => {
                let idle = Slot {
                    state: State::Idle,
                    tries: 0,
                    generation: 0,
                    number: 0,
                    address: Ipv4Addr::UNSPECIFIED,
                    server: Ipv4Addr::UNSPECIFIED,
                    started: 0,
                    asked: 0,
                    sent: 0,
                };
                self.slots.push(idle);
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[at as usize];
        let generation = slot.generation.wrapping_add(1) & 0xfff;
        *slot = Slot {
            state,
            tries: 0,
            generation,
            number: client.number,
            address: client.address,
            server: Ipv4Addr::UNSPECIFIED,
            started: due,
            asked: due,
            sent: now,
        };
        Some(message(at, slot))
    }

    /// Takes in an answer.
    pub fn handle(&mut self, now: u64, octets: &[u8]) -> Next {
        let Some(reply) = crate::packet::read(octets) else {
            return self.violation(|| "the server sent something that is no reply".to_owned());
        };
        let Some(number) = number_of(reply.chaddr) else {
            return self.violation(|| format!("an answer to {}, which nobody is", reply.chaddr));
        };
        if reply.kind != NAK && reply.server != self.server {
            return self.violation(|| format!("an answer in the name of {}", reply.server));
        }
        let at = reply.xid & ((1 << SLOT_BITS) - 1);
        if at as usize == SLOTS_MAX {
            self.tally.flood_offers += 1;
            return Next::Nothing;
        }
        let Some(slot) = self.slots.get_mut(at as usize) else {
            return self.violation(|| format!("an answer to the transaction {:#x}, which never began", reply.xid));
        };
        if reply.xid != xid(at, slot) || slot.state == State::Idle {
            return self.late(number, &reply);
        }
        if number != slot.number {
            let expected = mac(slot.number);
            return self.violation(|| format!("an answer for {expected} bears {}", reply.chaddr));
        }
        match (reply.kind, slot.state) {
            (OFFER, State::Discovering) => {
                (slot.address, slot.server) = (reply.yiaddr, reply.server);
                let waited = now.saturating_sub(slot.started);
                (slot.state, slot.tries, slot.asked, slot.sent) = (State::Requesting, 0, now, now);
                let next = message(at, slot);
                self.tally.offer.add(waited);
                Next::Send(next)
            }
            (ACK, State::Requesting | State::Renewing) => self.acknowledged(now, at, &reply),
            (NAK, State::Requesting | State::Renewing) => {
                self.tally.naks += 1;
                self.leave(at);
                Next::Refused
            }
            // The second answer to a message that was sent twice.
            _ => {
                self.tally.late += 1;
                Next::Nothing
            }
        }
    }

    fn acknowledged(&mut self, now: u64, at: u32, reply: &Reply) -> Next {
        let slot = self.slots[at as usize];
        self.leave(at);
        if reply.yiaddr != slot.address {
            return self.violation(|| format!("{} was offered and {} acknowledged", slot.address, reply.yiaddr));
        }
        if let Next::Refused = self.own(slot.number, reply.yiaddr, true) {
            return Next::Refused;
        }
        self.tally.ack.add(now.saturating_sub(slot.asked));
        self.bound.push_back(Bound { number: slot.number, address: slot.address });
        if slot.state == State::Renewing {
            self.tally.renewed += 1;
            return Next::Renewed;
        }
        self.tally.dora.add(now.saturating_sub(slot.started));
        self.tally.bound += 1;
        Next::Bound
    }

    /// An answer that nobody waits for any more. What it says is still true: its address is bound.
    fn late(&mut self, number: u32, reply: &Reply) -> Next {
        self.tally.late += 1;
        match reply.kind {
            // After a RELEASE of the same client it may be an echo of what was before.
            ACK => self.own(number, reply.yiaddr, !self.released),
            _ => Next::Nothing,
        }
    }

    /// Holds an ACK against all ACKs before it.
    fn own(&mut self, number: u32, address: Ipv4Addr, record: bool) -> Next {
        if number >= RESERVED_FIRST && u32::from(address) != u32::from(RESERVED_BASE) + (number - RESERVED_FIRST) {
            return self.violation(|| format!("{} did not get its reserved address but {address}", mac(number)));
        }
        let Some(owner) = self.owner(address) else {
            return self.violation(|| format!("{address} is outside every pool"));
        };
        match *owner {
            Owner::Nobody if record => *owner = Owner::Client(number),
            Owner::Nobody => {}
            Owner::Client(other) if other == number => {}
            Owner::Client(other) => {
                return self.violation(|| format!("{address} was bound to {} and {}", mac(other), mac(number)));
            }
            Owner::Declined => return self.violation(|| format!("{address} was declined and bound again")),
        }
        Next::Nothing
    }

    fn owner(&mut self, address: Ipv4Addr) -> Option<&mut Owner> {
        let place = u32::from(address).checked_sub(u32::from(NETWORK))?;
        self.owners.get_mut(place as usize)
    }

    /// Whose address it is, for ARP.
    pub fn owner_of(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let place = u32::from(address).checked_sub(u32::from(NETWORK))?;
        match self.owners.get(place as usize)? {
            Owner::Client(number) => Some(mac(*number)),
            Owner::Nobody | Owner::Declined => None,
        }
    }

    fn leave(&mut self, at: u32) {
        self.slots[at as usize].state = State::Idle;
        self.free.push(at);
    }

    /// Sends again what has waited too long; clients whose patience is over leave.
    pub fn sweep(&mut self, now: u64, retry: Retry, mut send: impl FnMut(Message)) {
        for at in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[at as usize];
            let Some(patience) = retry.patience(slot.tries) else { continue };
            if slot.state == State::Idle || now.saturating_sub(slot.sent) < patience {
                continue;
            }
            (slot.tries, slot.sent) = (slot.tries + 1, now);
            if retry.patience(slot.tries).is_some() {
                send(message(at, slot));
                self.tally.retries += 1;
            } else {
                self.tally.unanswered += 1;
                self.leave(at);
            }
        }
    }

    /// Everybody still under way gives up.
    pub fn give_up(&mut self) {
        for at in 0..self.slots.len() as u32 {
            if self.slots[at as usize].state != State::Idle {
                self.tally.unanswered += 1;
                self.leave(at);
            }
        }
    }

    fn violation(&mut self, what: impl FnOnce() -> String) -> Next {
        self.tally.violations += 1;
        self.tally.first_violation.get_or_insert_with(what);
        Next::Refused
    }
}

fn xid(at: u32, slot: &Slot) -> u32 {
    u32::from(slot.generation) << SLOT_BITS | at
}

fn message(at: u32, slot: &Slot) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let (kind, ciaddr, requested) = match slot.state {
        State::Renewing => (REQUEST, slot.address, none),
        State::Requesting => (REQUEST, none, slot.address),
        State::Discovering | State::Idle => (DISCOVER, none, none),
    };
    Message { kind, xid: xid(at, slot), chaddr: mac(slot.number), ciaddr, requested, server: slot.server }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;

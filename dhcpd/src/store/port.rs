//! [`Ports`]: how many addresses the clients behind each port hold, shared by all workers without a lock, so that a port's share is one, however many workers there are.
//!
//! A port is what a relay says of it (RFC 3046: circuit id, with the remote id where there is one); on the local link nothing is known and nothing is counted.
//! It is known by 32 bits of a keyed hash, so nobody can aim at another's count; two of 65,536 ports may fall together and then share one.
//!
//! Invariants: a port is counted in one of [`WINDOW`] slots that follow its hash; what was [added](Ports::add) is [removed](Ports::remove) once. Of two workers that add
//! the first addresses of a port at the same moment each may take a slot: the sum counts, and the check before them both may let one more address through for each worker.

use std::hash::Hasher;
use std::num::NonZeroU32;

use reveille_config::dhcpd::PortShareBy;
use siphasher::sip::SipHasher13;

use super::atomic::{AtomicU64, Ordering};
use crate::proto::circuit::Circuit;
use crate::proto::scope::NetworkIndex;

/// Slots in which a port may be.
const WINDOW: usize = 16;

/// A port of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(NonZeroU32);

impl Port {
    /// The port that a relay names; `None` where it names none.
    //= https://www.rfc-editor.org/rfc/rfc3046#section-4
    //# The DHCP server SHOULD implement policies that restrict the number of IP addresses to be assigned to a single remote ID.
    pub(super) fn of(seed: u64, network: NetworkIndex, by: PortShareBy, circuit: Circuit<'_>) -> Option<Self> {
        let (named, circuit) = match by {
            PortShareBy::Port => (circuit.circuit_id, circuit),
            PortShareBy::RemoteId => (circuit.remote_id, Circuit { circuit_id: &[], ..circuit }),
        };
        if named.is_empty() {
            return None;
        }
        let mut hasher = SipHasher13::new_with_keys(seed, network.0.into());
        hasher.write_usize(circuit.circuit_id.len());
        hasher.write(circuit.circuit_id);
        hasher.write(circuit.remote_id);
        Some(Self(NonZeroU32::new(hasher.finish() as u32).unwrap_or(NonZeroU32::MIN)))
    }
}

/// The counts. A slot is a port and its count, 32 bits each; 0 is an empty one.
#[derive(Debug)]
pub(super) struct Ports {
    slots: Box<[AtomicU64]>,
}

impl Ports {
    /// For about `ports` ports.
    pub(super) fn new(ports: usize) -> Self {
        let slots = (ports * 2).next_power_of_two().max(WINDOW);
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// How many addresses the port's clients hold.
    pub(super) fn count(&self, port: Port) -> u64 {
        let counts = self.window(port).map(|slot| slot.load(Ordering::Relaxed));
        counts.filter(|&slot| is_of(slot, port)).map(count_of).sum()
    }

    /// Counts one address more; `false` where there is no room for one more port, which then is not confined.
    pub(super) fn add(&self, port: Port) -> bool {
        let one = u64::from(port.0.get()) << 32 | 1;
        // Each round that fails, another worker was faster: it made room or took it.
        loop {
            let known = self.window(port).any(|slot| change(slot, port, |count| Some(count + 1)));
            if known {
                return true;
            }
            let Some(empty) = self.window(port).find(|slot| slot.load(Ordering::Relaxed) == 0) else { return false };
            if empty.compare_exchange(0, one, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Counts one address less.
    pub(super) fn remove(&self, port: Port) {
        // The slot is there: what is removed was added.
        let _ = self.window(port).any(|slot| change(slot, port, |count| count.checked_sub(1)));
    }

    fn window(&self, port: Port) -> impl Iterator<Item = &AtomicU64> {
        let first = port.0.get() as usize;
        (first..first + WINDOW).map(|place| &self.slots[place & (self.slots.len() - 1)])
    }
}

/// Changes the port's count, if it is in this slot. A count of 0 leaves the slot empty.
fn change(slot: &AtomicU64, port: Port, to: impl Fn(u64) -> Option<u64>) -> bool {
    let changed = |value: u64| {
        let count = to(count_of(value)).filter(|_| is_of(value, port))?;
        Some(if count == 0 { 0 } else { u64::from(port.0.get()) << 32 | count })
    };
    slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed).is_ok()
}

fn is_of(slot: u64, port: Port) -> bool {
    slot >> 32 == u64::from(port.0.get())
}

fn count_of(slot: u64) -> u64 {
    slot & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use reveille_config::limit::COUNTED_PORTS_MAX;

    use super::*;

    fn port(number: u32) -> Port {
        Port(NonZeroU32::new(number).unwrap())
    }

    #[test]
    fn each_port_has_its_count_and_leaves_no_trace() {
        let ports = Ports::new(64);
        // Neighbours, so that their windows overlap; the last goes round the end.
        let all = [3, 4, 19, 127, 255].map(port);
        for (times, port) in (1..).zip(all) {
            assert_eq!((0..times).filter(|_| ports.add(port)).count(), times);
        }
        assert_eq!(all.map(|port| ports.count(port)), [1, 2, 3, 4, 5]);
        assert_eq!(ports.count(port(5)), 0);
        for (times, port) in (1..).zip(all) {
            (0..times).for_each(|_| ports.remove(port));
            assert_eq!(ports.count(port), 0);
        }
        assert!(ports.slots.iter().all(|slot| slot.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn at_the_limit_one_more_port_is_not_counted_until_another_goes() {
        let ports = Ports::new(WINDOW / 2);
        let known: Vec<_> = (1..=WINDOW as u32).map(port).collect();
        assert!(known.iter().all(|&port| ports.add(port)));
        let more = port(WINDOW as u32 + 1);
        assert_eq!((ports.add(more), ports.count(more)), (false, 0));
        assert!(ports.add(known[3]), "a known one is counted on");
        ports.remove(known[5]);
        assert_eq!((ports.add(more), ports.count(more)), (true, 1));
    }

    #[test]
    fn at_the_real_limit_all_ports_are_counted_and_far_more_never_take_another_s_place() {
        let ports = Ports::new(COUNTED_PORTS_MAX);
        let slots = ports.slots.len();
        // Spread as the keyed hash spreads them.
        let numbers = (1..).map(|n: u32| n.wrapping_mul(0x9e37_79b1)).filter(|&number| number != 0);
        let known: Vec<_> = numbers.clone().take(COUNTED_PORTS_MAX).map(port).collect();
        assert!(known.iter().all(|&port| ports.add(port)));
        let more = numbers.skip(COUNTED_PORTS_MAX).take(4 * COUNTED_PORTS_MAX).map(port);
        let counted = more.filter(|&port| ports.add(port)).count();
        assert!(counted <= slots - COUNTED_PORTS_MAX, "no more than there are slots: {counted}");
        assert!(known.iter().all(|&port| ports.count(port) == 1));
        assert_eq!(ports.slots.len(), slots);
    }

    #[test]
    fn workers_count_into_one_share() {
        let ports = Ports::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..4_000 {
                        assert!(ports.add(port(7 + number % 3)));
                        assert!(ports.add(port(99)));
                        ports.remove(port(7 + number % 3));
                    }
                });
            }
        });
        assert_eq!([7, 8, 9, 99].map(|number| ports.count(port(number))), [0, 0, 0, 16_000]);
    }

    #[test]
    fn a_port_is_its_circuit_and_the_relay_agents_id() {
        let by = |by, network, circuit_id, remote_id| {
            Port::of(1, NetworkIndex(network), by, Circuit { circuit_id, remote_id })
        };
        let of = |network, circuit_id, remote_id| by(PortShareBy::Port, network, circuit_id, remote_id);
        let one = of(0, &b"eth1"[..], &b"sw1"[..]);
        assert_eq!(one, of(0, b"eth1", b"sw1"));
        let others = [of(0, b"eth1", b"sw2"), of(0, b"eth2", b"sw1"), of(1, b"eth1", b"sw1"), of(0, b"eth", b"1sw1")];
        assert!(others.iter().all(|other| other.is_some() && *other != one));
        assert_eq!(of(0, b"", b"sw1"), None, "the relay agent alone is no port");
        let behind = |circuit_id, remote_id| by(PortShareBy::RemoteId, 0, circuit_id, remote_id);
        assert_eq!(behind(b"eth1", b"sw1"), behind(b"eth2", b"sw1"));
        assert!(behind(b"", b"sw1").is_some() && behind(b"eth1", b"sw1") != behind(b"eth1", b"sw2"));
        assert_eq!(behind(b"eth1", b""), None);
    }
}

//! [`Recent`]: which messages are being answered, so that the second copy that a relay delivers is known for what it is.
//!
//! A message is told by type, `xid`, `chaddr` and `giaddr`. The memory is a table of fixed size in which a later message takes an earlier one's place:
//! whoever is forgotten is answered once more from the client's state, which is never wrong.

use crate::proto::time::Millis;
use crate::proto::view::PacketView;

/// Messages remembered; a power of two.
const SLOTS: usize = 1_024;
/// Copies come within milliseconds; what comes later is a client that asks again.
const COPY_MILLIS_MAX: u64 = 500;

/// The messages of one worker that wait for the disk.
#[derive(Debug)]
pub struct Recent(Box<[(u64, Millis)]>);

impl Default for Recent {
    fn default() -> Self {
        Self(vec![(0, Millis(0)); SLOTS].into())
    }
}

impl Recent {
    /// Remembers that `packet` is being answered.
    pub fn note(&mut self, now: Millis, packet: &PacketView<'_>) {
        let hash = hash(packet);
        self.0[hash as usize % SLOTS] = (hash, now);
    }

    /// Whether `packet` is a copy of one that was noted a moment ago.
    pub fn is_copy(&self, now: Millis, packet: &PacketView<'_>) -> bool {
        let hash = hash(packet);
        let (noted, at) = self.0[hash as usize % SLOTS];
        noted == hash && now.0.saturating_sub(at.0) <= COPY_MILLIS_MAX
    }
}

/// 64 well-mixed bits; never 0.
fn hash(packet: &PacketView<'_>) -> u64 {
    let [a, b, c, d, e, f] = packet.chaddr().octets();
    let words = [
        u64::from_be_bytes([0, packet.message_type as u8, a, b, c, d, e, f]),
        u64::from(u32::from_be_bytes(packet.xid())) << 32 | u64::from(u32::from(packet.giaddr())),
    ];
    let mut mixed = 0x9e37_79b9_7f4a_7c15;
    for word in words {
        mixed = (mixed ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 31;
    }
    mixed | 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{Packet, STRANGER, ip};

    #[test]
    fn a_copy_is_the_same_message_through_the_same_relay_a_moment_later() {
        let first = Packet::request(STRANGER).relayed_by(ip(2, 254));
        let mut recent = Recent::default();
        let (now, soon, later) = (Millis(10_000), Millis(10_400), Millis(10_501));
        first.view(|view| {
            assert!(!recent.is_copy(now, view));
            recent.note(now, view);
            assert!(recent.is_copy(now, view) && recent.is_copy(soon, view) && !recent.is_copy(later, view));
        });
        for (why, other) in [
            ("another xid", first.clone().at(4, &[9])),
            ("another relay", first.clone().relayed_by(ip(2, 253))),
            ("another client", first.clone().at(33, &[9])),
            ("another message", Packet::discover(STRANGER).relayed_by(ip(2, 254))),
        ] {
            other.view(|view| assert!(!recent.is_copy(soon, view), "{why}"));
        }
    }
}

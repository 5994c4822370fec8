//! Notes: records of what happened that are not a promise of their own, so that events survive a restart with the sequence under which they were told.
//!
//! Kinds 16 to 18 and 21 stand in the log. Kinds 19 and 20 stand in snapshots only: the events that were still known, with their own sequences, because the records that told
//! them are retired with the log. Kind 21 tells no event. A note never changes what is promised, but for the quarantine of a conflict. Layouts as in [`super::record`]; golden octets in the test.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::record::{Reader, RecordError, put_short};
use crate::proto::time::UnixSecs;

/// The kinds of notes.
pub const KINDS: std::ops::RangeInclusive<u8> = 16..=21;

/// One note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note<'a> {
    /// Kind 16: the time of this machine's lease is over, and it has been told.
    Expired {
        /// The address.
        address: Ipv4Addr,
        /// The machine.
        mac: MacAddr,
        /// When it was noticed, not before the lease's end.
        at: UnixSecs,
    },
    /// Kind 17: an address that was about to be offered is in use by a machine without a lease of it.
    Conflict {
        /// The address.
        address: Ipv4Addr,
        /// For whom it was to be.
        mac: MacAddr,
        /// Who uses it; all zeros where that is not known.
        holder: MacAddr,
        /// When.
        at: UnixSecs,
        /// End of the quarantine; not after `at` where there is none.
        until: UnixSecs,
    },
    /// Kind 18: a scope's pools have come to its upper mark, or back to its lower one.
    Pool {
        /// The scope's name.
        scope: &'a str,
        /// Whether they are above.
        above: bool,
        /// Addresses in use.
        used: u32,
        /// Addresses there are.
        size: u32,
        /// When.
        at: UnixSecs,
    },
    /// Kind 19: an event that had been told before the snapshot.
    Told {
        /// Its sequence.
        sequence: u64,
        /// When, Unix milliseconds.
        at_unix_millis: u64,
        /// What: `EventKind`'s code.
        code: u8,
        /// The machine.
        mac: MacAddr,
        /// The address; 0.0.0.0 where there is none.
        address: Ipv4Addr,
        /// The lease time told, or the addresses in use.
        amount: u32,
        /// The addresses there are.
        size: u32,
        /// The scope's name.
        scope: &'a str,
    },
    /// Kind 20: events up to here are no longer known.
    Forgotten {
        /// The last of them.
        through: u64,
    },
    /// Kind 21: this machine dealt with the server about its lease, which stays as it was; for lease queries, and written only where somebody may ask.
    Dealt {
        /// The address.
        address: Ipv4Addr,
        /// The machine that the lease's record names.
        mac: MacAddr,
        /// When.
        at: UnixSecs,
        /// Whether it was told what is left of its lease.
        told: bool,
        /// Option 82, at most 255 octets; empty where none came.
        relay_agent: &'a [u8],
        /// Option 60, at most 255 octets; empty where none came.
        vendor_class: &'a [u8],
    },
}

impl<'a> Note<'a> {
    /// Writes the payload into `to`, which is emptied first; says the kind.
    pub fn encode(&self, to: &mut Vec<u8>) -> u8 {
        to.clear();
        match *self {
            Self::Expired { address, mac, at } => {
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&at.0.to_le_bytes());
                16
            }
            Self::Conflict { address, mac, holder, at, until } => {
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&holder.octets());
                to.extend_from_slice(&at.0.to_le_bytes());
                to.extend_from_slice(&until.0.to_le_bytes());
                17
            }
            Self::Pool { scope, above, used, size, at } => {
                to.push(above.into());
                for number in [used, size, at.0] {
                    to.extend_from_slice(&number.to_le_bytes());
                }
                put_short(to, scope.as_bytes());
                18
            }
            Self::Told { sequence, at_unix_millis, code, mac, address, amount, size, scope } => {
                to.extend_from_slice(&sequence.to_le_bytes());
                to.extend_from_slice(&at_unix_millis.to_le_bytes());
                to.push(code);
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&amount.to_le_bytes());
                to.extend_from_slice(&size.to_le_bytes());
                put_short(to, scope.as_bytes());
                19
            }
            Self::Forgotten { through } => {
                to.extend_from_slice(&through.to_le_bytes());
                20
            }
            Self::Dealt { address, mac, at, told, relay_agent, vendor_class } => {
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&at.0.to_le_bytes());
                to.push(told.into());
                put_short(to, relay_agent);
                put_short(to, vendor_class);
                21
            }
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The kind is no note's or the payload is not of its kind.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, RecordError> {
        if !KINDS.contains(&kind) {
            return Err(RecordError::UnknownKind(kind));
        }
        let mut reader = Reader(payload);
        match read(&mut reader, kind) {
            Some(note) if reader.0.is_empty() => Ok(note),
            _ => Err(RecordError::Malformed(kind)),
        }
    }
}

fn read<'a>(reader: &mut Reader<'a>, kind: u8) -> Option<Note<'a>> {
    Some(match kind {
        16 => Note::Expired { address: reader.address()?, mac: reader.mac()?, at: reader.time()? },
        17 => Note::Conflict {
            address: reader.address()?,
            mac: reader.mac()?,
            holder: reader.mac()?,
            at: reader.time()?,
            until: reader.time()?,
        },
        18 => Note::Pool {
            above: yes_or_no(reader)?,
            used: u32::from_le_bytes(reader.array()?),
            size: u32::from_le_bytes(reader.array()?),
            at: reader.time()?,
            scope: short_text(reader)?,
        },
        19 => Note::Told {
            sequence: u64::from_le_bytes(reader.array()?),
            at_unix_millis: u64::from_le_bytes(reader.array()?),
            code: reader.array::<1>()?[0],
            mac: reader.mac()?,
            address: reader.address()?,
            amount: u32::from_le_bytes(reader.array()?),
            size: u32::from_le_bytes(reader.array()?),
            scope: short_text(reader)?,
        },
        20 => Note::Forgotten { through: u64::from_le_bytes(reader.array()?) },
        _ => Note::Dealt {
            address: reader.address()?,
            mac: reader.mac()?,
            at: reader.time()?,
            told: yes_or_no(reader)?,
            relay_agent: reader.short()?,
            vendor_class: reader.short()?,
        },
    })
}

fn yes_or_no(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.array()? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

fn short_text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    std::str::from_utf8(reader.short()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 3, 4, 5, 6, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 9);

    fn examples() -> Vec<(Note<'static>, u8, Vec<u8>)> {
        let (at, until, holder) = (UnixSecs(1), UnixSecs(2), MacAddr([9; 6]));
        let start = [10, 77, 1, 9, 2, 3, 4, 5, 6, 7];
        vec![
            (Note::Expired { address: ADDRESS, mac: MAC, at }, 16, [&start[..], &[1, 0, 0, 0]].concat()),
            (
                Note::Conflict { address: ADDRESS, mac: MAC, holder, at, until },
                17,
                [&start[..], &[9; 6], &[1, 0, 0, 0, 2, 0, 0, 0]].concat(),
            ),
            (
                Note::Pool { scope: "prov", above: true, used: 9, size: 10, at },
                18,
                [&[1, 9, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 4][..], b"prov"].concat(),
            ),
            (
                Note::Told {
                    sequence: 258,
                    at_unix_millis: 3,
                    code: 1,
                    mac: MAC,
                    address: ADDRESS,
                    amount: 60,
                    size: 0,
                    scope: "p",
                },
                19,
                [
                    &[2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1][..],
                    &MAC.octets(),
                    &ADDRESS.octets(),
                    &[60, 0, 0, 0, 0, 0, 0, 0, 1, b'p'],
                ]
                .concat(),
            ),
            (Note::Forgotten { through: 7 }, 20, vec![7, 0, 0, 0, 0, 0, 0, 0]),
            (
                Note::Dealt { address: ADDRESS, mac: MAC, at, told: true, relay_agent: &[1, 1, 9], vendor_class: b"u" },
                21,
                [&start[..], &[1, 0, 0, 0, 1, 3, 1, 1, 9, 1, b'u']].concat(),
            ),
        ]
    }

    /// If this test fails, do not change the test: give the new layout a new kind.
    #[test]
    fn golden_octets_of_every_kind() {
        for (note, kind, octets) in examples() {
            let mut payload = vec![0xee];
            assert_eq!(note.encode(&mut payload), kind);
            assert_eq!(payload, octets, "kind {kind}");
            assert_eq!(Note::decode(kind, &octets), Ok(note));
        }
    }

    #[test]
    fn refuses_what_is_cut_longer_or_unknown() {
        for (_, kind, octets) in examples() {
            for cut in 0..octets.len() {
                assert_eq!(Note::decode(kind, &octets[..cut]), Err(RecordError::Malformed(kind)), "{kind} at {cut}");
            }
            assert_eq!(Note::decode(kind, &[&octets[..], &[0]].concat()), Err(RecordError::Malformed(kind)));
        }
        assert_eq!(Note::decode(15, &[]), Err(RecordError::UnknownKind(15)));
        assert_eq!(Note::decode(22, &[]), Err(RecordError::UnknownKind(22)));
    }
}

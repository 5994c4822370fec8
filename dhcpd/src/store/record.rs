//! What the journal's payloads mean to dhcpd: one kind per record and layout, golden octets in the test.
//!
//! Records say what *is*, not what changed, so that replaying one twice, in order, is harmless (docs/journal-format.md, R8). A new layout gets a new kind;
//! an unknown kind stops the start: a later version wrote it, and to skip it could bind an address twice.
//!
//! Integers are little-endian, addresses in the order of the wire, texts UTF-8 with their length before them.

mod bind;

use std::net::Ipv4Addr;

use reveille_config::dhcpd::ReservedFor;
use reveille_config::{MacAddr, Octets};

use crate::proto::time::UnixSecs;

pub use bind::BindRecord;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Kind 1, 7 with what a relay added, or 11 with a vendor class: this address is promised to this machine until then.
    Bind {
        /// The address.
        address: Ipv4Addr,
        /// The machine.
        mac: MacAddr,
        /// When bound or renewed.
        starts: UnixSecs,
        /// When the promise ends.
        ends: UnixSecs,
        /// Option 61, at most 255 octets.
        client_id: Box<[u8]>,
        /// Option 12 as text, at most 255 octets; empty where there was none.
        hostname: Box<str>,
        /// Option 82, at most 255 octets; empty where there was none (kind 1).
        relay_agent: Box<[u8]>,
        /// Option 60, at most 255 octets; empty where there was none or nobody may ask for it (kinds 1 and 7).
        vendor_class: Box<[u8]>,
    },
    /// Kind 2: the machine has given the address back.
    Release {
        /// The address.
        address: Ipv4Addr,
        /// The machine.
        mac: MacAddr,
        /// When.
        at: UnixSecs,
    },
    /// Kind 3: the machine found the address in use; it rests until then.
    Decline {
        /// The address.
        address: Ipv4Addr,
        /// The machine.
        mac: MacAddr,
        /// When it was declined.
        at: UnixSecs,
        /// End of the quarantine.
        until: UnixSecs,
    },
    /// Kind 4, or 8 with further terms: a reservation made over the API for a machine. Kind 12: for a client that is not known by its hardware address. Kind 14: for one that
    /// is known by several identities.
    Reserve {
        /// For whom, by its first identity.
        client: ReservedFor,
        /// By what else it is known (kind 14), in the order of identities.
        also: Box<[ReservedFor]>,
        /// Its address, which says the scope.
        address: Ipv4Addr,
        /// Option 12; empty where there is none.
        hostname: Box<str>,
        /// The boot file; empty where there is none.
        boot_file: Box<str>,
        /// The node's id; empty where there is none.
        node: Box<str>,
        /// The options, encoded.
        options: Box<[u8]>,
        /// The options as they were given (JSON); empty where there are none.
        options_given: Box<str>,
        /// What else it says (kinds 8, 12 and 14).
        terms: TermsRecord,
    },
    /// Kind 5: no reservation of this address for this machine. Kind 13: for this client that is not known by its hardware address.
    Unreserve {
        /// For whom.
        client: ReservedFor,
        /// The address, which says the scope.
        address: Ipv4Addr,
    },
    /// Kind 6: an unknown machine asked on a static scope.
    Sighting {
        /// The machine.
        mac: MacAddr,
        /// The scope's name.
        scope: Box<str>,
        /// First time.
        first: UnixSecs,
        /// Last time.
        last: UnixSecs,
        /// How often.
        count: u64,
        /// Option 60 as text; empty where there was none.
        vendor_class: Box<str>,
        /// Option 12 as text; empty where there was none.
        hostname: Box<str>,
    },
    /// Kind 9: a record of a batch, which counts once the batch's end is there. Parts do not nest.
    BatchPart {
        /// The batch's number.
        batch: u64,
        /// The record: of kind 4, 5, 8, 12, 13 or 14.
        part: Box<Record>,
    },
    /// Kind 10: the end of a batch: its parts count from here on.
    BatchEnd {
        /// The batch's number.
        batch: u64,
        /// How many parts it has.
        count: u32,
    },
}

/// What a reservation of kind 8, 12 or 14 has besides; each part is empty or 0 where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TermsRecord {
    /// The name of a boot profile.
    pub boot: Box<str>,
    /// Boot files as they were given (JSON).
    pub boot_files: Box<str>,
    /// Labels (JSON).
    pub labels: Box<str>,
    /// The lease time, seconds.
    pub lease_secs: u32,
    /// When it ends.
    pub expires: UnixSecs,
}

/// The payload of a part of a batch.
pub fn batch_part(batch: u64, record: &Record) -> Vec<u8> {
    let mut inner = Vec::new();
    let kind = record.encode(&mut inner);
    [&batch.to_le_bytes()[..], &[kind], &inner].concat()
}

/// A payload that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("record of kind {0}, which this version does not know: it was written by a later version of dhcpd")]
    UnknownKind(u8),
    /// The payload is not what its kind says.
    #[error("record of kind {0} with a payload that does not fit it")]
    Malformed(u8),
}

impl Record {
    /// Writes the payload into `to`, which is emptied first; says the kind.
    pub fn encode(&self, to: &mut Vec<u8>) -> u8 {
        to.clear();
        match self {
            Self::Bind { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class } => {
                let (address, mac, starts, ends) = (*address, *mac, *starts, *ends);
                BindRecord { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class }.encode(to)
            }
            Self::Release { address, mac, at } => {
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&at.0.to_le_bytes());
                2
            }
            Self::Decline { address, mac, at, until } => {
                to.extend_from_slice(&address.octets());
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&at.0.to_le_bytes());
                to.extend_from_slice(&until.0.to_le_bytes());
                3
            }
            Self::Reserve { client, also, address, hostname, boot_file, node, options, options_given, terms } => {
                let by_mac = match &**also {
                    [] => put_client(to, client),
                    also => put_clients(to, client, also),
                };
                to.extend_from_slice(&address.octets());
                for part in
                    [hostname.as_bytes(), boot_file.as_bytes(), node.as_bytes(), options, options_given.as_bytes()]
                {
                    put_long(to, part);
                }
                if by_mac && *terms == TermsRecord::default() {
                    return 4;
                }
                for part in [&terms.boot, &terms.boot_files, &terms.labels] {
                    put_long(to, part.as_bytes());
                }
                to.extend_from_slice(&terms.lease_secs.to_le_bytes());
                to.extend_from_slice(&terms.expires.0.to_le_bytes());
                match (also.is_empty(), by_mac) {
                    (true, true) => 8,
                    (true, false) => 12,
                    (false, _) => 14,
                }
            }
            Self::Unreserve { client, address } => {
                let by_mac = put_client(to, client);
                to.extend_from_slice(&address.octets());
                if by_mac { 5 } else { 13 }
            }
            Self::Sighting { mac, scope, first, last, count, vendor_class, hostname } => {
                to.extend_from_slice(&mac.octets());
                to.extend_from_slice(&first.0.to_le_bytes());
                to.extend_from_slice(&last.0.to_le_bytes());
                to.extend_from_slice(&count.to_le_bytes());
                for text in [scope, vendor_class, hostname] {
                    put_long(to, text.as_bytes());
                }
                6
            }
            Self::BatchPart { batch, part } => {
                to.extend_from_slice(&batch_part(*batch, part));
                9
            }
            Self::BatchEnd { batch, count } => {
                to.extend_from_slice(&batch.to_le_bytes());
                to.extend_from_slice(&count.to_le_bytes());
                10
            }
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The kind is unknown or the payload is not of its kind.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, RecordError> {
        if !(1..=14).contains(&kind) {
            return Err(RecordError::UnknownKind(kind));
        }
        let mut reader = Reader(payload);
        match reader.record(kind) {
            Some(record) if reader.0.is_empty() => Ok(record),
            _ => Err(RecordError::Malformed(kind)),
        }
    }
}

/// For whom a reservation is: a MAC as it is, another identity after an octet that says which (1: client identifier, 2: port); whether it is a MAC.
fn put_client(to: &mut Vec<u8>, client: &ReservedFor) -> bool {
    match client {
        ReservedFor::Mac(mac) => {
            to.extend_from_slice(&mac.octets());
            return true;
        }
        ReservedFor::ClientId(id) => {
            to.push(1);
            put_short(to, id.as_slice());
        }
        ReservedFor::Circuit { circuit_id, remote_id } => {
            to.push(2);
            put_short(to, circuit_id.as_slice());
            put_short(to, remote_id.as_slice());
        }
    }
    false
}

/// For whom a reservation of several identities is: how many, then each after an octet that says which (0: hardware address). Never as short as one identity.
fn put_clients(to: &mut Vec<u8>, client: &ReservedFor, also: &[ReservedFor]) -> bool {
    to.push(1 + also.len() as u8);
    for client in std::iter::once(client).chain(also) {
        if client.mac().is_some() {
            to.push(0);
        }
        put_client(to, client);
    }
    false
}

/// Octets with a length of eight bits before them; what is longer than 255 is cut.
pub(super) fn put_short(to: &mut Vec<u8>, octets: &[u8]) {
    let len = octets.len().min(255);
    to.push(len as u8);
    to.extend_from_slice(&octets[..len]);
}

/// Octets with a length of 16 bits before them; what is longer than 65,535 is cut (the journal's payload limit is far below).
fn put_long(to: &mut Vec<u8>, octets: &[u8]) {
    let len = octets.len().min(usize::from(u16::MAX));
    to.extend_from_slice(&(len as u16).to_le_bytes());
    to.extend_from_slice(&octets[..len]);
}

/// Reads from the front; `None` where the octets end or are no text.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn record(&mut self, kind: u8) -> Option<Record> {
        Some(match kind {
            1 | 7 | 11 => {
                let bind = BindRecord::decode(kind, std::mem::take(&mut self.0))?;
                Record::Bind {
                    address: bind.address,
                    mac: bind.mac,
                    starts: bind.starts,
                    ends: bind.ends,
                    client_id: bind.client_id.into(),
                    hostname: bind.hostname.into(),
                    relay_agent: bind.relay_agent.into(),
                    vendor_class: bind.vendor_class.into(),
                }
            }
            2 => Record::Release { address: self.address()?, mac: self.mac()?, at: self.time()? },
            3 => Record::Decline { address: self.address()?, mac: self.mac()?, at: self.time()?, until: self.time()? },
            4 | 8 | 12 | 14 => {
                let (client, also) = match kind {
                    12 => (self.other_identity()?, Box::default()),
                    14 => self.identities()?,
                    _ => (self.mac()?.into(), Box::default()),
                };
                Record::Reserve {
                    client,
                    also,
                    address: self.address()?,
                    hostname: self.text()?,
                    boot_file: self.text()?,
                    node: self.text()?,
                    options: self.long()?.into(),
                    options_given: self.text()?,
                    terms: match kind {
                        8 => self.terms().filter(|terms| *terms != TermsRecord::default())?,
                        12 | 14 => self.terms()?,
                        _ => TermsRecord::default(),
                    },
                }
            }
            5 => Record::Unreserve { client: self.mac()?.into(), address: self.address()? },
            13 => Record::Unreserve { client: self.other_identity()?, address: self.address()? },
            6 => Record::Sighting {
                mac: self.mac()?,
                first: self.time()?,
                last: self.time()?,
                count: u64::from_le_bytes(self.array()?),
                scope: self.text()?,
                vendor_class: self.text()?,
                hostname: self.text()?,
            },
            9 => {
                let batch = u64::from_le_bytes(self.array()?);
                let kind = self.array::<1>()?[0];
                let part = if matches!(kind, 4 | 5 | 8 | 12 | 13 | 14) { self.record(kind)? } else { return None };
                Record::BatchPart { batch, part: Box::new(part) }
            }
            10 => {
                Record::BatchEnd { batch: u64::from_le_bytes(self.array()?), count: u32::from_le_bytes(self.array()?) }
            }
            _ => return None,
        })
    }

    /// Several identities, each of another kind, in their order.
    fn identities(&mut self) -> Option<(ReservedFor, Box<[ReservedFor]>)> {
        let count = self.array::<1>()?[0];
        let mut all = Vec::new();
        for _ in 0..count {
            let next = match self.0.first()? {
                0 => {
                    self.take(1)?;
                    self.mac()?.into()
                }
                _ => self.other_identity()?,
            };
            if all.last().is_some_and(|last: &ReservedFor| *last >= next || last.is_like(&next)) {
                return None;
            }
            all.push(next);
        }
        let also = all.split_off(1.min(all.len()));
        (!also.is_empty()).then_some((all.pop()?, also.into()))
    }

    /// An identity that is no hardware address, and says something.
    fn other_identity(&mut self) -> Option<ReservedFor> {
        let octets = |reader: &mut Self| reader.short().map(|octets| Octets(octets.into()));
        let client = match self.array::<1>()?[0] {
            1 => ReservedFor::ClientId(octets(self)?),
            2 => ReservedFor::Circuit { circuit_id: octets(self)?, remote_id: octets(self)? },
            _ => return None,
        };
        let none = Octets::default();
        let says_nothing = match &client {
            ReservedFor::ClientId(id) => *id == none,
            ReservedFor::Circuit { circuit_id, remote_id } => *circuit_id == none && *remote_id == none,
            ReservedFor::Mac(_) => false,
        };
        (!says_nothing).then_some(client)
    }

    fn terms(&mut self) -> Option<TermsRecord> {
        Some(TermsRecord {
            boot: self.text()?,
            boot_files: self.text()?,
            labels: self.text()?,
            lease_secs: u32::from_le_bytes(self.array()?),
            expires: self.time()?,
        })
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn address(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Into::into)
    }

    pub(super) fn mac(&mut self) -> Option<MacAddr> {
        self.array().map(MacAddr)
    }

    pub(super) fn time(&mut self) -> Option<UnixSecs> {
        self.array().map(|octets| UnixSecs(u32::from_le_bytes(octets)))
    }

    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.array::<1>()?[0];
        self.take(usize::from(len))
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_le_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Option<Box<str>> {
        std::str::from_utf8(self.long()?).ok().map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 3, 4, 5, 6, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 9);

    fn examples() -> Vec<(Record, u8, Vec<u8>)> {
        let start = [10, 77, 1, 9, 2, 3, 4, 5, 6, 7];
        let text = |octets: &[u8]| [&(octets.len() as u16).to_le_bytes(), octets].concat();
        vec![
            (
                Record::Bind {
                    address: ADDRESS,
                    mac: MAC,
                    starts: UnixSecs(1),
                    ends: UnixSecs(0x0102_0304),
                    client_id: [1, 2].into(),
                    hostname: "n0".into(),
                    relay_agent: [].into(),
                    vendor_class: [].into(),
                },
                1,
                [&start[..], &[1, 0, 0, 0, 4, 3, 2, 1, 2, 1, 2, 2, b'n', b'0']].concat(),
            ),
            (
                Record::Bind {
                    address: ADDRESS,
                    mac: MAC,
                    starts: UnixSecs(1),
                    ends: UnixSecs(2),
                    client_id: [].into(),
                    hostname: "".into(),
                    relay_agent: [1, 1, 9].into(),
                    vendor_class: [].into(),
                },
                7,
                [&start[..], &[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 1, 1, 9]].concat(),
            ),
            (
                Record::Bind {
                    address: ADDRESS,
                    mac: MAC,
                    starts: UnixSecs(1),
                    ends: UnixSecs(2),
                    client_id: [].into(),
                    hostname: "".into(),
                    relay_agent: [].into(),
                    vendor_class: b"PXE".as_slice().into(),
                },
                11,
                [&start[..], &[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3, b'P', b'X', b'E']].concat(),
            ),
            (
                Record::Release { address: ADDRESS, mac: MAC, at: UnixSecs(258) },
                2,
                [&start[..], &[2, 1, 0, 0]].concat(),
            ),
            (
                Record::Decline { address: ADDRESS, mac: MAC, at: UnixSecs(1), until: UnixSecs(2) },
                3,
                [&start[..], &[1, 0, 0, 0, 2, 0, 0, 0]].concat(),
            ),
            (
                Record::Reserve {
                    client: MAC.into(),
                    also: [].into(),
                    address: ADDRESS,
                    hostname: "h".into(),
                    boot_file: "".into(),
                    node: "id".into(),
                    options: [224, 0].into(),
                    options_given: "{}".into(),
                    terms: TermsRecord::default(),
                },
                4,
                [
                    &[2, 3, 4, 5, 6, 7, 10, 77, 1, 9][..],
                    &text(b"h"),
                    &text(b""),
                    &text(b"id"),
                    &text(&[224, 0]),
                    &text(b"{}"),
                ]
                .concat(),
            ),
            (Record::Unreserve { client: MAC.into(), address: ADDRESS }, 5, vec![2, 3, 4, 5, 6, 7, 10, 77, 1, 9]),
            (
                Record::Sighting {
                    mac: MAC,
                    scope: "bmc".into(),
                    first: UnixSecs(1),
                    last: UnixSecs(2),
                    count: 3,
                    vendor_class: "iDRAC".into(),
                    hostname: "".into(),
                },
                6,
                [
                    &[2, 3, 4, 5, 6, 7, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..],
                    &text(b"bmc"),
                    &text(b"iDRAC"),
                    &text(b""),
                ]
                .concat(),
            ),
            (
                Record::Reserve {
                    client: MAC.into(),
                    also: [].into(),
                    address: ADDRESS,
                    hostname: "".into(),
                    boot_file: "".into(),
                    node: "".into(),
                    options: [].into(),
                    options_given: "".into(),
                    terms: TermsRecord {
                        boot: "arm".into(),
                        boot_files: "".into(),
                        labels: "{}".into(),
                        lease_secs: 600,
                        expires: UnixSecs(258),
                    },
                },
                8,
                [
                    &[2, 3, 4, 5, 6, 7, 10, 77, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
                    &text(b"arm"),
                    &text(b""),
                    &text(b"{}"),
                    &[88, 2, 0, 0, 2, 1, 0, 0],
                ]
                .concat(),
            ),
            (
                Record::BatchPart {
                    batch: 7,
                    part: Box::new(Record::Unreserve { client: MAC.into(), address: ADDRESS }),
                },
                9,
                vec![7, 0, 0, 0, 0, 0, 0, 0, 5, 2, 3, 4, 5, 6, 7, 10, 77, 1, 9],
            ),
            (
                Record::Reserve {
                    client: ReservedFor::ClientId(Octets(vec![1, 9])),
                    also: [].into(),
                    address: ADDRESS,
                    hostname: "".into(),
                    boot_file: "".into(),
                    node: "id".into(),
                    options: [].into(),
                    options_given: "".into(),
                    terms: TermsRecord::default(),
                },
                12,
                [&[1, 2, 1, 9, 10, 77, 1, 9, 0, 0, 0, 0][..], &text(b"id"), &[0; 18]].concat(),
            ),
            (
                Record::Unreserve {
                    client: ReservedFor::Circuit { circuit_id: Octets(vec![7]), remote_id: Octets(b"sw".to_vec()) },
                    address: ADDRESS,
                },
                13,
                vec![2, 1, 7, 2, b's', b'w', 10, 77, 1, 9],
            ),
            (
                Record::Reserve {
                    client: MAC.into(),
                    also: [
                        ReservedFor::ClientId(Octets(vec![1, 9])),
                        ReservedFor::Circuit { circuit_id: Octets(vec![7]), remote_id: Octets(b"sw".to_vec()) },
                    ]
                    .into(),
                    address: ADDRESS,
                    hostname: "".into(),
                    boot_file: "".into(),
                    node: "id".into(),
                    options: [].into(),
                    options_given: "".into(),
                    terms: TermsRecord::default(),
                },
                14,
                [
                    &[3, 0, 2, 3, 4, 5, 6, 7, 1, 2, 1, 9, 2, 1, 7, 2, b's', b'w', 10, 77, 1, 9, 0, 0, 0, 0][..],
                    &text(b"id"),
                    &[0; 18],
                ]
                .concat(),
            ),
            (Record::BatchEnd { batch: 7, count: 258 }, 10, vec![7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0]),
        ]
    }

    /// If this test fails, do not change the test: give the new layout a new kind.
    #[test]
    fn golden_octets_of_every_kind() {
        for (record, kind, octets) in examples() {
            let mut payload = vec![0xee];
            assert_eq!(record.encode(&mut payload), kind);
            assert_eq!(payload, octets, "kind {kind}");
            assert_eq!(Record::decode(kind, &octets), Ok(record));
        }
    }

    #[test]
    fn refuses_what_is_cut_longer_or_unknown() {
        for (_, kind, octets) in examples() {
            for cut in 0..octets.len() {
                assert_eq!(
                    Record::decode(kind, &octets[..cut]),
                    Err(RecordError::Malformed(kind)),
                    "kind {kind} cut at {cut}"
                );
            }
            assert_eq!(Record::decode(kind, &[&octets[..], &[0]].concat()), Err(RecordError::Malformed(kind)));
        }
        assert_eq!(Record::decode(0, &[]), Err(RecordError::UnknownKind(0)));
        assert_eq!(Record::decode(15, &[]), Err(RecordError::UnknownKind(15)));
        for (why, identities) in [
            ("one is no several", &[1, 0, 2, 3, 4, 5, 6, 7][..]),
            ("none", &[0]),
            ("twice of a kind", &[2, 1, 1, 7, 1, 1, 8]),
            ("out of order", &[2, 1, 1, 7, 0, 2, 3, 4, 5, 6, 7]),
            ("one that says nothing", &[2, 0, 2, 3, 4, 5, 6, 7, 1, 0]),
        ] {
            let octets = [identities, &[10, 77, 1, 9], &[0; 24]].concat();
            assert_eq!(Record::decode(14, &octets), Err(RecordError::Malformed(14)), "{why}");
        }
    }
}

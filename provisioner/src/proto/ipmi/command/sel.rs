//! The system event log: Get SEL Info (31.2), Reserve SEL (31.4), Get SEL Entry (31.5), Clear SEL (31.9), and its entries (32.1).

use super::sensor_type::{sensor_type, threshold_event};
use super::{Command, Nonsense, netfn};

/// Asks how full the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSelInfo;

/// How full the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelInfo {
    /// Entries in it.
    pub entries: u16,
    /// Octets left.
    pub free_bytes: u16,
    /// Events were lost for want of room.
    pub overflow: bool,
}

impl Command for GetSelInfo {
    const NAME: &'static str = "Get SEL Info";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x40;
    type Answer = SelInfo;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<SelInfo, Nonsense> {
        let &[_version, e0, e1, f0, f1, _, _, _, _, _, _, _, _, support, ..] = data else { return Err(Nonsense) };
        let (entries, free_bytes) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([f0, f1]));
        Ok(SelInfo { entries, free_bytes, overflow: support & 0x80 != 0 })
    }
}

/// Takes the log for oneself: a later reservation, or a new entry, cancels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveSel;

impl Command for ReserveSel {
    const NAME: &'static str = "Reserve SEL";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x42;
    type Answer = u16;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<u16, Nonsense> {
        data.first_chunk().map(|octets| u16::from_le_bytes(*octets)).ok_or(Nonsense)
    }
}

/// Reads a whole entry; 0 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSelEntry(pub u16);

/// An entry, and the id of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelPart {
    /// `None`: this was the last.
    pub next: Option<u16>,
    /// The entry.
    pub entry: SelEntry,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelEntry {
    /// Its id.
    pub id: u16,
    /// When, in seconds since 1970 by the BMC's clock; `None` where it bears no time or the clock was not yet set.
    pub at: Option<u32>,
    /// What happened.
    pub event: SelEvent,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelEvent {
    /// A sensor's event.
    Sensor {
        /// Table 42-3.
        sensor_type: u8,
        /// Which sensor.
        number: u8,
        /// Event or reading type (table 42-1); 1: thresholds.
        kind: u8,
        /// It began; otherwise it went away.
        asserted: bool,
        /// Event data.
        data: [u8; 3],
    },
    /// In the manufacturer's own form.
    Oem {
        /// The record's type, C0h–FFh.
        kind: u8,
        /// What follows it.
        data: Vec<u8>,
    },
}

impl SelEntry {
    /// The entry in these 16 octets.
    pub fn decode(record: &[u8; 16]) -> Result<Self, Nonsense> {
        let id = u16::from_le_bytes([record[0], record[1]]);
        let seconds = u32::from_le_bytes([record[3], record[4], record[5], record[6]]);
        // Up to 20000000h it counts from the BMC's start (37.1); all ones is no time.
        let at = Some(seconds).filter(|at| *at > 0x2000_0000 && *at != u32::MAX);
        match record[2] {
            0x02 => {
                let event = SelEvent::Sensor {
                    sensor_type: record[10],
                    number: record[11],
                    kind: record[12] & 0x7f,
                    asserted: record[12] & 0x80 == 0,
                    data: [record[13], record[14], record[15]],
                };
                Ok(Self { id, at, event })
            }
            kind @ 0xc0..=0xdf => Ok(Self { id, at, event: SelEvent::Oem { kind, data: record[7..].to_vec() } }),
            kind @ 0xe0..=0xff => Ok(Self { id, at: None, event: SelEvent::Oem { kind, data: record[3..].to_vec() } }),
            _ => Err(Nonsense),
        }
    }

    /// What it says, in words.
    pub fn words(&self) -> String {
        match &self.event {
            SelEvent::Oem { kind, data } => {
                let octets: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
                format!("manufacturer's record {kind:#04x}: {octets}")
            }
            SelEvent::Sensor { sensor_type: of, number, kind, asserted, data } => {
                let what = match kind {
                    0x01 => threshold_event(data[0] & 0x0f).to_owned(),
                    _ => format!(
                        "state {} (event type {kind:#04x}, data {:02x}{:02x})",
                        data[0] & 0x0f,
                        data[1],
                        data[2]
                    ),
                };
                let gone = if *asserted { "" } else { ", no longer" };
                format!("{} sensor {number:#04x}: {what}{gone}", sensor_type(*of))
            }
        }
    }
}

impl Command for GetSelEntry {
    const NAME: &'static str = "Get SEL Entry";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x43;
    type Answer = SelPart;

    fn encode(&self) -> Vec<u8> {
        let [low, high] = self.0.to_le_bytes();
        // Without a reservation, which only a partial read needs; from the first octet, the whole entry.
        vec![0, 0, low, high, 0, 0xff]
    }

    fn decode(data: &[u8]) -> Result<SelPart, Nonsense> {
        let (next, record) = data.split_first_chunk::<2>().ok_or(Nonsense)?;
        let entry = SelEntry::decode(record.first_chunk().ok_or(Nonsense)?)?;
        Ok(SelPart { next: Some(u16::from_le_bytes(*next)).filter(|next| *next != 0xffff), entry })
    }
}

/// Erases the log, or asks whether that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearSel {
    /// Of [`ReserveSel`].
    pub reservation: u16,
    /// Begin; otherwise ask how it stands.
    pub begin: bool,
}

impl Command for ClearSel {
    const NAME: &'static str = "Clear SEL";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x47;
    /// Whether it is done.
    type Answer = bool;

    fn encode(&self) -> Vec<u8> {
        let [low, high] = self.reservation.to_le_bytes();
        vec![low, high, b'C', b'L', b'R', if self.begin { 0xaa } else { 0x00 }]
    }

    fn decode(data: &[u8]) -> Result<bool, Nonsense> {
        data.first().map(|progress| progress & 0x0f == 1).ok_or(Nonsense)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_entries_and_says_them_in_words() {
        let sensor = [7, 0, 2, 0x00, 0xf1, 0x53, 0x65, 0x20, 0, 4, 1, 0x30, 0x81, 0x59, 95, 90];
        let entry = SelEntry::decode(&sensor).unwrap();
        assert_eq!((entry.id, entry.at), (7, Some(1_700_000_000)));
        assert_eq!(entry.words(), "temperature sensor 0x30: above upper critical, no longer");
        let mut early = sensor;
        early[3..7].copy_from_slice(&[9, 0, 0, 0]);
        (early[10], early[12]) = (0x08, 0x6f);
        let entry = SelEntry::decode(&early).unwrap();
        assert_eq!(
            (entry.at, entry.words().as_str()),
            (None, "power supply sensor 0x30: state 9 (event type 0x6f, data 5f5a)")
        );
        let mut oem = sensor;
        oem[2] = 0xe1;
        assert!(SelEntry::decode(&oem).unwrap().words().starts_with("manufacturer's record 0xe1: 00f15365"));
        oem[2] = 0x03;
        assert_eq!(SelEntry::decode(&oem), Err(Nonsense));
        let last = GetSelEntry::decode(&[&[0xff, 0xff][..], &sensor].concat()).unwrap();
        assert_eq!(last.next, None);
        assert_eq!(GetSelEntry::decode(&sensor[..15]), Err(Nonsense));
    }

    #[test]
    fn asks_in_the_octets_of_chapter_31() {
        assert_eq!(GetSelEntry(0x0102).encode(), [0, 0, 2, 1, 0, 0xff]);
        assert_eq!(ClearSel { reservation: 0x1234, begin: true }.encode(), [0x34, 0x12, 0x43, 0x4c, 0x52, 0xaa]);
        assert_eq!(
            (ClearSel::decode(&[0]), ClearSel::decode(&[1]), ClearSel::decode(&[])),
            (Ok(false), Ok(true), Err(Nonsense))
        );
        let info = GetSelInfo::decode(&[0x51, 2, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x82]).unwrap();
        assert_eq!(info, SelInfo { entries: 258, free_bytes: 1024, overflow: true });
    }
}

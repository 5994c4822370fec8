//! Sensors: Reserve and Get SDR (33.11, 33.12), Get Sensor Reading (35.14), full and compact records (43.1, 43.2). What a raw reading
//! means is [`Scale`]'s.

use super::scale::Scale;
use super::text::sensor_name;
use super::{Command, Nonsense, Route, netfn};
use crate::proto::ipmi::Hop;
use crate::proto::ipmi::message::BMC_ADDRESS;

/// Takes the repository for oneself: partial reads need it, and a change of the repository cancels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveSdr;

impl Command for ReserveSdr {
    const NAME: &'static str = "Reserve SDR Repository";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x22;
    type Answer = u16;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<u16, Nonsense> {
        data.first_chunk().map(|octets| u16::from_le_bytes(*octets)).ok_or(Nonsense)
    }
}

/// Reads a part of a record; 0 is the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSdr {
    /// Of [`ReserveSdr`].
    pub reservation: u16,
    /// The record's id.
    pub record: u16,
    /// Where in the record to begin.
    pub offset: u8,
    /// How much.
    pub len: u8,
}

impl GetSdr {
    /// Octets before a record's body: id, version, type, length of the body.
    pub const HEADER_BYTES: u8 = 5;
}

/// A part of a record, and the id of the next record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdrPart {
    /// `None`: this was the last.
    pub next: Option<u16>,
    /// The octets asked for.
    pub octets: Vec<u8>,
}

impl Command for GetSdr {
    const NAME: &'static str = "Get SDR";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x23;
    type Answer = SdrPart;

    fn encode(&self) -> Vec<u8> {
        let ([r0, r1], [low, high]) = (self.reservation.to_le_bytes(), self.record.to_le_bytes());
        vec![r0, r1, low, high, self.offset, self.len]
    }

    fn decode(data: &[u8]) -> Result<SdrPart, Nonsense> {
        let (next, octets) = data.split_first_chunk::<2>().ok_or(Nonsense)?;
        let next = Some(u16::from_le_bytes(*next)).filter(|next| *next != 0xffff);
        Ok(SdrPart { next, octets: octets.to_vec() })
    }
}

/// Reads a sensor of the BMC by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSensorReading(pub u8);

/// A reading as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawReading {
    /// The value, unless the sensor cannot be read now.
    pub raw: Option<u8>,
    /// Thresholds crossed, or discrete states 0–14.
    pub states: u16,
}

impl Command for GetSensorReading {
    const NAME: &'static str = "Get Sensor Reading";
    const NETFN: u8 = netfn::SENSOR;
    const COMMAND: u8 = 0x2d;
    type Answer = RawReading;

    fn encode(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn decode(data: &[u8]) -> Result<RawReading, Nonsense> {
        let &[raw, flags, ref states @ ..] = data else { return Err(Nonsense) };
        let (low, high) = (states.first().copied().unwrap_or(0), states.get(1).copied().unwrap_or(0));
        // Unavailable (bit 5), or scanning is off (bit 6 clear).
        let is_known = flags & 0x20 == 0 && flags & 0x40 != 0;
        Ok(RawReading { raw: is_known.then_some(raw), states: u16::from_le_bytes([low, high & 0x7f]) })
    }
}

/// A sensor as its record describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// Its name.
    pub name: String,
    /// The number to read it by.
    pub number: u8,
    /// Table 42-3.
    pub sensor_type: u8,
    /// Which controller reads it, and its logical unit.
    pub route: Route,
    /// States are thresholds; otherwise they are discrete.
    pub is_threshold: bool,
    /// How a raw value becomes one with a unit; `None` for discrete sensors.
    pub scale: Option<Scale>,
}

impl Sensor {
    /// The sensor that a whole record describes; `None` for records of other things and for those that are cut short.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (&kind, body) = (record.get(3)?, record.get(usize::from(GetSdr::HEADER_BYTES)..)?);
        let name_at = match kind {
            0x01 => 42,
            0x02 => 26,
            _ => return None,
        };
        let &[owner, owner_lun, number, ..] = body else { return None };
        let (&sensor_type, &event_type) = (body.get(7)?, body.get(8)?);
        let is_threshold = event_type == 0x01;
        // Bit 0 of the owner: system software, which cannot be asked.
        if owner & 1 != 0 {
            return None;
        }
        let lun = owner_lun & 0x03;
        let route = match owner {
            BMC_ADDRESS => Route { lun, ..Route::BMC },
            address => Route { lun, ..Route::bridged(Hop { channel: owner_lun >> 4, address }) },
        };
        let scale = if kind == 0x01 && is_threshold { Scale::decode(body) } else { None };
        Some(Self { name: sensor_name(body.get(name_at..)?), number, sensor_type, route, is_threshold, scale })
    }

    /// The value of a reading, where it has one.
    pub fn value(&self, reading: &RawReading) -> Option<f64> {
        self.scale.as_ref()?.value(reading.raw?)
    }

    /// How the sensor finds things: `ok`, the worst threshold crossed, or the discrete states that hold.
    pub fn state(&self, reading: &RawReading) -> String {
        if reading.raw.is_none() {
            return "no reading".to_owned();
        }
        if self.is_threshold {
            let worst = [(0x24, "non-recoverable"), (0x12, "critical"), (0x09, "warning")];
            return worst.iter().find(|(bits, _)| reading.states & bits != 0).map_or("ok", |(_, word)| word).to_owned();
        }
        let states: Vec<_> = (0..15).filter(|bit| reading.states >> bit & 1 == 1).map(|bit| bit.to_string()).collect();
        if states.is_empty() { "no state".to_owned() } else { format!("state {}", states.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full record of a threshold sensor with these octets from `units` to the exponents.
    fn full(scale: [u8; 10], owner: [u8; 2]) -> Vec<u8> {
        let mut body = vec![owner[0], owner[1], 7, 3, 1, 0x7f, 0x68, 1, 1, 0, 0, 0, 0, 0, 0];
        body.extend(scale);
        body.resize(42, 0);
        body.extend([0xc4, b'T', b'e', b'm', b'p']);
        [&[1, 0, 0x51, 1, body.len() as u8], &body[..]].concat()
    }

    #[test]
    fn a_raw_reading_becomes_a_value_with_a_unit() {
        // units, base, modifier, linearisation, m, m high, b, b high, accuracy, exponents; raw; value.
        let cases: [([u8; 10], u8, Option<f64>, &str); 8] = [
            ([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], 42, Some(42.0), "°C"),
            ([0, 1, 0, 0, 1, 0, 0x80, 0xc0, 0, 0], 150, Some(22.0), "°C"),
            ([0x80, 1, 0, 0, 1, 0, 0, 0, 0, 0], 0xfb, Some(-5.0), "°C"),
            ([0x40, 1, 0, 0, 1, 0, 0, 0, 0, 0], 0xfa, Some(-5.0), "°C"),
            ([0, 4, 0, 0, 6, 0, 0, 0, 0, 0xe0], 200, Some(12.0), "V"),
            ([1, 0, 0, 0, 2, 0, 1, 0, 0, 0x01], 10, Some(30.0), "%"),
            ([0x1a, 70, 22, 7, 1, 0, 0, 0, 0, 0], 4, Some(0.25), "B/s/s"),
            ([0, 1, 0, 2, 1, 0, 0, 0, 0, 0], 0, None, "°C"),
        ];
        for (scale, raw, value, unit) in cases {
            let sensor = Sensor::decode(&full(scale, [0x20, 0])).unwrap();
            let reading = GetSensorReading::decode(&[raw, 0xc0, 0xc0]).unwrap();
            let found = sensor.value(&reading);
            assert!(found == value || (found.unwrap() - value.unwrap()).abs() < 1e-9, "{scale:?}: {found:?}");
            assert_eq!(sensor.scale.as_ref().unwrap().unit, unit);
            assert_eq!((sensor.name.as_str(), sensor.number, sensor.state(&reading).as_str()), ("Temp", 7, "ok"));
        }
    }

    #[test]
    fn states_are_told_in_words() {
        let sensor = Sensor::decode(&full([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], [0x20, 0])).unwrap();
        let state = |octets: &[u8]| sensor.state(&GetSensorReading::decode(octets).unwrap());
        let cases: [(&[u8], &str); 6] = [
            (&[9, 0xc0, 0x08], "warning"),
            (&[9, 0xc0, 0x18], "critical"),
            (&[9, 0xc0, 0x02], "critical"),
            (&[9, 0xc0, 0x3f], "non-recoverable"),
            (&[9, 0xe0, 0x18], "no reading"),
            (&[9, 0x80], "no reading"),
        ];
        for (octets, word) in cases {
            assert_eq!(state(octets), word, "{octets:?}");
        }
        let discrete = Sensor { is_threshold: false, ..sensor };
        assert_eq!(discrete.state(&GetSensorReading::decode(&[0, 0xc0, 0x05, 0x80]).unwrap()), "state 0, 2");
        assert_eq!(GetSensorReading::decode(&[1]), Err(Nonsense));
    }

    #[test]
    fn records_of_other_things_and_broken_ones_are_no_sensors() {
        let good = full([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], [0x2c, 0x71]);
        let route = Sensor::decode(&good).unwrap().route;
        assert_eq!(route, Route { lun: 1, ..Route::bridged(Hop { channel: 7, address: 0x2c }) });
        for len in 0..47 {
            assert_eq!(Sensor::decode(&good[..len]), None, "{len} octets");
        }
        let mut locator = good.clone();
        locator[3] = 0x12;
        assert_eq!(Sensor::decode(&locator), None);
        assert_eq!(Sensor::decode(&full([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], [0x41, 0])), None, "system software");
        let varying = Sensor::decode(&full([0, 1, 0, 0x70, 1, 0, 0, 0, 0, 0], [0x20, 0])).unwrap();
        let reading = GetSensorReading::decode(&[9, 0xc0]).unwrap();
        assert_eq!(varying.value(&reading), None, "its factors are to be asked for");
    }
}

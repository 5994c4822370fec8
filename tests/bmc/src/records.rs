//! What every simulated machine has: sensors with their records, and an inventory.

/// A full sensor record (43.1): threshold sensor, linear, unsigned, `value = (m × raw + b × 10^k1) × 10^k2`.
struct Full {
    id: u16,
    number: u8,
    kind: u8,
    unit: u8,
    m: u8,
    b: u8,
    /// R exponent in the high half, B exponent in the low one.
    exponents: u8,
    /// Upper non-critical, critical; lower critical, non-critical; raw.
    thresholds: [u8; 4],
    name: &'static str,
}

/// The number of the sensor that is not linear: each reading has factors of its own (35.5).
const NON_LINEAR: u8 = 6;

const SENSORS: [Full; 6] = [
    Full { id: 1, number: 1, kind: 1, unit: 1, m: 1, b: 0, exponents: 0, thresholds: [80, 90, 2, 5], name: "CPU Temp" },
    Full {
        id: 2,
        number: 2,
        kind: 1,
        unit: 1,
        m: 1,
        b: 0x80,
        exponents: 0,
        thresholds: [168, 178, 130, 133],
        name: "Inlet Temp",
    },
    Full {
        id: 3,
        number: 3,
        kind: 4,
        unit: 18,
        m: 75,
        b: 0,
        exponents: 0,
        thresholds: [250, 254, 6, 10],
        name: "Fan 1",
    },
    Full {
        id: 4,
        number: 4,
        kind: 2,
        unit: 4,
        m: 6,
        b: 0,
        exponents: 0xe0,
        thresholds: [220, 230, 170, 180],
        name: "12V",
    },
    Full {
        id: 5,
        number: 5,
        kind: 0x0b,
        unit: 6,
        m: 4,
        b: 0,
        exponents: 0,
        thresholds: [200, 240, 0, 0],
        name: "Power",
    },
    Full {
        id: 8,
        number: NON_LINEAR,
        kind: 1,
        unit: 1,
        m: 1,
        b: 0,
        exponents: 0,
        thresholds: [200, 240, 0, 0],
        name: "Coolant",
    },
];

impl Full {
    fn record(&self) -> Vec<u8> {
        let mut body = vec![
            0x20,
            0,
            self.number, // owner, its channel and unit, number
            7,
            1, // entity: system board
            0x7f,
            0x68,
            self.kind,
            0x01, // initialised; threshold sensor, readable thresholds
            0x95,
            0x7a,
            0x95,
            0x7a,
            0x1b,
            0x1b, // masks: nc and cr either way are readable and settable
            0,
            self.unit,
            0,                                                // units: unsigned, plain
            if self.number == NON_LINEAR { 0x70 } else { 0 }, // linear, or not
            self.m,
            0,
            self.b,
            if self.b & 0x80 != 0 { 0xc0 } else { 0 },
            0,
            self.exponents, // m, b, accuracy, exponents
            0,
            0,
            0,
            0,
            0xff,
            0, // no nominal readings; sensor's limits
        ];
        let [unc, ucr, lcr, lnc] = self.thresholds;
        body.extend([0xff, ucr, unc, 0, lcr, lnc, 2, 2, 0, 0, 0]);
        body.push(0xc0 | self.name.len() as u8);
        body.extend(self.name.bytes());
        record(self.id, 0x01, &body)
    }
}

fn record(id: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &[0x51, kind, body.len() as u8], body].concat()
}

/// Every record of the sensor data repository, in order: six analogue sensors, the last of them not linear, a power supply's presence, the controller and its inventory.
pub fn sensor_records() -> Vec<Vec<u8>> {
    let mut records: Vec<_> = SENSORS.iter().map(Full::record).collect();
    let name = b"PS1 Status";
    let mut compact = vec![
        0x20, 0, 0x10, 10, 1, 0x67, 0x40, 0x08, 0x6f, 0x0f, 0, 0x0f, 0, 0x0f, 0, 0xc0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    compact.push(0xc0 | name.len() as u8);
    compact.extend(name);
    records.push(record(6, 0x02, &compact));
    let controller = [&[0x20, 0, 0, 0xbf, 0, 0, 0, 6, 1, 0, 0xc3][..], b"BMC"].concat();
    records.push(record(7, 0x12, &controller));
    records
}

/// The raw reading and the state octet of a sensor; `None`: no such sensor.
pub fn reading(number: u8, is_on: bool) -> Option<[u8; 3]> {
    // Bits 7 and 6 of the second octet: events and scanning are on.
    let raw = match number {
        1 => 42,
        2 => 150,
        // What hangs on main power cannot be read without it.
        3 if !is_on => return Some([0, 0xe0, 0]),
        3 => 80,
        4 => 201,
        5 => {
            if is_on {
                55
            } else {
                3
            }
        }
        NON_LINEAR => 140,
        0x10 => return Some([0, 0xc0, 0x01]),
        _ => return None,
    };
    let thresholds = SENSORS.iter().find(|sensor| sensor.number == number)?.thresholds;
    let [unc, ucr, lcr, lnc] = thresholds;
    let state =
        u8::from(raw <= lnc) | u8::from(raw <= lcr) << 1 | u8::from(raw >= unc) << 3 | u8::from(raw >= ucr) << 4;
    Some([raw, 0xc0, state])
}

/// The factors of a reading of the sensor that is not linear, as Get Sensor Reading Factors answers (35.5): from 128 on M is 25 and R −2, before 2 and 0.
pub fn factors(number: u8, raw: u8) -> Option<[u8; 7]> {
    let (next, m, exponents) = if raw < 128 { (128, 2, 0) } else { (0xff, 25, 0xe0) };
    (number == NON_LINEAR).then_some([next, m, 0, 0, 0, 0, exponents])
}

/// Thresholds as Get Sensor Thresholds answers (35.9): which are readable, lnc, lcr, lnr, unc, ucr, unr.
pub fn thresholds(number: u8) -> Option<[u8; 7]> {
    let [unc, ucr, lcr, lnc] = SENSORS.iter().find(|sensor| sensor.number == number)?.thresholds;
    Some([0x1b, lnc, lcr, 0, unc, ucr, 0xff])
}

/// The inventory (FRU, *Platform Management FRU Information Storage Definition*): board and product.
pub fn inventory(serial: &str) -> Vec<u8> {
    let area = |fields: &[&str], head: &[u8]| {
        let mut area = [&[1, 0][..], head].concat();
        for field in fields {
            area.push(0xc0 | field.len() as u8);
            area.extend(field.bytes());
        }
        area.push(0xc1);
        while area.len() % 8 != 7 {
            area.push(0);
        }
        area[1] = (area.len() as u8).div_ceil(8);
        area.push(zero_sum(&area));
        area
    };
    // 2024-01-01 in minutes since 1996.
    let minutes = 14_726_880_u32.to_le_bytes();
    let board = area(&["Reveille", "Simulated board", serial, "RV-1", ""], &[25, minutes[0], minutes[1], minutes[2]]);
    let product = area(&["Reveille", "Simulated machine", "RVM-1", "1.0", serial, "tag-7", ""], &[25]);
    let mut out = vec![1, 0, 0, 1, 1 + (board.len() / 8) as u8, 0, 0];
    out.push(zero_sum(&out));
    out.extend(board);
    out.extend(product);
    out.resize(256, 0xff);
    out
}

fn zero_sum(octets: &[u8]) -> u8 {
    octets.iter().fold(0u8, |sum, octet| sum.wrapping_sub(*octet))
}

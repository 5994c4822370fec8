//! [`Scale`]: what a sensor's raw reading means (36.3), and Get Sensor Reading Factors (35.5) for sensors of which each reading has factors of its own.

use super::sensor_type::unit;
use super::{Command, Nonsense, netfn};

/// From here on the factors depend on the reading (table 43-1, linearisation).
const NON_LINEAR: u8 = 0x70;

/// From a raw value to one with a unit: `y = L[(M·x + B·10^K1) · 10^K2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The unit's sign, modifier included.
    pub unit: String,
    factors: Factors,
    format: u8,
    linearisation: u8,
}

/// M, B, K1 and K2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    m: i16,
    b: i16,
    b_exponent: i8,
    r_exponent: i8,
}

impl Factors {
    /// From the six octets that hold them in a record and in an answer, among tolerance and accuracy, which nobody asks for.
    fn decode(&[m, m_tolerance, b, b_accuracy, _, exponents]: &[u8; 6]) -> Self {
        let ten_bits = |low: u8, high: u8| (i16::from(high >> 6) << 8 | i16::from(low)) << 6 >> 6;
        let four_bits = |nibble: u8| (nibble << 4) as i8 >> 4;
        Self {
            m: ten_bits(m, m_tolerance),
            b: ten_bits(b, b_accuracy),
            b_exponent: four_bits(exponents),
            r_exponent: four_bits(exponents >> 4),
        }
    }
}

/// Asks for the factors of one reading of a non-linear sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSensorReadingFactors {
    /// The sensor's number.
    pub number: u8,
    /// The reading.
    pub raw: u8,
}

impl Command for GetSensorReadingFactors {
    const NAME: &'static str = "Get Sensor Reading Factors";
    const NETFN: u8 = netfn::SENSOR;
    const COMMAND: u8 = 0x23;
    type Answer = Factors;

    fn encode(&self) -> Vec<u8> {
        vec![self.number, self.raw]
    }

    fn decode(data: &[u8]) -> Result<Factors, Nonsense> {
        // First comes the next reading that has other factors.
        data.get(1..7).and_then(|octets| octets.first_chunk()).map(Factors::decode).ok_or(Nonsense)
    }
}

impl Scale {
    /// Reads a full record's body; `None`: its readings are no numbers.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let &[units, base, modifier, linearisation, ref factors @ ..] = body.get(15..)? else { return None };
        let format = units >> 6;
        if format == 3 {
            return None;
        }
        let rate = ["", "/µs", "/ms", "/s", "/min", "/h", "/d", ""][usize::from(units >> 3 & 7)];
        let percent = if units & 1 != 0 { "%" } else { "" };
        let unit = match units >> 1 & 3 {
            1 => format!("{percent}{}/{}{rate}", unit(base), unit(modifier)),
            2 => format!("{percent}{}·{}{rate}", unit(base), unit(modifier)),
            _ => format!("{percent}{}{rate}", unit(base)),
        };
        Some(Self {
            unit,
            factors: Factors::decode(factors.first_chunk()?),
            format,
            linearisation: linearisation & 0x7f,
        })
    }

    /// Whether each reading has factors of its own, which are to be asked for.
    pub fn varies(&self) -> bool {
        self.linearisation >= NON_LINEAR
    }

    /// The scale of the reading that these factors were asked for.
    pub fn with(self, factors: Factors) -> Self {
        Self { factors, linearisation: 0, ..self }
    }

    /// What a raw value means; `None` if it means no number, or its factors are to be asked for.
    pub fn value(&self, raw: u8) -> Option<f64> {
        let x = match self.format {
            0 => f64::from(raw),
            1 if raw & 0x80 != 0 => -f64::from(!raw),
            1 => f64::from(raw),
            _ => f64::from(raw as i8),
        };
        let ten = |exponent: i8| 10_f64.powi(exponent.into());
        let Factors { m, b, b_exponent, r_exponent } = self.factors;
        let y = (f64::from(m) * x + f64::from(b) * ten(b_exponent)) * ten(r_exponent);
        let y = match self.linearisation {
            0 => y,
            1 => y.ln(),
            2 => y.log10(),
            3 => y.log2(),
            4 => y.exp(),
            5 => 10_f64.powf(y),
            6 => y.exp2(),
            7 => 1.0 / y,
            8 => y * y,
            9 => y * y * y,
            10 => y.sqrt(),
            11 => y.cbrt(),
            _ => return None,
        };
        y.is_finite().then_some(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scale in °C with M = 2, B = 0, K2 = 0 and this linearisation.
    fn scale(linearisation: u8) -> Scale {
        let mut body = vec![0; 15];
        body.extend([0, 1, 0, linearisation, 2, 0, 0, 0, 0, 0]);
        Scale::decode(&body).unwrap()
    }

    #[test]
    fn every_linearisation_of_the_specification_is_known() {
        // Of y = 2·x: the function (table 43-1), a raw value, what it means; and one that means nothing.
        let cases: [(u8, u8, f64, Option<u8>); 12] = [
            (0, 8, 16.0, None),
            (1, 8, 2.772_588_722_239_781, Some(0)),
            (2, 50, 2.0, Some(0)),
            (3, 8, 4.0, Some(0)),
            (4, 1, 7.389_056_098_930_65, None),
            (5, 1, 100.0, Some(255)),
            (6, 4, 256.0, None),
            (7, 2, 0.25, Some(0)),
            (8, 3, 36.0, None),
            (9, 3, 216.0, None),
            (10, 8, 4.0, None),
            (11, 4, 2.0, None),
        ];
        for (linearisation, raw, value, nothing) in cases {
            let scale = scale(linearisation);
            let found = scale.value(raw).unwrap();
            assert!((found - value).abs() < 1e-9 && !scale.varies(), "{linearisation}: {found}");
            if let Some(nothing) = nothing {
                assert_eq!(scale.value(nothing), None, "{linearisation} of {nothing}");
            }
        }
        for unknown in [12, 0x40, 0x6f] {
            assert_eq!(scale(unknown).value(1), None, "{unknown:#04x}");
            assert!(!scale(unknown).varies());
        }
        // Only the lower seven bits count.
        assert_eq!(scale(0x88).value(3), Some(36.0));
    }

    #[test]
    fn factors_of_a_reading_take_the_place_of_those_of_the_record() {
        for linearisation in [0x70, 0x71, 0x7f] {
            let scale = scale(linearisation);
            assert!(scale.varies());
            assert_eq!(scale.value(140), None);
            // Next reading 150; M = 25, B = -1, K1 = 2, K2 = -2.
            let factors = GetSensorReadingFactors::decode(&[150, 25, 0x3f, 0xff, 0xc0, 0, 0xe2]).unwrap();
            let scale = scale.with(factors);
            assert_eq!((scale.value(140), scale.unit.as_str(), scale.varies()), (Some(34.0), "°C", false));
        }
        assert_eq!(GetSensorReadingFactors { number: 6, raw: 140 }.encode(), [6, 140]);
        for short in 0..7 {
            assert_eq!(GetSensorReadingFactors::decode(&[1; 7][..short]), Err(Nonsense), "{short} octets");
        }
    }
}

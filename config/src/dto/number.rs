//! Whole numbers as JSON Schema has them: `60`, `60.0` and `6e1` are the same one. Some languages write every number in the second form.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Reads a whole number, or nothing; for `deserialize_with`.
pub(super) fn optional<'de, D, N>(deserializer: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    let number = deserializer.deserialize_option(Optional)?;
    let too_large = |number| D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller number");
    number.map(|number| N::try_from(number).map_err(|_| too_large(number))).transpose()
}

struct Optional;

impl<'de> Visitor<'de> for Optional {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_none<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(Some(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<u64>, E> {
        // Below 2^53 every whole number is one of these.
        if (0.0..=9e15).contains(&number) && number.fract() == 0.0 {
            Ok(Some(number as u64))
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::dto::dhcpd::ReservationPut;

    #[test]
    fn a_whole_number_has_many_forms() {
        for (text, expected) in [
            ("60", Some(Some(60))),
            ("60.0", Some(Some(60))),
            ("6e1", Some(Some(60))),
            ("null", Some(None)),
            ("4294967295", Some(Some(u32::MAX))),
            ("4294967296", None),
            ("60.5", None),
            ("-60", None),
            ("-60.0", None),
            ("1e300", None),
            ("\"60\"", None),
        ] {
            let read = serde_json::from_str::<ReservationPut>(&format!("{{\"lease_secs\": {text}}}"));
            assert_eq!(read.ok().map(|put| put.lease_secs), expected, "{text}");
        }
        assert_eq!(serde_json::from_str::<ReservationPut>("{}").unwrap().lease_secs, None);
    }
}

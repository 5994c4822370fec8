//! How a message is to be read, written straight from RFC 2131 §4.1, RFC 2132 §9.3 and RFC 3396, without a thought of speed.

use std::collections::BTreeMap;

/// Octets of the fixed fields, the cookie included.
pub const FIXED: usize = 240;
const PAD: u8 = 0;
const END: u8 = 255;
const OVERLOAD: u8 = 52;

/// A message's options.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// The value of each, its parts joined in the order in which they come.
    pub values: BTreeMap<u8, Vec<u8>>,
    /// The codes in the order in which they come, parts of one option included.
    pub order: Vec<u8>,
    /// How many of them stand in the options field.
    pub in_options: usize,
    /// Whether an option runs past the end of its field.
    pub truncated: bool,
    /// Where END stands in the options field.
    pub end: Option<usize>,
    /// What option 52 says: 1 `file`, 2 `sname`, 3 both; 0 where it is absent or makes no sense.
    pub overload: u8,
    /// Whether option 52 is there.
    pub has_overload: bool,
}

impl Options {
    /// Reads a message of at least [`FIXED`] octets whose cookie is right.
    pub fn read(message: &[u8]) -> Self {
        let mut options = Self::default();
        options.end = options.field(&message[FIXED..]).map(|at| FIXED + at);
        options.in_options = options.order.len();
        options.has_overload = options.values.contains_key(&OVERLOAD);
        let overload = options.values.get(&OVERLOAD).and_then(|value| value.first()).copied().unwrap_or(0);
        options.overload = if overload <= 3 { overload } else { 0 };
        if options.overload & 1 != 0 {
            options.field(&message[108..236]);
        }
        if options.overload & 2 != 0 {
            options.field(&message[44..108]);
        }
        options
    }

    /// Whether an option comes in parts.
    pub fn has_parts(&self) -> bool {
        self.order.len() != self.values.len()
    }

    /// Reads one field and says where its END is.
    fn field(&mut self, field: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&code) = field.get(at) {
            match code {
                PAD => at += 1,
                END => return Some(at),
                _ => {
                    let value = field.get(at + 1).and_then(|&len| field.get(at + 2..at + 2 + usize::from(len)));
                    let Some(value) = value else {
                        self.truncated = true;
                        return None;
                    };
                    self.values.entry(code).or_default().extend_from_slice(value);
                    self.order.push(code);
                    at += 2 + value.len();
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parts_and_fields_in_order() {
        let mut message = vec![0; FIXED];
        message[108..113].copy_from_slice(&[61, 1, 2, END, 9]);
        message[44..48].copy_from_slice(&[61, 1, 3, END]);
        message.extend([61, 1, 1, PAD, OVERLOAD, 1, 3, END, 61, 1, 9]);
        let options = Options::read(&message);
        assert_eq!(options.values[&61], [1, 2, 3]);
        assert!(options.has_parts() && !options.truncated);
        assert_eq!((options.overload, options.end), (3, Some(FIXED + 7)));
        message.truncate(FIXED + 2);
        assert!(Options::read(&message).truncated);
    }
}

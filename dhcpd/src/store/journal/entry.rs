//! One record inside a commit block: `length u16`, `kind u8`, payload (docs/journal-format.md, "Commit block").
//!
//! Nothing here knows what a payload means.

use reveille_config::limit::JOURNAL_PAYLOAD_BYTES_MAX;

/// Octets a record costs beyond its payload.
pub const RECORD_OVERHEAD_BYTES: usize = 3;

/// Octets the record of a payload takes.
pub fn encoded_bytes(payload: &[u8]) -> usize {
    RECORD_OVERHEAD_BYTES + payload.len()
}

/// Appends one record. The caller has checked that the payload is at most [`JOURNAL_PAYLOAD_BYTES_MAX`] octets.
pub fn push(to: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= JOURNAL_PAYLOAD_BYTES_MAX);
    to.extend_from_slice(&(payload.len() as u16).to_le_bytes());
    to.push(kind);
    to.extend_from_slice(payload);
}

/// The records in `octets`, in order. Ends early, without an error, where the octets are not whole records: see [`count`].
pub fn records(mut octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = octets.split_at_checked(RECORD_OVERHEAD_BYTES)?;
        let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        if length > JOURNAL_PAYLOAD_BYTES_MAX {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(length)?;
        octets = rest;
        Some((head[2], payload))
    })
}

/// How many records `octets` hold, if they are whole records and nothing else.
pub fn count(octets: &[u8]) -> Option<u64> {
    let mut seen = 0;
    let mut used = 0;
    for (_, payload) in records(octets) {
        seen += 1;
        used += encoded_bytes(payload);
    }
    (used == octets.len()).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_pushed() {
        let long = vec![7u8; JOURNAL_PAYLOAD_BYTES_MAX];
        let given: [(u8, &[u8]); 4] = [(0, b""), (1, b"a"), (255, &long), (9, b"last")];
        let mut octets = Vec::new();
        for (kind, payload) in given {
            push(&mut octets, kind, payload);
        }
        assert_eq!(records(&octets).collect::<Vec<_>>(), given);
        assert_eq!(count(&octets), Some(4));
    }

    #[test]
    fn a_cut_or_overlong_record_does_not_count() {
        let mut octets = Vec::new();
        push(&mut octets, 1, b"abc");
        for end in 1..octets.len() {
            assert_eq!(count(&octets[..end]), None, "cut at {end}");
        }
        assert_eq!(count(&[0xff, 0xff, 1]), None);
        assert_eq!(count(b""), Some(0));
    }
}

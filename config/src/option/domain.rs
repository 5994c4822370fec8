//! Lists of domain names in the DNS's form: RFC 1035 §3.1, compressed as RFC 3397 §2 wants it.

use std::collections::BTreeMap;

/// The octets of a list of names; each name's end that was written before is pointed to.
pub(super) fn encode(names: &[&str]) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        let labels = labels(name)?;
        let mut closed = false;
        for at in 0..labels.len() {
            let rest = labels[at..].join(".").to_ascii_lowercase();
            if let Some(&offset) = written.get(&rest) {
                octets.extend([0xc0 | (offset >> 8) as u8, offset as u8]);
                closed = true;
                break;
            }
            // A pointer reaches 14 bits.
            if octets.len() < 1 << 14 {
                written.insert(rest, octets.len());
            }
            octets.push(labels[at].len() as u8);
            octets.extend(labels[at].as_bytes());
        }
        if !closed {
            octets.push(0);
        }
    }
    Ok(octets)
}

/// The names of a list; `None` where it is malformed. A pointer must point before itself, so that every list ends.
pub(super) fn decode(octets: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut next = 0;
    while next < octets.len() {
        let mut labels: Vec<&str> = Vec::new();
        let (mut at, mut limit, mut end) = (next, octets.len(), None);
        loop {
            match *octets.get(at)? {
                0 => break,
                high @ 0xc0.. => {
                    let target = usize::from(high & 0x3f) << 8 | usize::from(*octets.get(at + 1)?);
                    end = end.or(Some(at + 2));
                    if target >= limit.min(at) {
                        return None;
                    }
                    (at, limit) = (target, target);
                }
                length => {
                    let label = octets.get(at + 1..at + 1 + usize::from(length))?;
                    labels.push(std::str::from_utf8(label).ok()?);
                    at += 1 + usize::from(length);
                }
            }
        }
        next = end.unwrap_or(at + 1);
        names.push(labels.join("."));
    }
    (!names.is_empty()).then_some(names)
}

/// The labels of a name: each 1 to 63 octets of letters, digits, `-` and `_`; together at most 255 octets on the wire.
pub(super) fn labels(name: &str) -> Result<Vec<&str>, String> {
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let good = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let octets: usize = labels.iter().map(|label| label.len() + 1).sum();
    match labels.iter().all(good) && octets < 255 {
        true => Ok(labels),
        false => Err(format!("the string {name:?}, which is no domain name")),
    }
}

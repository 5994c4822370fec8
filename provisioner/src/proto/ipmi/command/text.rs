//! Text as records carry it (43.15): a type and length octet, then Latin-1, 6-bit ASCII, BCD plus or plain octets.

/// The octets of a field and what is left; `None` if it is longer than what is there.
pub(super) fn field(octets: &[u8]) -> Option<(String, &[u8])> {
    let (head, rest) = octets.split_first()?;
    let (value, rest) = rest.split_at_checked(usize::from(head & 0x3f))?;
    Some((text(head >> 6, value), rest))
}

/// The same for a sensor record, where the length is five bits (43.1) and a text that is cut short is taken as it is.
pub(super) fn sensor_name(octets: &[u8]) -> String {
    let Some((head, rest)) = octets.split_first() else { return String::new() };
    let len = usize::from(head & 0x1f).min(rest.len());
    text(head >> 6, &rest[..len])
}

fn text(kind: u8, octets: &[u8]) -> String {
    let text: String = match kind {
        0 => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
        1 => octets.iter().flat_map(|octet| [octet >> 4, octet & 0x0f]).map(bcd_plus).collect(),
        2 => six_bits(octets).map(|six| char::from(six + 0x20)).collect(),
        _ => octets.iter().map(|octet| char::from(*octet)).collect(),
    };
    text.trim_matches(|c: char| c == '\0' || c == ' ').to_owned()
}

fn bcd_plus(digit: u8) -> char {
    char::from(b"0123456789 -.:,_"[usize::from(digit & 0x0f)])
}

/// Four characters in three octets, least significant bits first.
fn six_bits(octets: &[u8]) -> impl Iterator<Item = u8> + '_ {
    octets.chunks(3).flat_map(|chunk| {
        let word = chunk.iter().rev().fold(0u32, |word, octet| word << 8 | u32::from(*octet));
        (0..chunk.len() * 8 / 6).map(move |at| (word >> (6 * at) & 0x3f) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_text() {
        let cases: [(&[u8], &str, usize); 5] = [
            (&[0xc3, b'B', b'M', b'C', 9], "BMC", 1),
            // The example of 43.15: "IPMI" in three octets.
            (&[0x83, 0x29, 0xdc, 0xa6], "IPMI", 0),
            (&[0x42, 0x12, 0xbc], "12-.", 0),
            (&[0x02, 0xbe, 0xef], "beef", 0),
            (&[0xc0], "", 0),
        ];
        for (octets, expected, left) in cases {
            let (text, rest) = field(octets).unwrap();
            assert_eq!((text.as_str(), rest.len()), (expected, left));
        }
        assert_eq!(field(&[0xc5, b'x']), None);
        assert_eq!(sensor_name(&[0xc5, b'x']), "x");
    }
}

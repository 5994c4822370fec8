//! [`answer`]: what a server that updates no DNS says to a client's fully qualified domain name (option 81, RFC 4702).
//!
//! What the client calls itself there counts for more than option 12 ([`name`]). The name goes back as it came, in the encoding in which it came; the flags say that the server has updated nothing and will not.

/// The server performs the A RR update.
const S: u8 = 1;
/// The server overrides what the client wants of S.
const O: u8 = 1 << 1;
/// The name is in DNS wire format, not ASCII.
const E: u8 = 1 << 2;
/// The server performs no updates.
const N: u8 = 1 << 3;

/// Flags and both RCODEs of the answer; the name, `value[3..]`, comes after them. `None` where the client's option is too short to be one.
pub fn answer(value: &[u8]) -> Option<[u8; 3]> {
    let &[flags, _, _] = value.first_chunk()?;
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //# If the "N" bit is 1, the "S" bit MUST be 0.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //# A server MUST set this bit to 1 if the "S" bit in its reply to the client does not match the "S" bit received from the client.
    let overridden = if flags & S != 0 { O } else { 0 };
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.2
    //# A server SHOULD set these to 255 when sending the option and MUST ignore them on receipt.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //# This encoding SHOULD be used by clients and MUST be supported by servers.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //# A server MUST use the same encoding as that used by the client.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //# DHCP clients and servers that send the Client FQDN option MUST clear the MBZ bits, and they MUST ignore these bits.
    Some([(flags & E) | N | overridden, 255, 255])
}

/// Octets that a name has at most, as text.
pub const NAME_BYTES_MAX: usize = 255;

/// The client's name as text, its labels put together in `buffer` where it comes in DNS wire format. `None` where there is none, or what is there is no name: then
/// option 12 has to do.
pub fn name<'a>(value: &'a [u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let (head, mut rest) = value.split_first_chunk::<3>()?;
    if head[0] & E == 0 {
        // With or without the dot of the root, or the zero that some clients end it with.
        let end = rest.iter().rposition(|octet| !matches!(octet, 0 | b'.'))?;
        return Some(&rest[..=end]);
    }
    let mut len = 0;
    // A name without the root's empty label is one that is to be completed.
    while let Some((&label_len @ 1.., behind)) = rest.split_first() {
        // A pointer into a message that is none has no sense here (RFC 1035 §4.1.4).
        let (label, behind) = behind.split_at_checked(usize::from(label_len)).filter(|_| label_len <= 63)?;
        if len > 0 {
            *buffer.get_mut(len)? = b'.';
            len += 1;
        }
        buffer.get_mut(len..len + label.len())?.copy_from_slice(label);
        len += label.len();
        rest = behind;
    }
    (len > 0).then_some(&buffer[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_in_either_encoding() {
        let long = [&[63][..], &[b'a'; 63]].concat().repeat(5);
        for (why, flags, octets, expected) in [
            ("wire format", E, &b"\x04node\x07example\x00"[..], Some(&b"node.example"[..])),
            ("to be completed", E, b"\x04node", Some(b"node")),
            ("none", E, b"", None),
            ("the root alone", E, b"\x00", None),
            ("a label past the end", E, b"\x09node", None),
            ("a pointer", E, b"\xc0\x0c", None),
            ("longer than a name can be", E, &long, None),
            ("ASCII", S, b"node.example", Some(b"node.example")),
            ("ASCII with the root's dot", 0, b"node.example.", Some(b"node.example")),
            ("ASCII with a zero", 0, b"node\0", Some(b"node")),
            ("nothing in ASCII", 0, b"", None),
        ] {
            let value = [&[flags, 0, 0][..], octets].concat();
            assert_eq!(name(&value, &mut [0; NAME_BYTES_MAX]), expected, "{why}");
        }
        assert_eq!(name(&[E, 0], &mut [0; NAME_BYTES_MAX]), None, "too short to be the option");
    }

    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //= type=test
    //# If the "N" bit is 1, the "S" bit MUST be 0.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //= type=test
    //# A server MUST set this bit to 1 if the "S" bit in its reply to the client does not match the "S" bit received from the client.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //= type=test
    //# This encoding SHOULD be used by clients and MUST be supported by servers.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //= type=test
    //# A server MUST use the same encoding as that used by the client.
    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.1
    //= type=test
    //# DHCP clients and servers that send the Client FQDN option MUST clear the MBZ bits, and they MUST ignore these bits.
    #[test]
    fn no_update_is_made_and_the_client_is_told() {
        for (why, client, expected) in [
            ("the client updates its A record itself", 0, N),
            ("the server is asked to", S, N | O),
            ("in wire format", E | S, E | N | O),
            ("nobody shall update", N, N),
            ("bits that must be zero are not returned", 0xf0 | O, N),
        ] {
            assert_eq!(answer(&[client, 0, 0, b'a']).map(|head| head[0]), Some(expected), "{why}");
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4702#section-2.2
    //= type=test
    //# A server SHOULD set these to 255 when sending the option and MUST ignore them on receipt.
    #[test]
    fn both_rcodes_are_255_whatever_the_client_wrote() {
        assert_eq!(answer(&[0, 7, 9]).map(|head| [head[1], head[2]]), Some([255, 255]));
        assert_eq!((answer(&[]), answer(&[0, 0])), (None, None), "too short to be one");
    }
}

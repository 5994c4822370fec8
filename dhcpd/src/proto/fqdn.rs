//! [`answer`]: what a server that updates no DNS says to a client's fully qualified domain name (option 81, RFC 4702).
//!
//! The name goes back as it came, in the encoding in which it came; the flags say that the server has updated nothing and will not.

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

#[cfg(test)]
mod tests {
    use super::*;

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

//! [`is_discover`]: a glance at a message before it is parsed, so that under overload those who already chose this server come first.
//!
//! It decides the order of service and nothing else; what a message really is, the parser says ([`super::view`]).

use super::view::{FIXED_BYTES, code};

/// Whether the first message type among the options (RFC 2132 §9.6) is DHCPDISCOVER. `false` for whatever is malformed: the parser names the reason.
pub fn is_discover(message: &[u8]) -> bool {
    let mut options = message.get(FIXED_BYTES..).unwrap_or_default();
    loop {
        match options {
            [code::MESSAGE_TYPE, 1, kind, ..] => return *kind == 1,
            [code::PAD, rest @ ..] => options = rest,
            [code::END, ..] => return false,
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..).unwrap_or_default(),
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_message_type_wherever_it_stands() {
        for (options, expected) in [
            (&[53, 1, 1, 255][..], true),
            (&[53, 1, 3, 255], false),
            (&[0, 0, 53, 1, 1], true),
            (&[12, 2, 53, 1, 53, 1, 1, 255], true),
            (&[12, 2, 53, 1, 53, 1, 3, 255], false),
            (&[255, 53, 1, 1], false),
            (&[53, 1], false),
            (&[12, 200, 53, 1, 1], false),
            (&[53, 2, 1, 1, 255], false),
            (&[], false),
        ] {
            let message = [&[0; FIXED_BYTES][..], options].concat();
            assert_eq!(is_discover(&message), expected, "{options:?}");
        }
        assert!(!is_discover(&[53; FIXED_BYTES - 1]));
    }
}

//! [`encode`]: netascii, the text mode of RFC 1350 (RFC 764): a line feed becomes CR LF, a lone CR becomes CR NUL.
//!
//! Text mode is for small configuration files; the shell refuses it for others ([`SOURCE_BYTES_MAX`]), because an encoded file has to
//! be held in memory: positions in it are not positions in the file.

/// Octets of a file that is sent in netascii.
pub const SOURCE_BYTES_MAX: u64 = 1 << 20;

/// The file's octets as they go over the wire.
pub fn encode(source: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(source.len() + source.len() / 16);
    for &octet in source {
        match octet {
            b'\n' => wire.extend_from_slice(b"\r\n"),
            b'\r' => wire.extend_from_slice(b"\r\0"),
            other => wire.push(other),
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn table() {
        for (source, wire) in [("", ""), ("a\nb\n", "a\r\nb\r\n"), ("a\rb", "a\r\0b"), ("\r\n", "\r\0\r\n")] {
            assert_eq!(encode(source.as_bytes()), wire.as_bytes(), "{source:?}");
        }
    }
}

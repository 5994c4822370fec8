//! TFTP's messages: reading what clients send, writing what servers send.
//!
//! Reading borrows from the datagram and allocates nothing. Options that are unknown or out of bounds are left out, as RFC 2347 wants
//! it: the answer then does not list them and the client goes on with the defaults.

use super::DropReason;

/// Octets of a request; the file name and all options of any known client fit in a quarter.
pub const REQUEST_BYTES_MAX: usize = 2_048;
/// Options of one request that are looked at before it is dropped.
pub const OPTIONS_MAX: usize = 16;
/// RFC 1350: the block size without options.
pub const BLOCK_SIZE_DEFAULT: u16 = 512;
/// RFC 2348 section 2.
pub const BLOCK_SIZE_MIN: u16 = 8;
/// RFC 2348 section 2.
pub const BLOCK_SIZE_MAX: u16 = 65_464;
/// Blocks sent ahead; a client that asks for more (RFC 7440 allows 65,535) is given this. The gain is flat beyond.
pub const WINDOW_BLOCKS_MAX: u16 = 64;
/// Octets in front of a block's payload.
pub const DATA_HEADER_BYTES: usize = 4;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// How the octets are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Octet,
    /// As text (see [`super::netascii`]).
    Netascii,
}

/// The options of a request that are within their bounds; others are as if not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `blksize` (RFC 2348), octets.
    pub block_size: Option<u16>,
    /// `windowsize` (RFC 7440), blocks; not yet reduced to [`WINDOW_BLOCKS_MAX`].
    pub window_blocks: Option<u16>,
    /// `timeout` (RFC 2349), seconds, 1 to 255.
    pub timeout_secs: Option<u8>,
    /// `tsize` (RFC 2349): the size is asked for.
    pub transfer_size: bool,
}

impl Options {
    /// None of them.
    pub const NONE: Self = Self { block_size: None, window_blocks: None, timeout_secs: None, transfer_size: false };
}

/// A request to read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The file asked for, as sent.
    pub file_name: &'a str,
    /// The mode.
    pub mode: Mode,
    /// The options.
    pub options: Options,
    /// The octets that `tsize` speaks of: of a write those that will come, of a read usually 0.
    pub bytes_said: Option<u64>,
}

/// A datagram, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// RRQ.
    Read(Request<'a>),
    /// RRQ with a mode that does not exist (`mail` does not any more).
    UnknownMode,
    /// WRQ.
    Write(Request<'a>),
    /// ACK of this block number.
    Acknowledge(u16),
    /// ERROR. The text is trimmed to what is printable.
    Error {
        /// The code as sent.
        code: u16,
    },
    /// None of these.
    Dropped(DropReason),
}

/// Reads a datagram of a client.
pub fn read(datagram: &[u8]) -> Incoming<'_> {
    let [high, low, rest @ ..] = datagram else { return Incoming::Dropped(DropReason::Truncated) };
    match (u16::from_be_bytes([*high, *low]), rest) {
        (RRQ | WRQ, _) if datagram.len() > REQUEST_BYTES_MAX => Incoming::Dropped(DropReason::Oversized),
        (RRQ, rest) => read_request(rest, Incoming::Read).unwrap_or_else(Incoming::Dropped),
        (WRQ, rest) => read_request(rest, Incoming::Write).unwrap_or_else(Incoming::Dropped),
        (ACK, [high, low, ..]) => Incoming::Acknowledge(u16::from_be_bytes([*high, *low])),
        (ERROR, [high, low, ..]) => Incoming::Error { code: u16::from_be_bytes([*high, *low]) },
        (ACK | ERROR, _) => Incoming::Dropped(DropReason::Truncated),
        (DATA | OACK, _) => Incoming::Dropped(DropReason::Unexpected),
        _ => Incoming::Dropped(DropReason::UnknownOpcode),
    }
}

fn read_request<'a>(mut rest: &'a [u8], kind: fn(Request<'a>) -> Incoming<'a>) -> Result<Incoming<'a>, DropReason> {
    let file_name = take_text(&mut rest)?;
    let mode = take_text(&mut rest)?;
    if file_name.is_empty() {
        return Err(DropReason::NoFileName);
    }
    let (mut options, mut bytes_said) = (Options::NONE, None);
    let mut seen = 0;
    // Some ROMs pad their requests with NULs.
    while rest.iter().any(|b| *b != 0) {
        let (name, value) = (take_text(&mut rest)?, take_text(&mut rest)?);
        seen += 1;
        if seen > OPTIONS_MAX {
            return Err(DropReason::Oversized);
        }
        options.take(name, value);
        if name.eq_ignore_ascii_case("tsize") {
            bytes_said = bytes_said.or_else(|| value.parse().ok());
        }
    }
    Ok(match mode {
        m if m.eq_ignore_ascii_case("octet") => kind(Request { file_name, mode: Mode::Octet, options, bytes_said }),
        m if m.eq_ignore_ascii_case("netascii") => {
            kind(Request { file_name, mode: Mode::Netascii, options, bytes_said })
        }
        _ => Incoming::UnknownMode,
    })
}

/// The next NUL-terminated text.
fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, DropReason> {
    let end = rest.iter().position(|b| *b == 0).ok_or(DropReason::NotTerminated)?;
    let text = std::str::from_utf8(&rest[..end]).map_err(|_| DropReason::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(DropReason::NotText);
    }
    *rest = &rest[end + 1..];
    Ok(text)
}

impl Options {
    /// Takes one option if it is known, within bounds and not a repetition (RFC 2347: an option appears once).
    fn take(&mut self, name: &str, value: &str) {
        let number = || value.parse::<u64>().ok();
        if name.eq_ignore_ascii_case("blksize") && self.block_size.is_none() {
            // A client that asks for more than exists can be given less (RFC 2348: "less than or equal").
            self.block_size =
                number().filter(|n| *n >= u64::from(BLOCK_SIZE_MIN)).map(|n| n.min(u64::from(BLOCK_SIZE_MAX)) as u16);
        } else if name.eq_ignore_ascii_case("windowsize") && self.window_blocks.is_none() {
            self.window_blocks = number().filter(|n| (1..=65_535).contains(n)).map(|n| n as u16);
        } else if name.eq_ignore_ascii_case("timeout") && self.timeout_secs.is_none() {
            self.timeout_secs = number().filter(|n| (1..=255).contains(n)).map(|n| n as u8);
        } else if name.eq_ignore_ascii_case("tsize") {
            self.transfer_size |= number().is_some();
        }
    }
}

/// RFC 1350's error codes that this server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// See the message.
    NotDefined = 0,
    /// File not found.
    FileNotFound = 1,
    /// Access violation.
    AccessViolation = 2,
    /// Disk full or allocation exceeded.
    DiskFull = 3,
    /// Illegal TFTP operation.
    IllegalOperation = 4,
    /// File already exists.
    FileExists = 6,
}

/// An ERROR message.
pub fn write_error(code: ErrorCode, message: &str) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(5 + message.len());
    datagram.extend_from_slice(&ERROR.to_be_bytes());
    datagram.extend_from_slice(&(code as u16).to_be_bytes());
    datagram.extend_from_slice(message.as_bytes());
    datagram.push(0);
    datagram
}

/// The block number and the payload of a DATA message; none if it is something else.
pub fn read_data(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let [high, low, one, two, payload @ ..] = datagram else { return None };
    (u16::from_be_bytes([*high, *low]) == DATA).then(|| (u16::from_be_bytes([*one, *two]), payload))
}

/// An ACK message.
pub fn write_ack(block: u16) -> Vec<u8> {
    [ACK.to_be_bytes(), block.to_be_bytes()].concat()
}

/// The header of a DATA message.
pub fn data_header(block: u16) -> [u8; DATA_HEADER_BYTES] {
    let ([a, b], [c, d]) = (DATA.to_be_bytes(), block.to_be_bytes());
    [a, b, c, d]
}

/// An OACK message with the accepted options, in a fixed order.
pub fn write_option_ack(options: &Options, bytes_total: u64) -> Vec<u8> {
    use std::io::Write;
    let mut datagram = OACK.to_be_bytes().to_vec();
    // Writing to a Vec cannot fail.
    let mut put = |name: &str, value: u64| {
        let _ = write!(datagram, "{name}\0{value}\0");
    };
    if options.transfer_size {
        put("tsize", bytes_total);
    }
    if let Some(block_size) = options.block_size {
        put("blksize", block_size.into());
    }
    if let Some(timeout_secs) = options.timeout_secs {
        put("timeout", timeout_secs.into());
    }
    if let Some(window_blocks) = options.window_blocks {
        put("windowsize", window_blocks.into());
    }
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `|` stands for NUL: before a digit that would look like another escape.
    fn nul(text: &str) -> Vec<u8> {
        text.replace('|', "\0").into_bytes()
    }

    fn options(text: &str) -> Option<Options> {
        match read(&nul(&format!("|\x01f|octet|{text}"))) {
            Incoming::Read(request) => Some(request.options),
            _ => None,
        }
    }

    #[test]
    fn requests() {
        use DropReason as D;
        let oversized = [b"\0\x01".as_slice(), &[b'a'; 3_000], b"\0octet\0"].concat();
        let many = [b"\0\x01a\0octet\0".as_slice(), &nul("x|1|").repeat(17)].concat();
        let plain = Request { file_name: "a/b", mode: Mode::Octet, options: Options::NONE, bytes_said: None };
        #[rustfmt::skip]
        let cases: &[(&[u8], Incoming<'_>)] = &[
            (b"\0\x01a/b\0octet\0",        Incoming::Read(plain)),
            (b"\0\x01a/b\0OCTET\0",        Incoming::Read(plain)),
            (b"\0\x01a/b\0octet\0\0\0\0",  Incoming::Read(plain)),
            (b"\0\x01a/b\0netASCII\0",     Incoming::Read(Request { mode: Mode::Netascii, ..plain })),
            (b"\0\x01a\0mail\0",           Incoming::UnknownMode),
            (b"\0\x02a/b\0octet\0", Incoming::Write(plain)),
            (b"\0\x02a/b\0octet\0tsize\x007\0", Incoming::Write(Request { options: Options { transfer_size: true, ..Options::NONE }, bytes_said: Some(7), ..plain })),
            (b"\0\x04\x01\x02",            Incoming::Acknowledge(0x102)),
            (b"\0\x04\0\x01padding",       Incoming::Acknowledge(1)),
            (b"\0\x05\0\x08aborted\0",     Incoming::Error { code: 8 }),
            (b"\0\x05\0\x08",              Incoming::Error { code: 8 }),
            (b"",                          Incoming::Dropped(D::Truncated)),
            (b"\0",                        Incoming::Dropped(D::Truncated)),
            (b"\0\x04\0",                  Incoming::Dropped(D::Truncated)),
            (b"\0\x05",                    Incoming::Dropped(D::Truncated)),
            (b"\0\x03\0\x01x",             Incoming::Dropped(D::Unexpected)),
            (b"\0\x06x\0",                 Incoming::Dropped(D::Unexpected)),
            (b"\0\x09x\0",                 Incoming::Dropped(D::UnknownOpcode)),
            (b"\x01\x01x\0octet\0",        Incoming::Dropped(D::UnknownOpcode)),
            (b"\0\x01",                    Incoming::Dropped(D::NotTerminated)),
            (b"\0\x01file",                Incoming::Dropped(D::NotTerminated)),
            (b"\0\x01file\0octet",         Incoming::Dropped(D::NotTerminated)),
            (b"\0\x01file\0octet\0tsize",  Incoming::Dropped(D::NotTerminated)),
            (b"\0\x01file\0octet\0tsize\0",Incoming::Dropped(D::NotTerminated)),
            (b"\0\x01\0octet\0",           Incoming::Dropped(D::NoFileName)),
            (b"\0\x01\xff\xfe\0octet\0",   Incoming::Dropped(D::NotText)),
            (b"\0\x01a\nb\0octet\0",       Incoming::Dropped(D::NotText)),
            (&oversized,                   Incoming::Dropped(D::Oversized)),
            (&many,                        Incoming::Dropped(D::Oversized)),
        ];
        for (datagram, expected) in cases {
            assert_eq!(read(datagram), *expected, "{:?}", datagram.escape_ascii().to_string());
        }
    }

    #[test]
    fn option_bounds() {
        let none = Options::NONE;
        #[rustfmt::skip]
        let cases: &[(&str, Options)] = &[
            ("blksize|1468|",              Options { block_size: Some(1468), ..none }),
            ("BLKSIZE|8|",                 Options { block_size: Some(8), ..none }),
            ("blksize|7|",                 none),
            ("blksize|999999|",            Options { block_size: Some(65_464), ..none }),
            ("blksize|-1|",                none),
            ("blksize|x|",                 none),
            ("blksize|512|blksize|1024|",Options { block_size: Some(512), ..none }),
            ("tsize|0|",                   Options { transfer_size: true, ..none }),
            ("tsize|x|",                   none),
            ("timeout|1|",                 Options { timeout_secs: Some(1), ..none }),
            ("timeout|0|",                 none),
            ("timeout|256|",               none),
            ("windowsize|65535|",          Options { window_blocks: Some(65_535), ..none }),
            ("windowsize|0|",              none),
            ("windowsize|65536|",          none),
            ("multicast||",                none),
            ("x||tsize|0|",              Options { transfer_size: true, ..none }),
        ];
        for (text, expected) in cases {
            assert_eq!(options(text), Some(*expected), "{text}");
        }
    }

    #[test]
    fn written_bytes() {
        let all =
            Options { block_size: Some(1468), window_blocks: Some(4), timeout_secs: Some(2), transfer_size: true };
        assert_eq!(write_option_ack(&all, 7), nul("|\x06tsize|7|blksize|1468|timeout|2|windowsize|4|"));
        assert_eq!(write_error(ErrorCode::FileNotFound, "no"), b"\0\x05\0\x01no\0");
        assert_eq!(data_header(0x1234), [0, 3, 0x12, 0x34]);
    }

    proptest! {
        /// Any octets are read without a panic, and a request that is read has a name without control characters.
        #[test]
        fn reads_anything(datagram in proptest::collection::vec(any::<u8>(), 0..80), request: bool) {
            let datagram = if request { [b"\0\x01".as_slice(), &datagram].concat() } else { datagram };
            if let Incoming::Read(r) = read(&datagram) {
                prop_assert!(!r.file_name.is_empty() && !r.file_name.chars().any(char::is_control));
                prop_assert!(r.options.block_size.is_none_or(|b| (8..=65_464).contains(&b)));
            }
        }
    }
}

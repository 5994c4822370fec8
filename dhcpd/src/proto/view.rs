//! [`PacketView`]: a DHCPv4 message as it lies in its datagram (RFC 2131 §2, RFC 2132).
//!
//! Parsing borrows and allocates nothing: an index says where each option lies. Options that come in parts are joined (RFC 3396) in a buffer of the
//! [`Parser`], which is reused for every packet. Options may also lie in `file` and `sname` (option overload, RFC 2132 §9.3).
//!
//! Invariant: whatever the octets are, [`Parser::parse`] returns a view or a [`DropReason`]; it never panics and never reads past the datagram.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::reason::DropReason;

/// Octets of the fixed fields, the magic cookie included.
pub const FIXED_BYTES: usize = 240;
/// Octets that parts of split options may have together, per packet.
const JOINED_BYTES_MAX: usize = 2_048;
/// RFC 2131 §3: 99, 130, 83, 99.
pub const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];

const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// Codes of the options that the server itself gives a meaning to.
pub mod code {
    #![allow(missing_docs)]
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const HOST_NAME: u8 = 12;
    pub const BROADCAST_ADDRESS: u8 = 28;
    pub const VENDOR_SPECIFIC: u8 = 43;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETER_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    pub const TFTP_SERVER: u8 = 66;
    pub const BOOT_FILE: u8 = 67;
    pub const USER_CLASS: u8 = 77;
    pub const RELAY_AGENT: u8 = 82;
    pub const ARCHITECTURE: u8 = 93;
    pub const NETWORK_INTERFACE: u8 = 94;
    pub const MACHINE_ID: u8 = 97;
    pub const END: u8 = 255;
}

/// The messages that a client sends (RFC 2132 §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// DHCPDISCOVER, 1.
    Discover,
    /// DHCPREQUEST, 3.
    Request,
    /// DHCPDECLINE, 4.
    Decline,
    /// DHCPRELEASE, 7.
    Release,
    /// DHCPINFORM, 8.
    Inform,
}

impl MessageType {
    /// The RFC's word in lower case, without the prefix: a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Release => "release",
            Self::Inform => "inform",
        }
    }

    const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Discover),
            3 => Some(Self::Request),
            4 => Some(Self::Decline),
            7 => Some(Self::Release),
            8 => Some(Self::Inform),
            _ => None,
        }
    }
}

/// Where an option's value lies; `joined` says in which of the two buffers.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u16,
    len: u16,
    joined: bool,
}

/// The reusable memory of parsing; one per worker.
#[derive(Debug)]
pub struct Parser {
    spans: Box<[Span; 256]>,
    joined: Box<[u8; JOINED_BYTES_MAX]>,
    used: usize,
    present: [u64; 4],
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            spans: Box::new([Span::default(); 256]),
            joined: Box::new([0; JOINED_BYTES_MAX]),
            used: 0,
            present: [0; 4],
        }
    }
}

impl Parser {
    /// Reads one datagram's payload. The view borrows from both.
    ///
    /// # Errors
    /// What makes the packet unusable, as data.
    pub fn parse<'a>(&'a mut self, bytes: &'a [u8]) -> Result<PacketView<'a>, DropReason> {
        if bytes.len() < FIXED_BYTES {
            return Err(DropReason::Truncated);
        }
        if bytes[0] != 1 {
            return Err(DropReason::NotARequest);
        }
        if bytes[1] != 1 || bytes[2] != 6 {
            return Err(DropReason::HardwareType);
        }
        // A group address or zero is nobody to answer, and must never become the destination of a frame.
        if bytes[28] & 1 != 0 || bytes[28..34] == [0; 6] {
            return Err(DropReason::HardwareAddress);
        }
        if bytes[236..240] != MAGIC_COOKIE {
            return Err(DropReason::Cookie);
        }
        self.used = 0;
        self.present = [0; 4];
        // What follows a length of 16 bits cannot be a UDP payload.
        let end = bytes.len().min(usize::from(u16::MAX));
        self.index(bytes, FIXED_BYTES..end)?;
        if let Some(&overload) = self.value(bytes, code::OVERLOAD).and_then(<[u8]>::first) {
            // RFC 2131 §4.1: `file` is read before `sname`.
            if overload & 1 != 0 {
                self.index(bytes, FILE)?;
            }
            if overload & 2 != 0 {
                self.index(bytes, SNAME)?;
            }
        }
        let message_type = match self.value(bytes, code::MESSAGE_TYPE).and_then(<[u8]>::first) {
            None => return Err(DropReason::NotDhcp),
            Some(&value) => MessageType::from_wire(value).ok_or(DropReason::MessageType)?,
        };
        Ok(PacketView { bytes, parser: self, message_type })
    }

    fn index(&mut self, bytes: &[u8], field: std::ops::Range<usize>) -> Result<(), DropReason> {
        let mut at = field.start;
        while at < field.end {
            match bytes[at] {
                code::PAD => at += 1,
                code::END => return Ok(()),
                option => {
                    let len = match bytes.get(at + 1) {
                        Some(&len) if at + 1 < field.end => usize::from(len),
                        _ => return Err(DropReason::OptionTruncated),
                    };
                    let start = at + 2;
                    if start + len > field.end {
                        return Err(DropReason::OptionTruncated);
                    }
                    self.remember(bytes, option, start, len)?;
                    at = start + len;
                }
            }
        }
        // No END: everything that was there is whole, so it counts.
        Ok(())
    }

    fn remember(&mut self, bytes: &[u8], option: u8, start: usize, len: usize) -> Result<(), DropReason> {
        let mask = 1 << (option & 63);
        let present = &mut self.present[usize::from(option >> 6)];
        let span = &mut self.spans[usize::from(option)];
        if *present & mask == 0 {
            *present |= mask;
            *span = Span { start: start as u16, len: len as u16, joined: false };
            return Ok(());
        }
        // RFC 3396 §7: parts of one option are joined in the order in which they come.
        let before = usize::from(span.len);
        let last_in_buffer = span.joined && usize::from(span.start) + before == self.used;
        let copy = if last_in_buffer { 0 } else { before };
        if self.used + copy + len > JOINED_BYTES_MAX {
            return Err(DropReason::OptionsTooLong);
        }
        if !last_in_buffer {
            let (from, to) = (usize::from(span.start), self.used);
            if span.joined {
                self.joined.copy_within(from..from + before, to);
            } else {
                self.joined[to..to + before].copy_from_slice(&bytes[from..from + before]);
            }
            span.start = to as u16;
            span.joined = true;
            self.used += before;
        }
        self.joined[self.used..self.used + len].copy_from_slice(&bytes[start..start + len]);
        self.used += len;
        span.len = (before + len) as u16;
        Ok(())
    }

    fn value<'a>(&'a self, bytes: &'a [u8], option: u8) -> Option<&'a [u8]> {
        if self.present[usize::from(option >> 6)] & (1 << (option & 63)) == 0 {
            return None;
        }
        let span = self.spans[usize::from(option)];
        let range = usize::from(span.start)..usize::from(span.start) + usize::from(span.len);
        Some(if span.joined { &self.joined[range] } else { &bytes[range] })
    }
}

/// One message of a client. All accessors are total: what is missing is `None`, what is too short counts as missing.
#[derive(Debug, Clone, Copy)]
pub struct PacketView<'a> {
    bytes: &'a [u8],
    parser: &'a Parser,
    /// Option 53.
    pub message_type: MessageType,
}

impl<'a> PacketView<'a> {
    /// `hops`.
    pub fn hops(&self) -> u8 {
        self.bytes[3]
    }

    /// `xid`, the octets as they came.
    pub fn xid(&self) -> [u8; 4] {
        self.fixed(4)
    }

    /// `flags`.
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes(self.fixed(10))
    }

    /// Whether the client asks for broadcast replies (RFC 2131 §4.1).
    pub fn broadcast_flag(&self) -> bool {
        self.flags() & 0x8000 != 0
    }

    /// `ciaddr`.
    pub fn ciaddr(&self) -> Ipv4Addr {
        self.fixed::<4>(12).into()
    }

    /// `giaddr`.
    pub fn giaddr(&self) -> Ipv4Addr {
        self.fixed::<4>(24).into()
    }

    /// `chaddr`: never zero, never a group address.
    pub fn chaddr(&self) -> MacAddr {
        MacAddr(self.fixed(28))
    }

    /// The value of option `option`, its parts joined.
    pub fn option(&self, option: u8) -> Option<&'a [u8]> {
        self.parser.value(self.bytes, option)
    }

    /// Option 50. `None` also for 0.0.0.0, which nobody can want.
    pub fn requested_address(&self) -> Option<Ipv4Addr> {
        self.address_option(code::REQUESTED_ADDRESS)
    }

    /// Option 54. `None` also for 0.0.0.0.
    pub fn server_id(&self) -> Option<Ipv4Addr> {
        self.address_option(code::SERVER_ID)
    }

    /// Option 51, seconds.
    pub fn lease_secs(&self) -> Option<u32> {
        self.option(code::LEASE_TIME)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// Option 57, octets of the largest IP datagram the client takes; values below the RFC's minimum of 576 count as missing.
    pub fn max_message_size(&self) -> Option<u16> {
        let size = u16::from_be_bytes(*self.option(code::MAX_MESSAGE_SIZE)?.first_chunk()?);
        (size >= 576).then_some(size)
    }

    /// The first value of option 93 (RFC 4578 §2.1).
    pub fn architecture(&self) -> Option<u16> {
        self.option(code::ARCHITECTURE)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
    }

    fn address_option(&self, option: u8) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(*self.option(option)?.first_chunk::<4>()?);
        (!address.is_unspecified()).then_some(address)
    }

    fn fixed<const N: usize>(&self, at: usize) -> [u8; N] {
        // The fixed fields are there: `parse` checked the length.
        *self.bytes[at..].first_chunk().unwrap_or(&[0; N])
    }
}

#[cfg(test)]
mod tests;

//! [`PacketView`]: a DHCPv4 message as it lies in its datagram (RFC 2131 §2, RFC 2132).
//!
//! Parsing borrows and allocates nothing: an index says where each option lies. Options that come in parts are joined (RFC 3396) in a buffer of the
//! [`Parser`], which is reused for every packet. Options may also lie in `file` and `sname` (option overload, RFC 2132 §9.3).
//!
//! A bad option does not take a good message down: what was whole counts, and [`PacketView::faults`] says what was not. `secs` is not read at all:
//! some ROMs send it in the wrong byte order, and nothing may depend on it.
//!
//! Invariant: whatever the octets are, [`Parser::parse`] returns a view or a [`DropReason`]; it never panics and never reads past the datagram.

use std::net::Ipv4Addr;

use reveille_config::MacAddr;

use super::option::CodeSet;
use super::reason::{DropReason, Fault, Faults};
use super::relay_agent::RelayAgent;

/// Octets of the fixed fields, the magic cookie included.
pub const FIXED_BYTES: usize = 240;
/// What a BOOTP message has at least (RFC 1542 §2.1). One with a message type is DHCP's, and many clients send less: RFC 2131 asks for no more than is there.
pub const BOOTP_BYTES_MIN: usize = 300;
/// Octets that parts of split options may have together, per packet.
const JOINED_BYTES_MAX: usize = 2_048;
/// Octets of relay agent information and client identifier together that a reply has room for beside what it must say.
const ECHOED_BYTES_MAX: usize = 1_100;
/// RFC 2131 §3: 99, 130, 83, 99.
pub const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];

pub(super) const SNAME: std::ops::Range<usize> = 44..108;
pub(super) const FILE: std::ops::Range<usize> = 108..236;

/// Codes of the options that the server itself gives a meaning to.
pub mod code {
    #![allow(missing_docs)]
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const HOST_NAME: u8 = 12;
    pub const BROADCAST_ADDRESS: u8 = 28;
    pub const STATIC_ROUTES: u8 = 33;
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
    pub const RAPID_COMMIT: u8 = 80;
    pub const CLIENT_FQDN: u8 = 81;
    pub const RELAY_AGENT: u8 = 82;
    pub const LAST_TRANSACTION_TIME: u8 = 91;
    pub const ASSOCIATED_ADDRESS: u8 = 92;
    pub const ARCHITECTURE: u8 = 93;
    pub const NETWORK_INTERFACE: u8 = 94;
    pub const MACHINE_ID: u8 = 97;
    pub const V6_ONLY_PREFERRED: u8 = 108;
    pub const SUBNET_SELECTION: u8 = 118;
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// The messages that a server answers (RFC 2132 §9.6; RFC 4388 §6.1).
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
    /// DHCPLEASEQUERY, 10: from a relay agent or another requestor, not from a client.
    LeaseQuery,
    /// No message type: a BOOTP client (RFC 1534 §2).
    Bootp,
}

impl MessageType {
    /// Every one, in order of declaration.
    pub const ALL: [Self; 7] =
        [Self::Discover, Self::Request, Self::Decline, Self::Release, Self::Inform, Self::LeaseQuery, Self::Bootp];

    /// The RFC's word in lower case, without the prefix: a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Release => "release",
            Self::Inform => "inform",
            Self::LeaseQuery => "leasequery",
            Self::Bootp => "bootp",
        }
    }

    const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Discover),
            3 => Some(Self::Request),
            4 => Some(Self::Decline),
            7 => Some(Self::Release),
            8 => Some(Self::Inform),
            10 => Some(Self::LeaseQuery),
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
    present: CodeSet,
    /// Options of which a part is missing; they count as absent.
    broken: CodeSet,
    faults: Faults,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            spans: Box::new([Span::default(); 256]),
            joined: Box::new([0; JOINED_BYTES_MAX]),
            used: 0,
            present: CodeSet::default(),
            broken: CodeSet::default(),
            faults: Faults::default(),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc1542#section-2.1
//# Therefore, BOOTP messages which, according to the IP Total Length and UDP Length fields, are larger than the minimal size specified by [2] MUST also be accepted.
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
        self.used = 0;
        (self.present, self.broken, self.faults) = (CodeSet::default(), CodeSet::default(), Faults::default());
        match *bytes[236..].first_chunk().unwrap_or(&[0; 4]) {
            MAGIC_COOKIE => self.options(bytes),
            // RFC 951 §3: a BOOTP client that has nothing to say fills the vendor area with zeros.
            [0, 0, 0, 0] => {}
            _ => return Err(DropReason::Cookie),
        }
        let message_type = self.message_type(bytes)?;
        //= https://www.rfc-editor.org/rfc/rfc1542#section-2.1
        //# BOOTP messages not meeting these consistency checks MUST be silently discarded.
        if message_type == MessageType::Bootp && bytes.len() < BOOTP_BYTES_MIN {
            return Err(DropReason::Truncated);
        }
        let known_by_hardware = message_type != MessageType::LeaseQuery;
        if known_by_hardware && (bytes[1] != 1 || bytes[2] != 6) {
            return Err(DropReason::HardwareType);
        }
        // A group address or zero is nobody to answer, and must never become the destination of a frame.
        if known_by_hardware && (bytes[28] & 1 != 0 || bytes[28..34] == [0; 6]) {
            return Err(DropReason::HardwareAddress);
        }
        self.look_for_faults(bytes, message_type);
        Ok(PacketView { bytes, parser: self, message_type })
    }

    fn options(&mut self, bytes: &[u8]) {
        // What follows a length of 16 bits cannot be a UDP payload.
        let end = bytes.len().min(usize::from(u16::MAX));
        self.index(bytes, FIXED_BYTES..end);
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# The options in the 'options' field MUST be interpreted first, so that any 'option overload' options may be interpreted.
        let overload = self.value(bytes, code::OVERLOAD).map_or(0, |value| value.first().copied().unwrap_or(0xff));
        if overload > 3 {
            self.faults.insert(Fault::Overload);
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# The 'file' field MUST be interpreted next (if the 'option overload' option indicates that the 'file' field contains DHCP options), followed by the 'sname' field.
        if overload & 1 != 0 {
            self.index(bytes, FILE);
        }
        if overload & 2 != 0 {
            self.index(bytes, SNAME);
        }
    }

    fn message_type(&self, bytes: &[u8]) -> Result<MessageType, DropReason> {
        let truncated = self.faults.iter().any(|fault| fault == Fault::OptionTruncated);
        match self.value(bytes, code::MESSAGE_TYPE) {
            Some(value) => value.first().and_then(|&kind| MessageType::from_wire(kind)).ok_or(DropReason::MessageType),
            // It may have been what was cut off.
            None if truncated => Err(DropReason::OptionTruncated),
            //= https://www.rfc-editor.org/rfc/rfc1534#section-2
            //# Messages without the DHCP Message Type option are assumed to have been sent by a BOOTP client.
            None => Ok(MessageType::Bootp),
        }
    }

    /// Notes what is odd about a message that can be answered all the same.
    fn look_for_faults(&mut self, bytes: &[u8], message_type: MessageType) {
        let has = |code, len| self.value(bytes, code).is_some_and(|value| value.len() >= len);
        let ciaddr = bytes[12..16] != [0; 4];
        let fault = match message_type {
            MessageType::Release | MessageType::Decline if !has(code::SERVER_ID, 4) => Some(Fault::NoServerId),
            MessageType::Request if !ciaddr && !has(code::REQUESTED_ADDRESS, 4) => Some(Fault::NoAddressNamed),
            MessageType::Discover if ciaddr => Some(Fault::StrayCiaddr),
            _ => None,
        };
        let agent_is_whole = RelayAgent::new(self.value(bytes, code::RELAY_AGENT).unwrap_or_default()).is_whole();
        let too_long = (!self.relay_agent_fits(bytes)).then_some(Fault::RelayAgentTooLong);
        let agent = (!agent_is_whole).then_some(Fault::RelayAgent).into_iter().chain(too_long);
        fault.into_iter().chain(agent).for_each(|fault| self.faults.insert(fault));
    }

    fn index(&mut self, bytes: &[u8], field: std::ops::Range<usize>) {
        let mut at = field.start;
        while at < field.end {
            match bytes[at] {
                code::PAD => at += 1,
                code::END => return,
                option => {
                    let len = match bytes.get(at + 1) {
                        Some(&len) if at + 1 < field.end => usize::from(len),
                        _ => return self.faults.insert(Fault::OptionTruncated),
                    };
                    let start = at + 2;
                    if start + len > field.end {
                        // The rest of the field is no option; where it ends cannot be known.
                        return self.faults.insert(Fault::OptionTruncated);
                    }
                    self.remember(bytes, option, start, len);
                    at = start + len;
                }
            }
        }
        // No END: everything that was there is whole, so it counts.
    }

    fn remember(&mut self, bytes: &[u8], option: u8, start: usize, len: usize) {
        let span = &mut self.spans[usize::from(option)];
        if !self.present.contains(option) {
            self.present.insert(option);
            *span = Span { start: start as u16, len: len as u16, joined: false };
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc3396#section-7
        //# When a decoding agent is scanning an incoming DHCP packet's option buffer and finds two or more options with the same option code, it MUST consider them to be split portions of an option as described in the preceding section.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-7
        //# In the case that a decoding agent finds a split option, it MUST treat the contents of that option as a single option, and the contents MUST be reassembled in the order that was described above under encoding agent behavior.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-4
        //# However, an implementation which supports any concatenation-requiring option MUST be capable of concatenating received options for both concatenation-requiring and non-concatenation-requiring options.
        //= https://www.rfc-editor.org/rfc/rfc4702#section-2
        //# DHCP clients and servers supporting this option MUST implement DHCP option concatenation
        //= https://www.rfc-editor.org/rfc/rfc3396#section-1
        //# DHCP protocol agents MUST use this method whenever they receive a DHCP packet containing more than one occurrence of a certain type of option.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-4
        //# In this case, the agent MUST concatenate these separate instances of the same option in the way that we specify here.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-7
        //# There is no semantic meaning to where an option is split - the encoding agent is free to split the option at any point, and the decoding agent MUST reassemble the split option parts into a single object, and MUST NOT treat each split portion of the option as a separate object.
        let before = usize::from(span.len);
        let last_in_buffer = span.joined && usize::from(span.start) + before == self.used;
        let copy = if last_in_buffer { 0 } else { before };
        if self.used + copy + len > JOINED_BYTES_MAX {
            self.broken.insert(option);
            return self.faults.insert(Fault::OptionTooLong);
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
    }

    fn relay_agent_fits(&self, bytes: &[u8]) -> bool {
        let len = |code| self.value(bytes, code).map_or(0, <[u8]>::len);
        let agent = len(code::RELAY_AGENT);
        agent == 0 || agent + len(code::CLIENT_ID) <= ECHOED_BYTES_MAX
    }

    fn value<'a>(&'a self, bytes: &'a [u8], option: u8) -> Option<&'a [u8]> {
        if !self.present.contains(option) || self.broken.contains(option) {
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
    /// Option 53; [`MessageType::Bootp`] where there is none.
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
    //= https://www.rfc-editor.org/rfc/rfc2131#section-2
    //# They MUST be set to zero by clients and ignored by servers and relay agents.
    //= https://www.rfc-editor.org/rfc/rfc1542#section-2.2
    //# They MUST be set to zero by clients and ignored by servers and relay agents.
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

    /// `htype`, `hlen` and the 16 octets of `chaddr` as they came: what a lease query asks about.
    pub fn hardware(&self) -> (u8, u8, [u8; 16]) {
        (self.bytes[1], self.bytes[2], self.fixed(28))
    }

    /// What was wrong with the packet that does not keep it from being answered.
    pub fn faults(&self) -> Faults {
        self.parser.faults
    }

    /// `chaddr`: never zero, never a group address (but of a lease query, which may ask by something else).
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
        //= https://www.rfc-editor.org/rfc/rfc2132#section-9.10
        //# The minimum legal value is 576 octets.
        (size >= 576).then_some(size)
    }

    /// The first value of option 93 (RFC 4578 §2.1).
    pub fn architecture(&self) -> Option<u16> {
        self.option(code::ARCHITECTURE)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
    }

    /// Option 82; empty where there is none.
    //= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
    //# Consequently, servers SHOULD be prepared to handle relay agent options in unicast messages, but MUST NOT expect them to always be there.
    pub fn relay_agent(&self) -> RelayAgent<'a> {
        RelayAgent::new(self.option(code::RELAY_AGENT).unwrap_or_default())
    }

    /// Whether option 82 can be echoed whole; if not, it is not echoed at all.
    pub fn relay_agent_fits(&self) -> bool {
        self.parser.relay_agent_fits(self.bytes)
    }

    /// The subnet that the client is to get an address of, where the relay or the client says another than that of `giaddr`.
    pub fn selected_subnet(&self) -> Option<Ipv4Addr> {
        //= https://www.rfc-editor.org/rfc/rfc3527#section-3
        //# In the event that a DHCP server receives a packet that contains both a subnet-selection option [RFC 3011], as well as a link-selection sub-option, the information contained in the link-selection sub-option MUST be used to control the allocation of an IP address in preference to the information contained in the subnet-selection option.
        self.relay_agent().link_selection().or_else(|| self.address_option(code::SUBNET_SELECTION))
    }

    /// What the server shall call itself: the relay's word (RFC 5107), which counts only where a relay is between.
    pub fn server_id_override(&self) -> Option<Ipv4Addr> {
        self.relay_agent().server_id_override().filter(|_| !self.giaddr().is_unspecified())
    }

    /// Whether option 55 lists `option`.
    pub fn asks_for(&self, option: u8) -> bool {
        self.option(code::PARAMETER_LIST).is_some_and(|list| list.contains(&option))
    }

    fn address_option(&self, option: u8) -> Option<Ipv4Addr> {
        // An option of fixed length that comes twice is joined like any other; the first value counts.
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

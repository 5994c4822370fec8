//! Replies: templates that are encoded once, stamped per client (RFC 2131 §4.1 and §4.3; table 3).
//!
//! [`Reply`] can be sent. [`Ack`] cannot: a DHCPACK that promises a lease is opened only after the journal has made its promise durable (DESIGN.md, rule 3).
//!
//! Order of options: message type, server identifier, times, the reservation's and the scope's options, boot, echoes, and relay agent information verbatim
//! and last (RFC 3046 §2.2); END comes before the padding to 300 octets (some ROMs take no less, and read END first).

use std::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, HType, Message, MessageType as Wire, Opcode};
use dhcproto::{Encodable, Encoder};
use reveille_config::MacAddr;

use super::boot::{self, Stage};
use super::option::{CodeSet, OptionBlock};
use super::reason::NakReason;
use super::scope::{Reservation, Scope};
use super::view::{FIXED_BYTES, PacketView, code};

/// Every reply has at least so many octets (BOOTP's minimum, RFC 1542 §2.1).
pub const REPLY_BYTES_MIN: usize = 300;
/// No reply has more: an Ethernet frame's worth.
pub const REPLY_BYTES_MAX: usize = 1_472;
/// Octets of IP and UDP headers, which option 57 counts (RFC 2132 §9.10).
const IP_UDP_BYTES: usize = 28;
/// What a client takes that does not say (RFC 2131 §2).
const MESSAGE_BYTES_DEFAULT: usize = 576;
/// The port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Sent whether or not the client lists them in option 55: without these a ROM or a careless client is lost.
const ALWAYS: CodeSet =
    CodeSet::of(&[code::SUBNET_MASK, 3, code::VENDOR_SPECIFIC, code::VENDOR_CLASS, code::TFTP_SERVER, code::BOOT_FILE]);
/// PXE_DISCOVERY_CONTROL = 8 ("do not look for boot servers, take the file"), then the inner END.
const PXE_NO_DISCOVERY: [u8; 4] = [6, 1, 8, 255];

/// Where a reply goes (RFC 2131 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To the relay agent. The port is 67 unless the request came from another one.
    Relay(Ipv4Addr, u16),
    /// To a client that has this address and answers ARP for it.
    Unicast(Ipv4Addr),
    /// To 255.255.255.255.
    Broadcast,
    /// To a client that does not have its address yet: a frame for its hardware address.
    Frame(MacAddr, Ipv4Addr),
}

/// A complete message and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The UDP payload.
    pub octets: Vec<u8>,
    /// Where it goes.
    pub destination: Destination,
}

/// A DHCPACK that promises a lease. It is of no use until it is opened, which takes the journal's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack(Reply);

impl Ack {
    /// The reply, to be sent now. For the one place that holds a durable promise (`store::promise`).
    pub(crate) fn open(self) -> Reply {
        self.0
    }
}

/// The fixed part of a reply, encoded once per scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    octets: Box<[u8]>,
    /// Where the values of options 51, 58 and 59 lie.
    times: Option<[usize; 3]>,
}

/// A scope's templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    offer: Template,
    ack: Template,
    inform: Template,
    nak: Template,
}

impl Templates {
    /// Encodes them with the wire library.
    pub fn encode(server_address: Ipv4Addr) -> Self {
        let template = |kind, timed: bool| {
            let mut message = Message::default();
            message.set_opcode(Opcode::BootReply).set_htype(HType::Eth);
            message.set_flags(v4::Flags::default());
            let mut octets = message.to_vec().unwrap_or_default();
            octets.truncate(FIXED_BYTES);
            octets[2] = 6; // hlen
            octets[28..44].fill(0); // the library's default chaddr
            let mut times = [0; 3];
            let mut put = |option: DhcpOption| {
                let mut encoded = Vec::new();
                // Encoding into memory cannot fail for options of fixed length.
                let _ = option.encode(&mut Encoder::new(&mut encoded));
                octets.extend_from_slice(&encoded);
                octets.len() - encoded.len() + 2
            };
            put(DhcpOption::MessageType(kind));
            put(DhcpOption::ServerIdentifier(server_address));
            if timed {
                times =
                    [put(DhcpOption::AddressLeaseTime(0)), put(DhcpOption::Renewal(0)), put(DhcpOption::Rebinding(0))];
            }
            Template { octets: octets.into(), times: timed.then_some(times) }
        };
        Self {
            offer: template(Wire::Offer, true),
            ack: template(Wire::Ack, true),
            inform: template(Wire::Ack, false),
            nak: template(Wire::Nak, false),
        }
    }
}

/// What a lease reply says.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// `yiaddr`.
    pub address: Ipv4Addr,
    /// Option 51, seconds; T1 is half of it and T2 seven eighths (RFC 2131 §4.4.5).
    pub secs: u32,
    /// The client's reservation.
    pub reservation: Option<&'a Reservation>,
}

/// A DHCPOFFER. `buffer` is reused for the reply's octets, `from_port` is the port that the request came from.
pub fn offer(buffer: Vec<u8>, packet: &PacketView<'_>, from_port: u16, scope: &Scope, lease: Lease<'_>) -> Reply {
    let destination = destination(packet, from_port, scope, lease.address);
    let octets = stamp(buffer, &scope.templates.offer, packet, scope, Some(lease), lease.reservation);
    Reply { octets, destination }
}

/// A DHCPACK that promises a lease.
pub fn ack(buffer: Vec<u8>, packet: &PacketView<'_>, from_port: u16, scope: &Scope, lease: Lease<'_>) -> Ack {
    let destination = destination(packet, from_port, scope, lease.address);
    let mut octets = stamp(buffer, &scope.templates.ack, packet, scope, Some(lease), lease.reservation);
    octets[12..16].copy_from_slice(&packet.ciaddr().octets());
    Ack(Reply { octets, destination })
}

/// The answer to DHCPINFORM: options, no lease, straight to `ciaddr` (RFC 2131 §4.3.5).
pub fn inform(buffer: Vec<u8>, packet: &PacketView<'_>, scope: &Scope, reservation: Option<&Reservation>) -> Reply {
    let mut octets = stamp(buffer, &scope.templates.inform, packet, scope, None, reservation);
    octets[12..16].copy_from_slice(&packet.ciaddr().octets());
    Reply { octets, destination: Destination::Unicast(packet.ciaddr()) }
}

/// A DHCPNAK with its reason in words (RFC 2131 §4.3.2; table 3).
pub fn nak(buffer: Vec<u8>, packet: &PacketView<'_>, from_port: u16, scope: &Scope, reason: NakReason) -> Reply {
    let mut stamp = Stamp::begin(buffer, &scope.templates.nak, packet);
    stamp.put(code::MESSAGE, reason.text().as_bytes());
    stamp.echoes(packet, Stage::None);
    let mut octets = stamp.finish(packet);
    let giaddr = packet.giaddr();
    let destination = if giaddr.is_unspecified() {
        Destination::Broadcast
    } else {
        // The client may have no address on this link, so the relay is told to broadcast.
        octets[10] |= 0x80;
        Destination::Relay(giaddr, relay_port(from_port))
    };
    Reply { octets, destination }
}

/// Where a relay hears: port 67 (RFC 2131 §4.1), whatever privileged port it sends from. A load generator that plays relay from an
/// unprivileged port, as perfdhcp does, is answered there.
fn relay_port(from_port: u16) -> u16 {
    if from_port < 1024 { 67 } else { from_port }
}

fn destination(packet: &PacketView<'_>, from_port: u16, scope: &Scope, yiaddr: Ipv4Addr) -> Destination {
    let (giaddr, ciaddr) = (packet.giaddr(), packet.ciaddr());
    // What a client writes into `ciaddr` of a DISCOVER is not to be trusted.
    let has_address = !ciaddr.is_unspecified() && packet.message_type != super::view::MessageType::Discover;
    if !giaddr.is_unspecified() {
        Destination::Relay(giaddr, relay_port(from_port))
    } else if has_address {
        Destination::Unicast(ciaddr)
    } else if packet.broadcast_flag() || scope.always_broadcast {
        Destination::Broadcast
    } else {
        Destination::Frame(packet.chaddr(), yiaddr)
    }
}

fn stamp(
    buffer: Vec<u8>,
    template: &Template,
    packet: &PacketView<'_>,
    scope: &Scope,
    lease: Option<Lease<'_>>,
    reservation: Option<&Reservation>,
) -> Vec<u8> {
    let mut stamp = Stamp::begin(buffer, template, packet);
    if let Some(lease) = lease {
        stamp.out[16..20].copy_from_slice(&lease.address.octets());
        let [t1, t2] =
            if lease.secs == u32::MAX { [u32::MAX; 2] } else { [lease.secs / 2, lease.secs - lease.secs / 8] };
        for (at, value) in template.times.into_iter().flatten().zip([lease.secs, t1, t2]) {
            stamp.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
    }
    let own_file = reservation.and_then(|own| own.boot_file.as_deref());
    let boot = boot::choose(packet, scope.boot.as_deref(), scope.server_address, own_file);
    let wanted = packet.option(code::PARAMETER_LIST).map(CodeSet::of);
    let own = reservation.map(|own| &own.options);
    let configured = || own.into_iter().chain([&scope.options]);
    // Boot information goes first, so that it fits; what the operator configured by hand replaces it.
    stamp.boot(&boot, wanted, |code| configured().any(|block| block.codes().contains(code)));
    for block in configured() {
        stamp.block(block, wanted);
    }
    stamp.echoes(packet, boot.stage);
    stamp.finish(packet)
}

/// A reply being written. Never grows past `limit`: an option that does not fit is left out.
struct Stamp {
    out: Vec<u8>,
    limit: usize,
    written: CodeSet,
}

impl Stamp {
    fn begin(mut out: Vec<u8>, template: &Template, packet: &PacketView<'_>) -> Self {
        out.clear();
        out.extend_from_slice(&template.octets);
        out[4..8].copy_from_slice(&packet.xid());
        out[10..12].copy_from_slice(&packet.flags().to_be_bytes());
        out[24..28].copy_from_slice(&packet.giaddr().octets());
        out[28..34].copy_from_slice(&packet.chaddr().octets());
        let takes = packet.max_message_size().map_or(MESSAGE_BYTES_DEFAULT, usize::from) - IP_UDP_BYTES;
        // Room for END and for what must be echoed is set aside from the start.
        let echoed = packet.option(code::RELAY_AGENT).map_or(0, split_bytes)
            + packet.option(code::CLIENT_ID).map_or(0, split_bytes);
        Self { out, limit: takes.min(REPLY_BYTES_MAX).saturating_sub(1 + echoed), written: CodeSet::default() }
    }

    /// Adds an option of at most 255 octets unless its code was written or it does not fit.
    fn put(&mut self, code: u8, value: &[u8]) {
        if value.len() <= 255 && !self.written.contains(code) && self.out.len() + 2 + value.len() <= self.limit {
            self.out.extend_from_slice(&[code, value.len() as u8]);
            self.out.extend_from_slice(value);
            self.written.insert(code);
        }
    }

    fn block(&mut self, block: &OptionBlock, wanted: Option<CodeSet>) {
        for (code, encoded) in block.iter() {
            let asked = wanted.is_none_or(|wanted| wanted.contains(code)) || ALWAYS.contains(code);
            if asked && !self.written.contains(code) && self.out.len() + encoded.len() <= self.limit {
                self.out.extend_from_slice(encoded);
                self.written.insert(code);
            }
        }
    }

    fn boot(&mut self, boot: &boot::BootAnswer<'_>, wanted: Option<CodeSet>, configured: impl Fn(u8) -> bool) {
        let put = |stamp: &mut Self, code, value: &[u8]| {
            if !configured(code) {
                stamp.put(code, value);
            }
        };
        self.out[20..24].copy_from_slice(&boot.next_server.octets());
        let asks = |code| wanted.is_some_and(|wanted| wanted.contains(code));
        let boots = boot.stage != Stage::None;
        match boot.stage {
            Stage::HttpClient => put(self, code::VENDOR_CLASS, b"HTTPClient"),
            Stage::Rom | Stage::Ipxe => {
                put(self, code::VENDOR_CLASS, b"PXEClient");
                put(self, code::VENDOR_SPECIFIC, &PXE_NO_DISCOVERY);
            }
            Stage::None => {}
        }
        if !boot.next_server.is_unspecified() && (asks(code::TFTP_SERVER) || boot.stage == Stage::Rom) {
            let mut text = [0u8; 15];
            let len = write_address(boot.next_server, &mut text);
            put(self, code::TFTP_SERVER, &text[..len]);
        }
        if let Some(file) = boot.file.filter(|_| boots || asks(code::BOOT_FILE)) {
            if boots && file.len() < 128 {
                self.out[108..108 + file.len()].copy_from_slice(file.as_bytes());
            }
            put(self, code::BOOT_FILE, file.as_bytes());
        }
    }

    /// Options that go back as they came; RFC 4578 §2.3 has option 97 with 17 octets.
    fn echoes(&mut self, packet: &PacketView<'_>, stage: Stage) {
        if let Some(id) = packet.option(code::MACHINE_ID).filter(|id| id.len() == 17 && stage != Stage::None) {
            self.put(code::MACHINE_ID, id);
        }
    }

    fn finish(mut self, packet: &PacketView<'_>) -> Vec<u8> {
        // RFC 6842 §3: the client identifier is returned unaltered. RFC 3046 §2.2: relay agent information last.
        for code in [code::CLIENT_ID, code::RELAY_AGENT] {
            let value = packet.option(code).unwrap_or_default();
            if self.out.len() + split_bytes(value) >= REPLY_BYTES_MAX {
                continue;
            }
            for part in value.chunks(255) {
                self.out.extend_from_slice(&[code, part.len() as u8]);
                self.out.extend_from_slice(part);
            }
        }
        self.out.push(code::END);
        if self.out.len() < REPLY_BYTES_MIN {
            self.out.resize(REPLY_BYTES_MIN, code::PAD);
        }
        self.out
    }
}

/// Octets of a value that is split into options of 255.
fn split_bytes(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255)
}

/// Dotted decimal without allocating; says how many octets it took.
fn write_address(address: Ipv4Addr, to: &mut [u8; 15]) -> usize {
    let mut len = 0;
    for (i, octet) in address.octets().into_iter().enumerate() {
        if i > 0 {
            to[len] = b'.';
            len += 1;
        }
        for (divisor, shown) in [(100, octet >= 100), (10, octet >= 10), (1, true)] {
            if shown {
                to[len] = b'0' + octet / divisor % 10;
                len += 1;
            }
        }
    }
    len
}

#[cfg(test)]
mod tests;

//! Replies: templates that are encoded once, stamped per client (RFC 2131 §4.1 and §4.3; table 3).
//!
//! [`Reply`] can be sent. [`Ack`] cannot: a DHCPACK that promises a lease is opened only after the journal has made its promise durable (DESIGN.md, rule 3).
//!
//! Order of options: message type, server identifier, times, boot, then what the client asks for in its order, what every client needs, echoes, and relay agent
//! information verbatim and last (RFC 3046 §2.2); END comes before the padding to 300 octets (some ROMs take no less, and read END first).

use std::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, HType, Message, MessageType as Wire, Opcode};
use dhcproto::{Encodable, Encoder};
use reveille_config::MacAddr;

use super::boot::{self, BootAnswer, Stage};
use super::fqdn;
use super::option::{CodeSet, OptionBlock};
use super::reason::NakReason;
use super::renewal::t1_and_t2;
use super::rules::Rules;
use super::view::{FIXED_BYTES, MessageType, PacketView, code};
use stamp::{Room, Stamp};

pub(crate) mod stamp;

/// Every reply has at least so many octets (BOOTP's minimum, RFC 1542 §2.1).
pub const REPLY_BYTES_MIN: usize = 300;
/// No reply has more: an Ethernet frame's worth.
pub const REPLY_BYTES_MAX: usize = 1_472;
/// The port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Sent whether or not the client lists them in option 55: without these a ROM or a careless client is lost.
const ALWAYS: [u8; 6] =
    [code::SUBNET_MASK, code::ROUTERS, code::VENDOR_SPECIFIC, code::VENDOR_CLASS, code::TFTP_SERVER, code::BOOT_FILE];
/// PXE_DISCOVERY_CONTROL = 8 ("do not look for boot servers, take the file"), then the inner END.
//= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
//# The Encapsulated vendor-specific options field SHOULD be encoded as a sequence of code/length/value fields of identical syntax to the DHCP options field with the following exceptions:
//= https://www.rfc-editor.org/rfc/rfc2132#section-8.4
//# There SHOULD NOT be a "magic cookie" field in the encapsulated vendor-specific extensions field.
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
    /// Where the value of option 54 lies.
    server_id: Option<usize>,
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
    bootp: Template,
}

impl Templates {
    /// Encodes them with the wire library.
    pub fn encode(server_address: Ipv4Addr) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# To accommodate potentially incomplete network connectivity, a server MUST choose an address as a 'server identifier' that, to the best of the server's knowledge, is reachable from the client.
        let template = |kind: Option<Wire>, timed: bool| {
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
            let server_id = kind.map(|kind| {
                put(DhcpOption::MessageType(kind));
                //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
                //# For example, if the DHCP server and the DHCP client are connected to the same subnet (i.e., the 'giaddr' field in the message from the client is zero), the server SHOULD select the IP address the server is using for communication on that subnet as the 'server identifier'.
                //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
                //# If the server has received a message through a DHCP relay agent, the server SHOULD choose an address from the interface on which the message was recieved as the 'server identifier' (unless the server has other, better information on which to make its choice).
                //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
                //# Server identifier MUST MUST MUST
                put(DhcpOption::ServerIdentifier(server_address))
            });
            if timed {
                times =
                    [put(DhcpOption::AddressLeaseTime(0)), put(DhcpOption::Renewal(0)), put(DhcpOption::Rebinding(0))];
            }
            Template { octets: octets.into(), server_id, times: timed.then_some(times) }
        };
        Self {
            offer: template(Some(Wire::Offer), true),
            ack: template(Some(Wire::Ack), true),
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
            //# IP address lease time MUST MUST (DHCPREQUEST) MUST NOT MUST NOT (DHCPINFORM)
            inform: template(Some(Wire::Ack), false),
            nak: template(Some(Wire::Nak), false),
            bootp: template(None, false),
        }
    }
}

/// Who is answered, and out of what.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// What it sent.
    pub packet: &'a PacketView<'a>,
    /// The UDP port that it came from.
    pub from_port: u16,
    /// What its relay agent called the server before, where this message comes past the relay (RFC 5107).
    pub called: Option<Ipv4Addr>,
    /// What it gets: of the scope that answers, and for the address that it gets, where it gets one.
    pub rules: Rules<'a>,
}

/// What a lease reply promises or offers.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// `yiaddr`.
    pub address: Ipv4Addr,
    /// Option 51, seconds; T1 and T2 follow from it ([`super::renewal`]).
    pub secs: u32,
}

impl Asker<'_> {
    /// A DHCPOFFER. `buffer` is reused for the reply's octets.
    pub fn offer(&self, buffer: Vec<u8>, lease: Lease) -> Reply {
        let octets = self.stamp(buffer, &self.rules.scope.templates.offer, Some(lease), |_| {});
        Reply { octets, destination: self.destination(lease.address) }
    }

    /// A DHCPACK that promises a lease.
    pub fn ack(&self, buffer: Vec<u8>, lease: Lease) -> Ack {
        let mut octets = self.stamp(buffer, &self.rules.scope.templates.ack, Some(lease), |_| {});
        if self.packet.ciaddr() == lease.address {
            // Rubbish in this field does not go back: a relay would send the reply there.
            octets[12..16].copy_from_slice(&lease.address.octets());
        }
        Ack(Reply { octets, destination: self.destination(lease.address) })
    }

    /// A DHCPACK that answers a DHCPDISCOVER at once (RFC 4039).
    pub fn rapid_ack(&self, buffer: Vec<u8>, lease: Lease) -> Ack {
        //= https://www.rfc-editor.org/rfc/rfc4039#section-4
        //# A server MUST include this option in a DHCPACK message sent in a response to a DHCPDISCOVER message when completing the DHCPDISCOVER-DHCPACK message exchange.
        //= https://www.rfc-editor.org/rfc/rfc4039#section-3
        //# A server MUST NOT include the Rapid Commit option in any other messages.
        let rapid = |stamp: &mut Stamp| stamp.put(code::RAPID_COMMIT, &[], &[]);
        let octets = self.stamp(buffer, &self.rules.scope.templates.ack, Some(lease), rapid);
        Ack(Reply { octets, destination: self.destination(lease.address) })
    }

    /// A BOOTREPLY: no message type, no times, and a vendor area of 64 octets (RFC 951; RFC 1534 §2). It promises the address for ever.
    //= https://www.rfc-editor.org/rfc/rfc1534#section-2
    //# A DHCP server that supports BOOTP clients MUST interact with BOOTP clients according to the BOOTP protocol.
    pub fn bootp(&self, buffer: Vec<u8>, address: Ipv4Addr) -> Ack {
        let mut stamp = Stamp::begin(buffer, &self.rules.scope.templates.bootp, self, Room::Bootp);
        stamp.out[16..20].copy_from_slice(&address.octets());
        let boot = self.boot();
        stamp.out[20..24].copy_from_slice(&boot.next_server.octets());
        stamp.name_file(boot.file.unwrap_or_default().as_bytes());
        for block in self.blocks() {
            stamp.put_block(block, |_| true);
        }
        let octets = stamp.finish(self.packet);
        Ack(Reply { octets, destination: self.destination(address) })
    }

    /// The answer to DHCPINFORM: options, no lease, straight to `ciaddr`.
    pub fn inform(&self, buffer: Vec<u8>) -> Reply {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.5
        //# The server MUST NOT send a lease expiration time to the client and SHOULD NOT fill in 'yiaddr'.
        let mut octets = self.stamp(buffer, &self.rules.scope.templates.inform, None, |_| {});
        let ciaddr = self.packet.ciaddr();
        octets[12..16].copy_from_slice(&ciaddr.octets());
        //= https://www.rfc-editor.org/rfc/rfc2131#section-3.4
        //# The servers SHOULD unicast the DHCPACK reply to the address given in the 'ciaddr' field of the DHCPINFORM message.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.5
        //# The server responds to a DHCPINFORM message by sending a DHCPACK message directly to the address given in the 'ciaddr' field of the DHCPINFORM message.
        Reply { octets, destination: Destination::Unicast(ciaddr) }
    }

    /// A ProxyDHCP's DHCPOFFER: what a boot client can boot, and no address (PXE specification 2.1, §2.2.1).
    ///
    /// # Errors
    /// It is no boot client, or there is nothing for it: the buffer.
    pub fn proxy_offer(&self, buffer: Vec<u8>) -> Result<Reply, Vec<u8>> {
        let octets = self.proxy(buffer, 2)?;
        let giaddr = self.packet.giaddr();
        let destination = match giaddr.is_unspecified() {
            // There is no address to put into a frame for it.
            true => Destination::Broadcast,
            false => Destination::Relay(giaddr, relay_port(self.from_port)),
        };
        Ok(Reply { octets, destination })
    }

    /// A boot server's DHCPACK on port 4011, which goes back to where the request came from. It promises no lease, so no record of it need be durable.
    ///
    /// # Errors
    /// It is no boot client, or there is nothing for it: the buffer.
    pub fn proxy_ack(&self, buffer: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        let mut octets = self.proxy(buffer, 5)?;
        octets[12..16].copy_from_slice(&self.packet.ciaddr().octets());
        Ok(octets)
    }

    fn proxy(&self, buffer: Vec<u8>, message_type: u8) -> Result<Vec<u8>, Vec<u8>> {
        let boot = self.boot();
        if boot.stage == Stage::None || boot.file.is_none() {
            return Err(buffer);
        }
        let mut octets = self.stamp(buffer, &self.rules.scope.templates.inform, None, |_| {});
        // The message type is the template's first option.
        octets[FIXED_BYTES + 2] = message_type;
        Ok(octets)
    }

    /// A DHCPNAK with its reason in words (RFC 2131 §4.3.2; table 3).
    pub fn nak(&self, buffer: Vec<u8>, reason: NakReason) -> Reply {
        let mut stamp = Stamp::begin(buffer, &self.rules.scope.templates.nak, self, Room::OptionsOnly);
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# All others MAY MAY MUST NOT
        stamp.put(code::MESSAGE, reason.text().as_bytes(), &[]);
        let mut octets = stamp.finish(self.packet);
        let giaddr = self.packet.giaddr();
        let destination = if giaddr.is_unspecified() {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
            //# The server MUST broadcast the DHCPNAK message to the 0xffffffff broadcast address because the client may not have a correct network address or subnet mask, and the client may not be answering ARP requests.
            Destination::Broadcast
        } else {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
            //# The server MUST set the broadcast bit in the DHCPNAK, so that the relay agent will broadcast the DHCPNAK to the client, because the client may not have a correct network address or subnet mask, and the client may not be answering ARP requests.
            //= https://www.rfc-editor.org/rfc/rfc2131#section-3.2
            //# Otherwise, the server MUST send the DHCPNAK message to the IP address of the BOOTP relay agent, as recorded in 'giaddr'.
            octets[10] |= 0x80;
            Destination::Relay(giaddr, relay_port(self.from_port))
        };
        Reply { octets, destination }
    }

    /// Where a lease reply goes.
    fn destination(&self, yiaddr: Ipv4Addr) -> Destination {
        let packet = self.packet;
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# A server or relay agent sending or relaying a DHCP message directly to a DHCP client (i.e., not to a relay agent specified in the 'giaddr' field) SHOULD examine the BROADCAST bit in the 'flags' field.
        let giaddr = packet.giaddr();
        // What a client writes into `ciaddr` of a DISCOVER is not to be trusted, nor in a REQUEST if it is not the address that it gets.
        let has_address = packet.ciaddr() == yiaddr && packet.message_type != MessageType::Discover;
        if !giaddr.is_unspecified() {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
            //# If the 'giaddr' field in a DHCP message from a client is non-zero, the server sends any return messages to the 'DHCP server' port on the BOOTP relay agent whose address appears in 'giaddr'.
            Destination::Relay(giaddr, relay_port(self.from_port))
        } else if has_address {
            Destination::Unicast(yiaddr)
        } else if packet.broadcast_flag() || self.rules.always_broadcast() {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
            //# If this bit is set to 1, the DHCP message SHOULD be sent as an IP broadcast using an IP broadcast address (preferably 0xffffffff) as the IP destination address and the link-layer broadcast address as the link-layer destination address.
            Destination::Broadcast
        } else {
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
            //# If the BROADCAST bit is cleared to 0, the message SHOULD be sent as an IP unicast to the IP address specified in the 'yiaddr' field and the link-layer address specified in the 'chaddr' field.
            Destination::Frame(packet.chaddr(), yiaddr)
        }
    }

    fn boot(&self) -> BootAnswer<'_> {
        let own_file = self.rules.reservation.and_then(|own| own.boot_file.as_deref());
        boot::choose(self.packet, self.rules.boot(), self.rules.scope.server_address, own_file)
    }

    /// Where options come from, the most particular first.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
    //# The configuration parameters MUST be selected by applying the following rules in the order given below.
    fn blocks(&self) -> impl Iterator<Item = &OptionBlock> {
        self.rules.options()
    }

    /// What an offer says its ACK says too: both are written here.
    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.2
    //# Any configuration parameters in the DHCPACK message SHOULD NOT conflict with those in the earlier DHCPOFFER message to which the client is responding.
    fn stamp(
        &self,
        buffer: Vec<u8>,
        template: &Template,
        lease: Option<Lease>,
        first: impl FnOnce(&mut Stamp),
    ) -> Vec<u8> {
        let packet = self.packet;
        let mut stamp = Stamp::begin(buffer, template, self, Room::Client);
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# The server MUST return to the client:
        if let Some(lease) = lease {
            stamp.out[16..20].copy_from_slice(&lease.address.octets());
            //= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
            //# The server SHOULD return T1 and T2, and their values SHOULD be adjusted from their original values to take account of the time remaining on the lease.
            let [t1, t2] = t1_and_t2(packet.chaddr(), lease.secs);
            for (at, value) in template.times.into_iter().flatten().zip([lease.secs, t1, t2]) {
                stamp.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
        }
        first(&mut stamp);
        let boot = self.boot();
        // Boot information goes first, so that it fits; what the operator configured by hand replaces it.
        let list = packet.option(code::PARAMETER_LIST);
        self.put_boot(&mut stamp, &boot, list);
        if boot.stage != Stage::None {
            //= https://www.rfc-editor.org/rfc/rfc4578#section-2.1
            //# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
            //= https://www.rfc-editor.org/rfc/rfc4578#section-2.2
            //# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
            //= https://www.rfc-editor.org/rfc/rfc4578#section-2.3
            //# This option MUST be present in all DHCP and PXE packets sent by PXE-compliant clients and servers.
            for code in [code::MACHINE_ID, code::ARCHITECTURE, code::NETWORK_INTERFACE] {
                let value = packet.option(code).unwrap_or_default();
                let is_right = match code {
                    code::MACHINE_ID => value.len() == 17,
                    code::ARCHITECTURE => !value.is_empty() && value.len().is_multiple_of(2),
                    _ => value.len() == 3,
                };
                // Of another length it is none of them.
                if is_right {
                    stamp.put(code, value, &[]);
                }
            }
        }
        if let Some(name) = packet.option(code::CLIENT_FQDN)
            && let Some(head) = fqdn::answer(name)
        {
            stamp.put(code::CLIENT_FQDN, &head, &name[3..]);
        }
        match list {
            Some(list) => self.put_asked_for(&mut stamp, list),
            // Who does not say gets everything, save what is only for those who ask.
            None => {
                for block in self.blocks() {
                    stamp.put_block(block, |code| code != code::V6_ONLY_PREFERRED);
                }
            }
        }
        stamp.finish(packet)
    }

    /// What the client lists, in its order, and what every client needs.
    fn put_asked_for(&self, stamp: &mut Stamp, list: &[u8]) {
        // Of what clients list most is said nowhere.
        let known = self.blocks().fold(CodeSet::default(), |known, block| known.and(block.codes()));
        let put = |stamp: &mut Stamp, code| {
            if known.contains(code)
                && !stamp.has(code)
                && let Some(encoded) = self.blocks().find_map(|block| block.encoded(code))
            {
                stamp.put_encoded(code, encoded);
            }
        };
        let classless = CodeSet::of(list).contains(code::CLASSLESS_ROUTES);
        //= https://www.rfc-editor.org/rfc/rfc2132#section-9.8
        //# The DHCP server is not required to return the options in the requested order, but MUST try to insert the requested options in the order requested by the client.
        //= https://www.rfc-editor.org/rfc/rfc8925#section-3.3
        //# The server MUST NOT include the IPv6-Only Preferred option in the DHCPOFFER or DHCPACK message if the option was not present in the Parameter Request List sent by the client.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# The server MUST supply as many of the requested parameters as possible and MUST omit any parameters it cannot provide.
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# IF the server has been explicitly configured with a default value for the parameter, the server MUST include that value in an appropriate option in the 'option' field, ELSE
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# The server MUST NOT return a value for that parameter,
        for &code in list.iter().chain(&ALWAYS) {
            if matches!(code, code::ROUTERS | code::STATIC_ROUTES) {
                if classless {
                    put(stamp, code::CLASSLESS_ROUTES);
                    //= https://www.rfc-editor.org/rfc/rfc3442#page-6
                    //# When a DHCP client requests the Classless Static Routes option and also requests either or both of the Router option and the Static Routes option, and the DHCP server is sending Classless Static Routes options to that client, the server SHOULD NOT include the Router or Static Routes options.
                    if stamp.has(code::CLASSLESS_ROUTES) {
                        continue;
                    }
                }
                //= https://www.rfc-editor.org/rfc/rfc2132#section-3.3
                //# If both the subnet mask and the router option are specified in a DHCP reply, the subnet mask option MUST be first.
                put(stamp, code::SUBNET_MASK);
            }
            put(stamp, code);
        }
    }

    fn put_boot(&self, stamp: &mut Stamp, boot: &BootAnswer<'_>, list: Option<&[u8]>) {
        let put = |stamp: &mut Stamp, code, value: &[u8]| {
            if !self.blocks().any(|block| block.codes().contains(code)) {
                stamp.put(code, value, &[]);
            }
        };
        stamp.out[20..24].copy_from_slice(&boot.next_server.octets());
        let asks = |code| list.is_some_and(|list| list.contains(&code));
        let boots = boot.stage != Stage::None;
        match boot.stage {
            Stage::HttpClient => put(stamp, code::VENDOR_CLASS, b"HTTPClient"),
            Stage::Rom | Stage::Ipxe => {
                put(stamp, code::VENDOR_CLASS, b"PXEClient");
                //= https://www.rfc-editor.org/rfc/rfc2132#section-9.13
                //# Servers that respond SHOULD only use option 43 to return the vendor-specific information to the client.
                put(stamp, code::VENDOR_SPECIFIC, &PXE_NO_DISCOVERY);
            }
            Stage::None => {}
        }
        if !boot.next_server.is_unspecified() && (asks(code::TFTP_SERVER) || boot.stage == Stage::Rom) {
            let mut text = [0u8; 15];
            let len = write_address(boot.next_server, &mut text);
            put(stamp, code::TFTP_SERVER, &text[..len]);
        }
        if let Some(file) = boot.file.filter(|_| boots || asks(code::BOOT_FILE)) {
            if boots {
                stamp.name_file(file.as_bytes());
            }
            put(stamp, code::BOOT_FILE, file.as_bytes());
        }
    }
}

/// Where a relay hears: port 67 (RFC 2131 §4.1), whatever privileged port it sends from. A load generator that plays relay from an
/// unprivileged port, as perfdhcp does, is answered there.
pub(super) fn relay_port(from_port: u16) -> u16 {
    if from_port < 1024 { 67 } else { from_port }
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

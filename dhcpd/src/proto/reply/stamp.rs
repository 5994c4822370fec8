//! [`Stamp`]: a reply being written. It never grows past what the client takes; what does not fit goes into `sname` and `file` while those carry no names
//! (option overload, RFC 2132 §9.3), and is left out after that.
//!
//! Invariant: each option is written once, whole, in one field; END comes before the padding.

use super::super::option::{CodeSet, OptionBlock};
use super::super::view::{FILE, PacketView, SNAME, code};
use super::{Asker, REPLY_BYTES_MAX, REPLY_BYTES_MIN, Template};

/// Octets of IP and UDP headers, which option 57 counts (RFC 2132 §9.10).
pub(crate) const IP_UDP_BYTES: usize = 28;
/// What a client takes that does not say (RFC 2131 §2).
const MESSAGE_BYTES_DEFAULT: usize = 576;
/// Octets of option 52.
const OVERLOAD_BYTES: usize = 3;

/// How much a message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// What the client says it takes, `sname` and `file` included.
    Client,
    /// The same, but neither `sname` nor `file`: a DHCPNAK (RFC 2131 table 3).
    OptionsOnly,
    /// BOOTP's 300 octets, of which 64 are the vendor area.
    Bootp,
}

/// A reply being written.
pub(super) struct Stamp {
    pub(super) out: Vec<u8>,
    limit: usize,
    written: CodeSet,
    overloads: bool,
    file_named: bool,
    in_sname: usize,
    in_file: usize,
}

impl Stamp {
    pub(super) fn begin(mut out: Vec<u8>, template: &Template, asker: &Asker<'_>, room: Room) -> Self {
        let packet = asker.packet;
        out.clear();
        out.extend_from_slice(&template.octets);
        out[4..8].copy_from_slice(&packet.xid());
        out[10..12].copy_from_slice(&packet.flags().to_be_bytes());
        out[24..28].copy_from_slice(&packet.giaddr().octets());
        //= https://www.rfc-editor.org/rfc/rfc1542#section-2.3
        //# The 'chaddr' field MUST be preserved as it was specified by the BOOTP client.
        out[28..44].copy_from_slice(&packet.hardware().2);
        if let (Some(at), Some(id)) = (template.server_id, packet.server_id_override().or(asker.called)) {
            // RFC 5107 §4: towards the client the server is called what the relay says.
            //= https://www.rfc-editor.org/rfc/rfc5107#section-4
            //# The DHCP server must also record the address in the suboption for use in subsequent messages to the DHCP client until the next DHCP message is received from the DHCP relay agent.
            //= https://www.rfc-editor.org/rfc/rfc5107#section-4
            //# DHCP servers that implement this Relay Agent Information suboption MUST use this value, if present in a DHCP message received from a client, as the value to insert into the Server Identifier option in the corresponding response.
            //= https://www.rfc-editor.org/rfc/rfc5107#section-4
            //# The octets "a1" through "a4" specify the value that MUST be inserted into the Server Identifier option by the DHCP Server upon reply.
            out[at..at + 4].copy_from_slice(&id.octets());
        }
        let echoed = |code| packet.option(code).map_or(0, split_bytes);
        let identity = echoed(code::CLIENT_ID) + echoed(code::SUBNET_SELECTION);
        // Room for END, for what must be echoed and for option 52 is set aside from the start.
        let limit = match room {
            //= https://www.rfc-editor.org/rfc/rfc1534#section-2
            //# The server MUST formulate a BOOTP BOOTREPLY message rather than a DHCP DHCPOFFER message (i.e., the server MUST NOT include the 'DHCP message type' option and MUST NOT exceed the size limit for BOOTREPLY messages).
            Room::Bootp => REPLY_BYTES_MIN - 1 - identity.min(REPLY_BYTES_MIN - 1),
            Room::Client | Room::OptionsOnly => {
                let takes = packet.max_message_size().map_or(MESSAGE_BYTES_DEFAULT, usize::from) - IP_UDP_BYTES;
                let reserved = 1 + identity + echoed(code::RELAY_AGENT) + OVERLOAD_BYTES;
                takes.min(REPLY_BYTES_MAX).saturating_sub(reserved)
            }
        };
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# Use 'file'/'sname' fields MAY MAY MUST NOT
        let overloads = room == Room::Client;
        Self { out, limit, written: CodeSet::default(), overloads, file_named: false, in_sname: 0, in_file: 0 }
    }

    /// Whether an option has been written.
    pub(super) fn has(&self, code: u8) -> bool {
        self.written.contains(code)
    }

    /// Writes a name into `file`, which then carries no options. Says whether it fits with its closing zero.
    pub(super) fn name_file(&mut self, name: &[u8]) -> bool {
        let fits = name.len() < FILE.len() && self.in_file == 0;
        if fits {
            self.out[FILE.start..FILE.start + name.len()].copy_from_slice(name);
            self.file_named = true;
        }
        fits
    }

    /// Adds an option of at most 255 octets, given in two parts, unless its code was written or it fits nowhere.
    pub(super) fn put(&mut self, code: u8, value: &[u8], rest: &[u8]) {
        let len = value.len() + rest.len();
        if len <= 255 {
            let head = [code, len as u8];
            self.place(code, [&head, value, rest]);
        }
    }

    /// Adds an option as a block holds it, all its parts.
    pub(super) fn put_encoded(&mut self, code: u8, encoded: &[u8]) {
        self.place(code, [encoded, &[], &[]]);
    }

    /// Adds options of `block` that `wants` says yes to.
    pub(super) fn put_block(&mut self, block: &OptionBlock, wants: impl Fn(u8) -> bool) {
        for (code, encoded) in block.iter().filter(|(code, _)| wants(*code)) {
            self.put_encoded(code, encoded);
        }
    }

    fn place(&mut self, code: u8, parts: [&[u8]; 3]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.3.1
        //# The server MUST include each requested parameter only once unless explicitly allowed in the DHCP Options and BOOTP Vendor Extensions document.
        if self.written.contains(code) {
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# Any individual option in the 'options', 'sname' and 'file' fields MUST be entirely contained in that field.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-4
        //# In this case, the encoding agent MUST either use this algorithm or not send the option at all.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-5
        //# This is a logical aggregation - the buffers MUST appear in the locations in the DHCP packet described in RFC 2131 [3].
        //= https://www.rfc-editor.org/rfc/rfc3396#section-5
        //# Options MUST NOT be stored in the aggregate option buffer in such a way that they cross either boundary between the three fields in the aggregate buffer.
        //= https://www.rfc-editor.org/rfc/rfc3396#section-5
        //# If the encoding agent does not choose to use either or both of these two fields, then they MUST NOT be considered part of the aggregate option buffer in that case.
        // The octet kept free in either field is for its END.
        let mut at = if self.out.len() + len <= self.limit {
            parts.iter().for_each(|part| self.out.extend_from_slice(part));
            self.written.insert(code);
            return;
        } else if !self.overloads {
            return;
        } else if self.in_sname + len < SNAME.len() {
            self.in_sname += len;
            SNAME.start + self.in_sname - len
        } else if !self.file_named && self.in_file + len < FILE.len() {
            self.in_file += len;
            FILE.start + self.in_file - len
        } else {
            return;
        };
        for part in parts {
            self.out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.written.insert(code);
    }

    /// Ends the message: overload, what is echoed, END, padding.
    pub(super) fn finish(mut self, packet: &PacketView<'_>) -> Vec<u8> {
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# The options in the 'sname' and 'file' fields (if in use as indicated by the 'options overload' option) MUST begin with the first octet of the field, MUST be terminated by an 'end' option, and MUST be followed by 'pad' options to fill the remainder of the field.
        let mut overload = 0;
        for (used, start, bit) in [(self.in_file, FILE.start, 1), (self.in_sname, SNAME.start, 2)] {
            if used > 0 {
                self.out[start + used] = code::END;
                overload |= bit;
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# If the options in a DHCP message extend into the 'sname' and 'file' fields, the 'option overload' option MUST appear in the 'options' field, with value 1, 2 or 3, as specified in RFC 1533.
        if overload != 0 {
            self.out.extend_from_slice(&[code::OVERLOAD, 1, overload]);
        }
        //= https://www.rfc-editor.org/rfc/rfc3011#section-2
        //# Servers configured to support this option MUST return an identical copy of the option to any client that sends it, regardless of whether or not the client requests the option in a parameter request list.
        self.echo(packet, code::SUBNET_SELECTION);
        //= https://www.rfc-editor.org/rfc/rfc6842#section-3
        //# If the 'client identifier' option is present in a message received from a client, the server MUST return the 'client identifier' option, unaltered, in its response message.
        //= https://www.rfc-editor.org/rfc/rfc6842#section-3
        //# Client identifier (if not sent by client) MUST NOT MUST NOT MUST NOT
        self.echo(packet, code::CLIENT_ID);
        //= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
        //# DHCP servers claiming to support the Relay Agent Information option SHALL echo the entire contents of the Relay Agent Information option in all replies.
        //= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
        //# Servers SHOULD copy the Relay Agent Information option as the last DHCP option in the response.
        //= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
        //# Servers SHALL NOT place the echoed Relay Agent Information option in the overloaded sname or file fields.
        //= https://www.rfc-editor.org/rfc/rfc3046#section-2.2
        //# If a server is unable to copy a full Relay Agent Information field into a response, it SHALL send the response without the Relay Information Field, and SHOULD increment an error counter for the situation.
        if packet.relay_agent_fits() {
            self.echo(packet, code::RELAY_AGENT);
        }
        //= https://www.rfc-editor.org/rfc/rfc2131#section-4.1
        //# If the 'option overload' option is present in the 'options' field, the options in the 'options' field MUST be terminated by an 'end' option, and MAY contain one or more 'pad' options to fill the options field.
        self.out.push(code::END);
        if self.out.len() < REPLY_BYTES_MIN {
            self.out.resize(REPLY_BYTES_MIN, code::PAD);
        }
        self.out
    }

    /// Returns an option as it came, in parts of 255 octets; not at all where no frame would hold it.
    fn echo(&mut self, packet: &PacketView<'_>, code: u8) {
        let value = packet.option(code).unwrap_or_default();
        if self.out.len() + split_bytes(value) < REPLY_BYTES_MAX {
            append(&mut self.out, code, value);
        }
    }
}

/// Appends an option in parts of 255 octets; nothing where there is no value.
pub(crate) fn append(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for part in value.chunks(255) {
        out.extend_from_slice(&[code, part.len() as u8]);
        out.extend_from_slice(part);
    }
}

/// Octets of a value that is split into options of 255.
pub(crate) fn split_bytes(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255)
}

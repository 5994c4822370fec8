//! What must hold of every packet and every reply.
//!
//! dhcproto can be compared where it and the RFCs agree: it keeps the last of options with one code, stops without a word at an option whose content
//! it cannot read, and does not follow overload. What it leaves out for one of these reasons is held against [`Options`] alone.

use dhcproto::v4::{DhcpOption, Message};
use dhcproto::{Decodable, Decoder, Encodable};
use reveille_dhcpd::proto::reason::{DropReason, Fault};
use reveille_dhcpd::proto::view::{MAGIC_COOKIE, Parser, code};

use crate::Met;
use crate::reference::{FIXED, Options};

/// Octets of IP and UDP headers.
const HEADERS: usize = 28;
/// Octets of the options that no lease can do without: message type, server identifier, three times, a reason in words, END.
const ESSENTIAL: usize = 80;

/// The parser reads a packet as the RFCs and dhcproto do, or says why not.
///
/// # Panics
/// When it does not.
pub fn check_request(packet: &[u8], met: &mut Met) {
    let mut parser = Parser::default();
    let view = match parser.parse(packet) {
        Ok(view) => view,
        Err(reason) => return check_refusal(packet, reason),
    };
    met.parsed += 1;
    if packet[236..FIXED] != MAGIC_COOKIE {
        assert_eq!(packet[236..FIXED], [0; 4], "a cookie that is neither DHCP's nor absent was accepted");
        assert!((0..=255).all(|code| view.option(code).is_none()), "options without a cookie");
        return;
    }
    let read = Options::read(packet);
    met.joined += u64::from(read.has_parts() || read.overload != 0);
    let faults: Vec<_> = view.faults().iter().collect();
    assert_eq!(faults.contains(&Fault::OptionTruncated), read.truncated, "an option that runs past its field");
    let too_long = faults.contains(&Fault::OptionTooLong);
    for code in 1..=254 {
        let (ours, expected) = (view.option(code), read.values.get(&code));
        if too_long && ours.is_none() {
            // More in parts than is kept: then the option counts as absent, never as the half of it.
            continue;
        }
        assert_eq!(ours, expected.map(Vec::as_slice), "option {code}");
    }
    compare(packet, &read, met);
}

/// What was refused has the fault that is named.
fn check_refusal(packet: &[u8], reason: DropReason) {
    let short = packet.len() < FIXED;
    let holds = match reason {
        DropReason::Truncated => {
            let bootp =
                || packet[236..FIXED] == [0; 4] || !Options::read(packet).values.contains_key(&code::MESSAGE_TYPE);
            short || packet.len() < 300 && bootp()
        }
        DropReason::NotARequest => !short && packet[0] != 1,
        DropReason::Cookie => !short && packet[236..FIXED] != MAGIC_COOKIE && packet[236..FIXED] != [0; 4],
        DropReason::HardwareType => !short && packet[1..3] != [1, 6],
        DropReason::HardwareAddress => !short && (packet[28] & 1 != 0 || packet[28..34] == [0; 6]),
        DropReason::MessageType => !short && Options::read(packet).values.contains_key(&code::MESSAGE_TYPE),
        DropReason::OptionTruncated => !short && Options::read(packet).truncated,
        // A reason that this list does not know yet is no lie, but it must have been a whole message.
        _ => !short,
    };
    assert!(holds, "refused as {reason:?}, which it is not");
}

/// dhcproto's reading against the reference's: of requests, which the parser reads as the reference does, and of replies.
fn compare(packet: &[u8], read: &Options, met: &mut Met) {
    if read.has_parts() || read.truncated || read.has_overload || read.end.is_none() {
        return;
    }
    // Of these dhcproto asserts the lengths, and panics.
    let beyond_it = |(&code, value): (&u8, &Vec<u8>)| match code {
        80 => !value.is_empty(),
        94 => value.len() != 3,
        81 => value.len() < 3,
        151..=157 => true,
        // This one it takes for option 23.
        37 => true,
        _ => false,
    };
    if read.values.iter().any(beyond_it) {
        return;
    }
    if !read.order.iter().all(|code| dhcproto_reads(*code, &read.values[code])) {
        return;
    }
    let Ok(message) = Message::decode(&mut Decoder::new(packet)) else { return };
    met.compared_whole += u64::from(!read.values.is_empty());
    let theirs: Vec<u8> = message.opts().iter().map(|(&code, _)| code.into()).collect();
    let missed: Vec<_> = read.values.keys().filter(|code| !theirs.contains(code)).collect();
    assert!(missed.is_empty() && theirs.len() == read.values.len(), "dhcproto sees {theirs:?}, and not {missed:?}");
    for (&code, option) in message.opts().iter() {
        let (code, ours) = (u8::from(code), &read.values[&u8::from(code)]);
        if let Some(theirs) = value_of(option) {
            assert!(
                theirs == *ours || is_normalised(option, &theirs, ours),
                "option {code}: {theirs:02x?}, not {ours:02x?}"
            );
        }
    }
}

/// Whether dhcproto can read this option: where the content is not what it expects it fails, or takes fewer octets than the length says and is lost
/// from there on.
fn dhcproto_reads(code: u8, value: &[u8]) -> bool {
    let octets = [&[code, value.len() as u8][..], value, &[code::END]].concat();
    let mut decoder = Decoder::new(&octets);
    DhcpOption::decode(&mut decoder).is_ok() && matches!(DhcpOption::decode(&mut decoder), Ok(DhcpOption::End))
}

/// An option's value as dhcproto writes it; `None` where it writes something other than one option.
fn value_of(option: &DhcpOption) -> Option<Vec<u8>> {
    let octets = option.to_vec().ok()?;
    let (&[_, len], value) = octets.split_first_chunk()?;
    (usize::from(len) == value.len()).then(|| value.to_vec())
}

/// Whether dhcproto's value is ours in the form in which it keeps it: it reads a fixed number of octets and drops the rest, reads
/// any octet as true or false, keeps text as UTF-8, and sorts or compresses what is in relay agent information and in domain names.
fn is_normalised(option: &DhcpOption, theirs: &[u8], ours: &[u8]) -> bool {
    if matches!(option, DhcpOption::RelayAgentInformation(_) | DhcpOption::ClientFQDN(_) | DhcpOption::DomainSearch(_))
    {
        return true;
    }
    let text = std::str::from_utf8(ours).is_err() && String::from_utf8_lossy(ours).as_bytes() == theirs;
    let as_it_is = matches!(
        option,
        DhcpOption::Unknown(_) | DhcpOption::ClientIdentifier(_) | DhcpOption::ParameterRequestList(_)
    );
    text || (!as_it_is
        && (ours.starts_with(theirs) || theirs.len() < ours.len() || (ours.len() == 1 && matches!(theirs, [0 | 1]))))
}

/// A reply is well-formed, belongs to its request, and is what dhcproto would have written.
///
/// # Panics
/// When it is not.
pub fn check_reply(request: &[u8], reply: &[u8], met: &mut Met) {
    assert!(reply.len() >= 300, "{} octets", reply.len());
    assert_eq!((reply[0], &reply[236..FIXED]), (2, &MAGIC_COOKIE[..]), "op and cookie");
    assert_eq!(reply[4..8], request[4..8], "xid");
    assert_eq!(reply[24..28], request[24..28], "giaddr");
    let (asked, said) = (
        if request[236..FIXED] == MAGIC_COOKIE { Options::read(request) } else { Options::default() },
        Options::read(reply),
    );
    assert!(!said.truncated, "an option runs past the end");
    let end = said.end.expect("END");
    assert!(reply[end + 1..].iter().all(|&octet| octet == 0), "something comes after END");
    let kind = said.values.get(&code::MESSAGE_TYPE).map(|value| value[0]);
    if kind.is_none_or(|kind| kind < 10) {
        // A lease query is answered with the hardware address of the client that it is about.
        assert_eq!((&reply[1..3], &reply[28..34]), (&request[1..3], &request[28..34]), "htype, hlen and chaddr");
    }
    met.acknowledged += u64::from(kind == Some(5) && reply[16..20] != [0; 4]);
    assert_eq!(
        kind.is_some(),
        asked.values.contains_key(&code::MESSAGE_TYPE),
        "a message type for those that have one"
    );

    let takes = asked.values.get(&code::MAX_MESSAGE_SIZE).and_then(|value| value.first_chunk());
    let takes = takes.map_or(576, |octets| usize::from(u16::from_be_bytes(*octets)).max(576));
    // What must come back may alone be longer than that; then it comes back all the same, and nothing that need not be there with it.
    let echoes = [code::CLIENT_ID, code::RELAY_AGENT, 118]
        .map(|code| asked.values.get(&code).map_or(0, |value| value.len() + 6));
    let takes = takes.max(FIXED + ESSENTIAL + echoes.iter().sum::<usize>() + HEADERS).min(1_500);
    assert!(reply.len() + HEADERS <= takes, "{} octets for a client that takes {takes}", reply.len() + HEADERS);
    if let Some(agent) = asked.values.get(&code::RELAY_AGENT).filter(|_| kind.is_some()) {
        if let Some(echo) = said.values.get(&code::RELAY_AGENT) {
            assert_eq!(echo, agent, "relay agent information");
            assert_eq!(
                said.order[..said.in_options].last(),
                Some(&code::RELAY_AGENT),
                "relay agent information comes last"
            );
        } else {
            assert!(agent.len() > 64 || agent.is_empty(), "relay agent information is missing");
        }
    }
    if let (Some(identifier), Some(2 | 5 | 6)) = (asked.values.get(&code::CLIENT_ID), kind) {
        let echo = said.values.get(&code::CLIENT_ID);
        assert!(
            echo == Some(identifier) || identifier.len() > 64 || identifier.is_empty(),
            "the client identifier: {echo:02x?}"
        );
    }
    let other: Vec<_> =
        said.order.iter().filter(|code| said.order.iter().filter(|other| other == code).count() > 1).collect();
    assert!(other.iter().all(|&&code| said.values[&code].len() > 255), "options {other:?} come twice");

    compare(reply, &said, met);
}

//! Octets that ipmitool and ipmi_sim exchanged, taken apart and made again by our code.

use reveille_provisioner::proto::ipmi::command::{
    BootDevice, BootFlags, CloseSession, Command, Firmware, GetChannelAuthenticationCapabilities, SetBootFlags,
    SetBootInfoAcknowledge, SetSessionPrivilegeLevel,
};
use reveille_provisioner::proto::ipmi::handshake::{
    Exchange, decode_open_session, decode_rakp2, decode_rakp4, encode_open_session,
};
use reveille_provisioner::proto::ipmi::message::{decode_response, encode_request};
use reveille_provisioner::proto::ipmi::packet::{self, Packet, PayloadType, SessionPacket};
use reveille_provisioner::proto::ipmi::session::Session;
use reveille_provisioner::proto::ipmi::{CipherSuite, Password, Privilege, User};

const CAPTURE: &str = include_str!("golden/ipmitool-bootdev-pxe-efi.hex");

/// ipmitool counts from 3: its Open Session and RAKP messages have used up the numbers before.
const IPMITOOL_FIRST_SEQUENCE: u32 = 3;

struct Capture {
    sent: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
}

fn capture() -> Capture {
    let lines = |direction: char| {
        let lines = CAPTURE.lines().filter_map(|line| line.strip_prefix(direction)).map(str::trim);
        lines
            .map(|hex| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
            .collect()
    };
    Capture { sent: lines('>'), received: lines('<') }
}

fn setup(datagram: &[u8]) -> &[u8] {
    match packet::decode(datagram).unwrap() {
        Packet::Setup { payload, .. } => payload,
        other => panic!("not of the key exchange: {other:?}"),
    }
}

fn in_session(datagram: &[u8]) -> SessionPacket<'_> {
    match packet::decode(datagram).unwrap() {
        Packet::Session(packet) => packet,
        other => panic!("not of a session: {other:?}"),
    }
}

/// The exchange as far as the capture tells it, and ipmitool's session id.
fn exchange(capture: &Capture) -> Exchange {
    let open = decode_open_session(setup(&capture.received[1])).unwrap();
    let rakp2 = decode_rakp2(setup(&capture.received[2]), CipherSuite::Three).unwrap().body.unwrap();
    Exchange {
        suite: CipherSuite::Three,
        console_id: open.console_id,
        bmc_id: open.body.unwrap().bmc_id,
        console_random: capture.sent[2][24..40].try_into().unwrap(),
        bmc_random: rakp2.bmc_random,
        bmc_guid: rakp2.bmc_guid,
        privilege: Privilege::Administrator,
        user: User::new("admin").unwrap(),
    }
}

#[test]
fn the_handshake_is_ipmitools_octet_by_octet() {
    let capture = capture();
    let exchange = exchange(&capture);
    let password = Password::new("secret").unwrap();
    let datagram = |payload_type, payload: &[u8]| {
        let mut out = Vec::new();
        packet::encode_setup(&mut out, payload_type, payload);
        out
    };

    let mut message = Vec::new();
    let probe = GetChannelAuthenticationCapabilities(Privilege::Administrator).request();
    encode_request(&mut message, probe.netfn, probe.command, 0, &probe.data);
    let mut out = Vec::new();
    packet::encode_sessionless(&mut out, &message);
    assert_eq!(out, capture.sent[0], "Get Channel Authentication Capabilities");

    let mut open = Vec::new();
    // ipmitool asks for "the highest privilege there is" (0); we name ours.
    encode_open_session(&mut open, 0, Privilege::Administrator, exchange.console_id, CipherSuite::Three);
    open[1] = 0;
    assert_eq!(datagram(PayloadType::OpenSessionRequest, &open), capture.sent[1], "Open Session");

    let mut rakp1 = Vec::new();
    exchange.encode_rakp1(&mut rakp1, 0);
    assert_eq!(datagram(PayloadType::Rakp1, &rakp1), capture.sent[2], "RAKP 1");

    let rakp2 = decode_rakp2(setup(&capture.received[2]), CipherSuite::Three).unwrap().body.unwrap();
    assert!(exchange.verify_rakp2(password.key(), rakp2.code), "RAKP 2");
    assert!(!exchange.verify_rakp2(Password::new("Secret").unwrap().key(), rakp2.code), "RAKP 2, another password");

    let mut rakp3 = Vec::new();
    exchange.encode_rakp3(&mut rakp3, 0, password.key());
    assert_eq!(datagram(PayloadType::Rakp3, &rakp3), capture.sent[3], "RAKP 3");

    let rakp4 = decode_rakp4(setup(&capture.received[3]), CipherSuite::Three).unwrap().body.unwrap();
    assert!(exchange.verify_rakp4(&exchange.keys(password.key()), rakp4.check), "RAKP 4");
    assert!(!exchange.verify_rakp4(&exchange.keys(&[0; 20]), rakp4.check), "RAKP 4, another key");
}

#[test]
fn session_packets_are_ipmitools_octet_by_octet() {
    let capture = capture();
    let exchange = exchange(&capture);
    let password = Password::new("secret").unwrap();
    let keys = || exchange.keys(password.key());
    let mut ours = Session::new(CipherSuite::Three, exchange.console_id, exchange.bmc_id, keys());
    let mut theirs = Session::new(CipherSuite::Three, exchange.bmc_id, exchange.console_id, keys());
    for _ in 1..IPMITOOL_FIRST_SEQUENCE {
        ours.seal(&[0; 16], &[], &mut Vec::new());
    }
    let mut commands = Vec::new();
    for (sent, received) in capture.sent[4..].iter().zip(&capture.received[4..]) {
        let packet = in_session(sent);
        let mut message = Vec::new();
        theirs.open(&packet, &mut message).unwrap();
        let iv = packet.payload[..16].try_into().unwrap();
        let mut again = Vec::new();
        ours.seal(&iv, &message, &mut again);
        assert_eq!(again, *sent, "sealed again under the same initialisation vector");

        let (netfn, rq_seq, command) = (message[1] >> 2, message[4] >> 2, message[5]);
        let data = message[6..message.len() - 1].to_vec();
        let mut request = Vec::new();
        encode_request(&mut request, netfn, command, rq_seq, &data);
        assert_eq!(request, message);

        let mut message = Vec::new();
        ours.open(&in_session(received), &mut message).unwrap();
        let response = decode_response(&message).unwrap();
        assert_eq!((response.netfn, response.command, response.rq_seq), (netfn | 1, command, rq_seq));
        commands.push((netfn, command, data));
    }

    let flags = BootFlags { valid: true, persistent: false, firmware: Firmware::Uefi, device: BootDevice::Pxe };
    let expected = [
        SetSessionPrivilegeLevel(Privilege::Administrator).request(),
        SetBootInfoAcknowledge.request(),
        SetBootFlags(flags).request(),
        CloseSession(exchange.bmc_id).request(),
    ];
    for request in expected {
        let wanted = (request.netfn, request.command, request.data.to_vec());
        assert!(commands.contains(&wanted), "ipmitool sends {wanted:02x?} too; it sent {commands:02x?}");
    }
}

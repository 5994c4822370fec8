//! Replies through real sockets on the loopback: what arrives, in which order and how many at a time.

use std::net::{SocketAddr, UdpSocket};

use reveille_config::MacAddr;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::io::link::Frames;
use crate::io::sys::{Arena, receive_coalesced, send_without_checksums};
use crate::proto::reply::Reply;
use crate::proto::scope::ScopeIndex;

fn bound() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => (socket, address),
        SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
    }
}

fn port(segmentation: bool) -> Port {
    let server = End { mac: MacAddr([2, 0, 0, 0, 0, 1]), address: Ipv4Addr::LOCALHOST, port: 67 };
    let packet = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    Port { socket: bound().0, frames: Some(Frames { packet, server }), segmentation }
}

fn reply(scope: u16, to: SocketAddrV4, bytes: usize, mark: u8) -> Outgoing {
    let mut octets = vec![mark; bytes - 1];
    octets.push(code::END);
    let destination = Destination::Relay(*to.ip(), to.port());
    Outgoing { scope: ScopeIndex(scope), reply: Reply { octets, destination } }
}

/// Each datagram's first octet and length, and how many messages the kernel made of them.
fn arrived(socket: &UdpSocket) -> (Vec<(u8, usize)>, usize) {
    let mut arena = Arena::new(256, 65_535, 64);
    while arena.receive(socket).unwrap() {}
    let datagrams =
        (0..arena.len()).flat_map(|i| arena.message(i).datagrams().map(|d| (d[0], d.len())).collect::<Vec<_>>());
    (datagrams.collect(), arena.len())
}

#[test]
fn replies_to_one_relay_leave_together_in_order_and_padded_a_little() {
    let ((a, to_a), (b, to_b)) = (bound(), bound());
    for socket in [&a, &b] {
        receive_coalesced(socket).unwrap();
    }
    let sizes = [(to_a, 300), (to_b, 300), (to_a, 340), (to_a, 320), (to_b, 700), (to_a, 600), (to_b, 300)];
    for (segmentation, expected_a, expected_b) in [
        (true, (vec![(0, 340), (2, 340), (3, 340), (5, 600)], 2), (vec![(1, 300), (6, 300), (4, 700)], 2)),
        (false, (vec![(0, 300), (2, 340), (3, 320), (5, 600)], 4), (vec![(1, 300), (4, 700), (6, 300)], 3)),
    ] {
        let mut outbox = Outbox::default();
        let mut ports = [port(segmentation)];
        for (mark, (to, bytes)) in sizes.iter().enumerate() {
            outbox.replies.push(reply(0, *to, *bytes, mark as u8));
        }
        assert_eq!(outbox.send(&mut ports), 0);
        assert_eq!(arrived(&a), expected_a, "segmentation {segmentation}");
        assert_eq!(arrived(&b), expected_b, "segmentation {segmentation}");
        let ends = outbox.replies.iter().map(|sent| sent.reply.octets.iter().position(|&octet| octet == code::END));
        assert_eq!(ends.collect::<Vec<_>>(), sizes.map(|(_, bytes)| Some(bytes - 1)), "END comes before the padding");
    }
}

#[test]
fn a_full_outbox_goes_out_whole_whatever_the_destinations() {
    let (receiver, to) = bound();
    for segmentation in [true, false] {
        let mut outbox = Outbox::default();
        let mut ports = [port(segmentation), port(segmentation)];
        for at in 0..OUTBOX {
            outbox.replies.push(reply((at % 2) as u16, to, 300 + 70 * (at % 3), at as u8));
        }
        assert_eq!(outbox.send(&mut ports), 0);
        let mut marks: Vec<_> = arrived(&receiver).0.into_iter().map(|(mark, _)| usize::from(mark)).collect();
        marks.sort_unstable();
        assert_eq!(marks, (0..OUTBOX).collect::<Vec<_>>());
    }
}

#[test]
fn what_cannot_be_sent_is_counted_and_the_rest_goes_out() {
    let (receiver, to) = bound();
    let mut outbox = Outbox::default();
    // Port 0 is nobody's; scope 7 is gone.
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    outbox.replies.extend([
        reply(0, to, 300, 1),
        reply(0, nowhere, 300, 2),
        reply(0, nowhere, 300, 3),
        reply(7, to, 300, 4),
        reply(0, to, 800, 5),
    ]);
    assert_eq!(outbox.send(&mut [port(true)]), 3);
    assert_eq!(arrived(&receiver).0, [(1, 300), (5, 800)]);
}

#[test]
fn where_the_kernel_does_not_segment_replies_go_one_by_one() {
    let (receiver, to) = bound();
    let mut ports = [port(true)];
    // A socket that sends no checksums may not segment (udp(7)).
    send_without_checksums(&ports[0].socket).unwrap();
    let mut outbox = Outbox::default();
    outbox.replies.extend((1..=3).map(|mark| reply(0, to, 300, mark)));
    assert_eq!(outbox.send(&mut ports), 0);
    assert_eq!(arrived(&receiver).0, [(1, 300), (2, 300), (3, 300)]);
    assert!(!ports[0].segmentation, "it is not tried again");
}

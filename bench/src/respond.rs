//! The stateless responder: what the kernel's sockets allow at the most, with no server behind them.
//!
//! Each answer is made in place of its question and sent back in the same batch: `recvmmsg`, `sendmmsg`, nothing between.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::Context;

use crate::io::sys::{self, Inbox};
use crate::packet::{ACK, DISCOVER, LENGTH, OFFER, REQUEST};

/// Addresses that it gives; clients with consecutive numbers, fewer than this, all get different ones.
const ADDRESSES: u32 = 0x00fe_0000;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The address to answer on, port 67
    #[arg(long)]
    address: Ipv4Addr,
    /// Segmentation offload both ways (UDP GSO and GRO)
    #[arg(long)]
    offload: bool,
}

/// Answers until it is ended.
///
/// # Errors
/// The port is taken, or the kernel lacks the offloads.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(args.address, 67)).context("cannot bind port 67")?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 16 << 20)?;
    if args.offload {
        sys::segment(&socket, LENGTH).context("no UDP GSO")?;
        sys::gather(&socket).context("no UDP GRO")?;
    }
    println!("ready");
    let mut inbox = if args.offload { Inbox::new(64, 65_536) } else { Inbox::new(64, 1_536) };
    let mut answered = Vec::with_capacity(64);
    loop {
        let got = inbox.receive(&socket, true)?;
        answered.clear();
        for at in 0..got {
            let (octets, segment) = inbox.message(at);
            // What is not all ours is not answered: the load sends nothing else.
            if octets.chunks_mut(segment).all(|octets| answer(octets, args.address)) {
                answered.push(at);
            }
        }
        inbox.send_back(&socket, answered.iter().copied())?;
    }
}

/// Turns a request into its answer where it lies: the address is a function of the hardware address.
fn answer(message: &mut [u8], server: Ipv4Addr) -> bool {
    if message.len() != LENGTH || message[0] != 1 || message[240..242] != [53, 1] {
        return false;
    }
    let kind = match message[242] {
        DISCOVER => OFFER,
        REQUEST => ACK,
        _ => return false,
    };
    message[0] = 2;
    let number = u32::from_be_bytes([message[30], message[31], message[32], message[33]]);
    // Of 10.0.0.0/8, from its second /16 on: the load allows each address one owner, and with segmentation there are millions of clients a second.
    let yiaddr = Ipv4Addr::from((u32::from(server) & 0xff00_0000) + 0x0001_0000 + number % ADDRESSES);
    message[16..20].copy_from_slice(&yiaddr.octets());
    let [a, b, c, d] = server.octets();
    let options = [53, 1, kind, 54, 4, a, b, c, d, 51, 4, 0, 0, 14, 16, 255];
    message[240..].fill(0);
    message[240..240 + options.len()].copy_from_slice(&options);
    true
}

#[cfg(test)]
mod tests {
    use reveille_config::MacAddr;

    use super::*;
    use crate::packet::{self, Message, Reply};

    #[test]
    fn a_question_becomes_its_answer() {
        let (none, server) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 64, 0, 1));
        let chaddr = MacAddr([2, 0x42, 0, 0, 0, 7]);
        let mut octets = [0; LENGTH];
        for (kind, expected) in [(DISCOVER, OFFER), (REQUEST, ACK)] {
            let message = Message { kind, xid: 9, chaddr, ciaddr: none, requested: none, server: none };
            packet::write(&mut octets, &message, Ipv4Addr::new(10, 64, 0, 2));
            assert!(answer(&mut octets, server));
            let yiaddr = Ipv4Addr::new(10, 1, 0, 7);
            assert_eq!(packet::read(&octets), Some(Reply { kind: expected, xid: 9, chaddr, yiaddr, server }));
            assert!(!answer(&mut octets, server), "an answer is not answered");
        }
    }

    #[test]
    fn consecutive_clients_get_different_addresses_wherever_they_begin() {
        let server = Ipv4Addr::new(10, 64, 0, 1);
        // Across each edge of the addresses and of powers of two.
        for edge in [1 << 22, ADDRESSES, 1 << 24, 2 * ADDRESSES] {
            let mut given = std::collections::HashSet::new();
            for number in (edge - 200_000..edge + 200_000).step_by(7).chain([edge - 1, edge, edge + ADDRESSES / 2]) {
                let mut octets = [0; LENGTH];
                let [a, b, c, d] = number.to_be_bytes();
                octets[0] = 1;
                octets[30..34].copy_from_slice(&[a, b, c, d]);
                octets[240..243].copy_from_slice(&[53, 1, DISCOVER]);
                assert!(answer(&mut octets, server));
                let address: [u8; 4] = octets[16..20].try_into().unwrap();
                assert!(u32::from_be_bytes(address) & 0xff00_0000 == u32::from(server) & 0xff00_0000);
                given.insert((number, address));
            }
            let addresses: std::collections::HashSet<_> = given.iter().map(|(_, address)| address).collect();
            assert_eq!(addresses.len(), given.len(), "around {edge}");
        }
    }
}

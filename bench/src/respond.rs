//! The stateless responder: what plain `recv` and `send` allow at the most, with no server behind them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::Context;

use crate::packet::{self, ACK, DISCOVER, OFFER, REQUEST};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The address to answer on, port 67
    #[arg(long)]
    address: Ipv4Addr,
}

/// Answers until it is ended.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(args.address, 67)).context("cannot bind port 67")?;
    println!("ready");
    let mut message = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut message)?;
        if let Some(reply) = answer(&mut message[..length], args.address) {
            socket.send_to(reply, from)?;
        }
    }
}

/// Turns a request into its answer where it lies: the address is a function of the hardware address.
fn answer(message: &mut [u8], server: Ipv4Addr) -> Option<&[u8]> {
    if message.len() < packet::LENGTH || message[0] != 1 || message[240..242] != [53, 1] {
        return None;
    }
    let kind = match message[242] {
        DISCOVER => OFFER,
        REQUEST => ACK,
        _ => return None,
    };
    message[0] = 2;
    let number = u32::from_be_bytes(message[30..34].try_into().ok()?) & 0x000f_ffff;
    let yiaddr = Ipv4Addr::from(u32::from(server) + 0x0001_0000 + number);
    message[16..20].copy_from_slice(&yiaddr.octets());
    let [a, b, c, d] = server.octets();
    let options = [53, 1, kind, 54, 4, a, b, c, d, 51, 4, 0, 0, 14, 16, 255];
    message[240..packet::LENGTH].fill(0);
    message[240..240 + options.len()].copy_from_slice(&options);
    Some(&message[..packet::LENGTH])
}

//! The bare TFTP responder: what the kernel's sockets allow at the most without offload, with no server behind them.
//!
//! It remembers nothing: the request gets an OACK, ACK n gets the blocks after n, as many as the window has. `recvmmsg`, `sendmmsg`, nothing between;
//! payloads are gathered from memory. No retransmission: its clients repeat themselves.

use std::net::{SocketAddrV4, UdpSocket};
use std::path::PathBuf;

use anyhow::Context;

use crate::io::sys::{Arrivals, Departures, tell_destinations};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The address to answer on
    #[arg(long)]
    address: SocketAddrV4,
    /// The only file
    #[arg(long)]
    file: PathBuf,
    /// Octets of a block
    #[arg(long, default_value_t = 1_468)]
    block: usize,
    /// Blocks at a time
    #[arg(long, default_value_t = 1)]
    window: usize,
}

/// Answers until it is ended.
///
/// # Errors
/// The port is taken, or the file is not there.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = std::fs::read(&args.file).context("cannot read the file")?;
    let socket = UdpSocket::bind(args.address).context("cannot bind the port")?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 16 << 20)?;
    tell_destinations(&socket)?;
    let mut offer = format!("\0\x06blksize\0{}\0", args.block);
    if args.window > 1 {
        offer += &format!("windowsize\0{}\0", args.window);
    }
    let (mut arrivals, mut departures) = (Arrivals::new(64, 600), Departures::new(64));
    loop {
        let mut poll = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None)?;
        for at in 0..arrivals.receive(&socket)? {
            let (datagram, from, _) = arrivals.datagram(at);
            match datagram {
                [0, 1, ..] => departures.push(from, None, offer.as_bytes(), 0..0),
                [0, 4, high, low, ..] => {
                    let acknowledged = usize::from(u16::from_be_bytes([*high, *low]));
                    for block in acknowledged + 1..=acknowledged + args.window {
                        let start = (block - 1) * args.block;
                        if start > file.len() {
                            break;
                        }
                        let [high, low] = (block as u16).to_be_bytes();
                        let payload = start..(start + args.block).min(file.len());
                        departures.push(from, None, &[0, 3, high, low], payload);
                        if departures.is_full() {
                            departures.flush(&socket, &file)?;
                        }
                    }
                }
                _ => {}
            }
            if departures.is_full() {
                departures.flush(&socket, &file)?;
            }
        }
        departures.flush(&socket, &file)?;
    }
}

//! The load: new clients through one relay, a fixed number of them outstanding, each answer checked.
//!
//! Closed loop: a client that is bound makes room for the next. A client whose answer does not come is asked again after
//! [`RETRY`], as a real one would; nothing is counted that was not acknowledged.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reveille_config::MacAddr;
use serde::{Deserialize, Serialize};

use crate::packet::{self, ACK, DISCOVER, LENGTH, OFFER, REQUEST, Reply};

/// After how long an unanswered message is sent again.
const RETRY: Duration = Duration::from_millis(500);
/// With no answer for so long the server is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The relay's own address (giaddr); answers come to its port 67
    #[arg(long)]
    relay: Ipv4Addr,
    /// The server
    #[arg(long)]
    server: Ipv4Addr,
    /// How long to load, milliseconds (at most 60,000)
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,
    /// Clients outstanding at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    outstanding: u32,
    /// The first client's number, so that every round brings new clients
    #[arg(long, default_value_t = 0)]
    first: u32,
}

/// What a round of load came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Clients bound.
    pub bound: u32,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Messages that had to be sent again.
    pub retries: u64,
    /// From DISCOVER to ACK, microseconds: median and 99th percentile.
    pub dora_micros_p50: u32,
    /// See `dora_micros_p50`.
    pub dora_micros_p99: u32,
}

/// One client on its way.
#[derive(Clone, Copy)]
struct Client {
    number: u32,
    started: Instant,
    sent: Instant,
    chosen: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// Loads the server and prints the [`Outcome`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(args.relay, 67)).context("cannot bind the relay's port 67")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
    socket.connect(SocketAddrV4::new(args.server, 67))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut load = Load {
        socket,
        relay: args.relay,
        slots: Vec::new(),
        next: args.first,
        addresses: HashSet::new(),
        retries: 0,
        micros: Vec::new(),
    };
    println!("{}", serde_json::to_string(&load.run(args.outstanding, Duration::from_millis(args.millis))?)?);
    Ok(())
}

struct Load {
    socket: UdpSocket,
    relay: Ipv4Addr,
    /// The outstanding clients; the transaction id's low half is the slot, so that an answer finds it at once.
    slots: Vec<Client>,
    next: u32,
    addresses: HashSet<Ipv4Addr>,
    retries: u64,
    micros: Vec<u32>,
}

impl Load {
    fn run(&mut self, outstanding: u32, limit: Duration) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        for slot in 0..outstanding {
            let client = self.fresh();
            self.slots.push(client);
            self.send(slot as usize)?;
        }
        let (mut message, mut heard, mut swept) = ([0; 1500], Instant::now(), Instant::now());
        while started.elapsed() < limit {
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    heard = Instant::now();
                    let reply =
                        packet::read(&message[..length]).context("the server sent something that is no reply")?;
                    self.handle(reply)?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
            ensure!(
                heard.elapsed() < SILENCE_MAX,
                "no answer for {} s; {} were bound",
                SILENCE_MAX.as_secs(),
                self.micros.len()
            );
            if swept.elapsed() > RETRY / 5 {
                swept = Instant::now();
                self.sweep()?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.micros.sort_unstable();
        let at = |share: f64| self.micros.get((self.micros.len() as f64 * share) as usize).copied().unwrap_or(0);
        Ok(Outcome {
            bound: self.micros.len() as u32,
            seconds,
            retries: self.retries,
            dora_micros_p50: at(0.5),
            dora_micros_p99: at(0.99),
        })
    }

    fn fresh(&mut self) -> Client {
        let number = self.next;
        self.next += 1;
        let now = Instant::now();
        Client { number, started: now, sent: now, chosen: None }
    }

    fn send(&mut self, slot: usize) -> anyhow::Result<()> {
        let client = &mut self.slots[slot];
        client.sent = Instant::now();
        let kind = if client.chosen.is_some() { REQUEST } else { DISCOVER };
        let mut message = [0; LENGTH];
        packet::write(&mut message, kind, xid(client.number, slot), mac(client.number), self.relay, client.chosen);
        self.socket.send(&message).context("cannot send")?;
        Ok(())
    }

    fn handle(&mut self, reply: Reply) -> anyhow::Result<()> {
        let slot = (reply.xid & 0xffff) as usize;
        let Some(client) = self.slots.get_mut(slot) else { bail!("an answer to a transaction that was never begun") };
        if reply.xid != xid(client.number, slot) {
            return Ok(()); // the second answer to a message that was sent twice
        }
        ensure!(reply.chaddr == mac(client.number), "an answer with another client's hardware address");
        match (reply.kind, client.chosen) {
            (OFFER, None) => {
                client.chosen = Some((reply.yiaddr, reply.server));
                self.send(slot)
            }
            (ACK, Some((address, _))) => {
                ensure!(reply.yiaddr == address, "{address} was offered and {} acknowledged", reply.yiaddr);
                ensure!(self.addresses.insert(address), "{address} was bound to two clients");
                self.micros.push(client.started.elapsed().as_micros() as u32);
                self.slots[slot] = self.fresh();
                self.send(slot)
            }
            (OFFER, Some(_)) => Ok(()),
            (kind, _) => bail!("an answer of type {kind} that nothing asked for"),
        }
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        for slot in 0..self.slots.len() {
            if self.slots[slot].sent.elapsed() > RETRY {
                self.retries += 1;
                self.send(slot)?;
            }
        }
        Ok(())
    }
}

fn xid(number: u32, slot: usize) -> u32 {
    number << 16 | slot as u32
}

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([0x02, 0x42, a, b, c, d])
}

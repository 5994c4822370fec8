//! `reveille-bench fetch-tftp`: many machines with an address each, all on one socket: recvmmsg, check, sendmmsg. It never sleeps: it has a core.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::downloads::{Machines, Reply};
use super::{Busy, Fetched};
use crate::io::cpu;
use crate::io::sys::{Arrivals, Departures, tell_destinations};

/// Every machine's port.
const PORT: u16 = 2_000;
/// Datagrams of one system call.
const BATCH: usize = 64;
/// Requests that go out together at the start, so that peers' sockets hold them.
const STARTS: usize = 16;
/// Downloads under way have so long to end after the measured time.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The server
    #[arg(long)]
    server: SocketAddrV4,
    /// The first machine's address; the others follow, and all must be this host's
    #[arg(long)]
    first: Ipv4Addr,
    /// Machines that fetch at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    machines: u32,
    /// The file's name on the server
    #[arg(long)]
    name: String,
    /// The same file here, to compare with
    #[arg(long)]
    file: PathBuf,
    /// Octets of a block
    #[arg(long, default_value_t = 1_468)]
    block: u16,
    /// Blocks at a time (RFC 7440)
    #[arg(long, default_value_t = 1)]
    window: u16,
    /// Time that is not measured at the start
    #[arg(long, default_value_t = 300)]
    warm_millis: u64,
    /// Time that is measured
    #[arg(long, default_value_t = 1_500)]
    millis: u64,
    /// Leaves what is under way at the end as it is: it counts neither as done nor as failed
    #[arg(long)]
    no_drain: bool,
    /// Process whose CPU time and memory is reported, with its children's
    #[arg(long)]
    server_pid: Option<u32>,
}

/// Fetches, and prints a [`Fetched`] as JSON.
///
/// # Errors
/// The system refuses the sockets. Downloads that fail are counted.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)).context("cannot bind port 2000")?;
    // A window for each machine fits.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 256 << 20)?;
    tell_destinations(&socket)?;
    let mut machines = Machines::new(args.machines as usize, &file, args.block.into(), args.window, Instant::now());
    let mut load = Load {
        request: machines.request(&args.name),
        arrivals: Arrivals::new(BATCH, usize::from(args.block) + 64),
        departures: Departures::new(BATCH),
        socket,
        args,
        begun: 0,
    };
    println!("{}", serde_json::to_string(&load.carry_out(&mut machines)?)?);
    Ok(())
}

struct Load<'a> {
    args: &'a Args,
    socket: UdpSocket,
    request: Vec<u8>,
    arrivals: Arrivals,
    departures: Departures,
    /// Machines that have begun their first download.
    begun: usize,
}

impl Load<'_> {
    fn carry_out(&mut self, machines: &mut Machines<'_>) -> anyhow::Result<Fetched> {
        let (mut busy, start) = (Busy::new(), Instant::now());
        let from = start + Duration::from_millis(self.args.warm_millis);
        let until = from + Duration::from_millis(self.args.millis);
        // Time, octets, downloads, the server's CPU time, our own work.
        let sample = |machines: &Machines<'_>, busy: &Busy, now: Instant| -> anyhow::Result<_> {
            let cpu = self.args.server_pid.map_or(Ok(Duration::ZERO), cpu::family_cpu_time)?;
            Ok((now, machines.bytes, machines.completed, cpu, busy.nanos))
        };
        let (mut begin, mut now) = (sample(machines, &busy, start)?, start);
        while now < from {
            now = self.turn(machines, &mut busy)?;
        }
        if self.args.warm_millis > 0 {
            begin = sample(machines, &busy, now)?;
        }
        while now < until {
            now = self.turn(machines, &mut busy)?;
        }
        let end = sample(machines, &busy, now)?;
        let server_mib = match self.args.server_pid {
            Some(pid) => cpu::resident_bytes(pid)? as f64 / f64::from(1 << 20),
            None => 0.0,
        };
        let active = machines.active() as u64;
        machines.again = false;
        while !self.args.no_drain && machines.active() > 0 && now < until + DRAIN_MAX {
            now = self.turn(machines, &mut busy)?;
        }
        let left = if self.args.no_drain { 0 } else { machines.active() as u64 };
        let seconds = (end.0 - begin.0).as_secs_f64();
        ensure!(machines.bytes > 0, "not one download ended well: {:?}", machines.first_failure);
        Ok(Fetched {
            seconds,
            bytes: end.1 - begin.1,
            completed: machines.completed,
            completed_within: end.2 - begin.2,
            failed: machines.failed + left,
            first_failure: machines.first_failure.clone().or((left > 0).then(|| "never ended".to_owned())),
            active,
            repeated: machines.repeated,
            // Where a process of its own serves each download, those that have ended take their time with them.
            server_cpu_s: end.3.saturating_sub(begin.3).as_secs_f64(),
            server_mib,
            busy: (end.4 - begin.4) as f64 / 1e9 / seconds,
        })
    }

    fn turn(&mut self, machines: &mut Machines<'_>, busy: &mut Busy) -> anyhow::Result<Instant> {
        let got = self.arrivals.receive(&self.socket)?;
        let now = busy.turn(false);
        let first = u32::from(self.args.first);
        for at in 0..got {
            let (datagram, from, to) = self.arrivals.datagram(at);
            let who = u32::from(to).wrapping_sub(first) as usize;
            if let Some(reply) = machines.handle(who, from, datagram, now) {
                put(&mut self.departures, self.args, &self.request, who, &reply);
            }
            if machines.is_due_again(who) {
                flush_if_full(&mut self.departures, &self.socket)?;
                let reply = machines.begin(who, now);
                put(&mut self.departures, self.args, &self.request, who, &reply);
            }
            flush_if_full(&mut self.departures, &self.socket)?;
        }
        let starts = if machines.again { self.begun + STARTS } else { 0 };
        let mut worked = got > 0;
        while self.begun < starts.min(self.args.machines as usize) {
            let reply = machines.begin(self.begun, now);
            put(&mut self.departures, self.args, &self.request, self.begun, &reply);
            self.begun += 1;
            worked = true;
            flush_if_full(&mut self.departures, &self.socket)?;
        }
        if let Some((who, reply)) = machines.overdue(now) {
            put(&mut self.departures, self.args, &self.request, who, &reply);
        }
        self.departures.flush(&self.socket, &[])?;
        Ok(busy.turn(worked))
    }
}

fn put(departures: &mut Departures, args: &Args, request: &[u8], who: usize, reply: &Reply) {
    let from = Ipv4Addr::from(u32::from(args.first) + who as u32);
    match reply {
        Reply::Request => departures.push(args.server, Some(from), request, 0..0),
        Reply::Ack(to, block) => {
            let [high, low] = block.to_be_bytes();
            departures.push(*to, Some(from), &[0, 4, high, low], 0..0);
        }
    }
}

fn flush_if_full(departures: &mut Departures, socket: &UdpSocket) -> anyhow::Result<()> {
    if departures.is_full() {
        departures.flush(socket, &[])?;
    }
    Ok(())
}

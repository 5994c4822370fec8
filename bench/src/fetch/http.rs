//! `reveille-bench fetch-http`: connections that are kept and fetch again and again, one core, epoll. Bodies are thrown away in the kernel
//! (tcp(7), `MSG_TRUNC`) but for their beginnings and a sample, which are compared with the file: so the server is the limit, not this.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::event::epoll;
use rustix::net::{RecvFlags, recv};

use super::{Busy, Fetched};
use crate::io::cpu;

/// Octets read where they are looked at.
const READ_BYTES: usize = 16 << 10;
/// Octets thrown away with one system call at the most.
const DISCARD_BYTES: usize = 4 << 20;
/// One in so many reads of a body is looked at.
const SAMPLE: u64 = 64;
/// Nothing from any connection for so long: the server is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The server
    #[arg(long)]
    server: SocketAddrV4,
    /// Connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// What they fetch, in turn (may be given several times): the path on the server, `=`, and the same file here
    #[arg(long, required = true)]
    fetch: Vec<String>,
    /// Time that is not measured at the start
    #[arg(long, default_value_t = 300)]
    warm_millis: u64,
    /// Time that is measured
    #[arg(long, default_value_t = 1_500)]
    millis: u64,
    /// Process whose CPU time is reported, with its children's
    #[arg(long)]
    server_pid: Option<u32>,
}

/// A file to fetch: the whole request, and what must come.
struct Wanted {
    request: Vec<u8>,
    body: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Which file is being fetched.
    wanted: usize,
    /// The head of the answer, until it is whole.
    head: Vec<u8>,
    /// Octets of the body that have come, once the head has.
    got: Option<usize>,
    reads: u64,
}

/// Fetches, and prints a [`Fetched`] as JSON.
///
/// # Errors
/// The server is dead, or answers wrongly.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let wanted = args.fetch.iter().map(|pair| wanted(pair, args.server)).collect::<anyhow::Result<Vec<_>>>()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut load = Load { connections: Vec::new(), wanted, scratch: vec![0; DISCARD_BYTES], bytes: 0, completed: 0 };
    for n in 0..args.connections {
        let stream = TcpStream::connect(args.server).context("cannot connect")?;
        stream.set_nodelay(true)?;
        let wanted = n as usize % load.wanted.len();
        (&stream).write_all(&load.wanted[wanted].request)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(n.into()), epoll::EventFlags::IN)?;
        load.connections.push(Connection { stream, wanted, head: Vec::new(), got: None, reads: 0 });
    }
    println!("{}", serde_json::to_string(&load.carry_out(args, &poll)?)?);
    Ok(())
}

fn wanted(pair: &str, server: SocketAddrV4) -> anyhow::Result<Wanted> {
    let (path, file) = pair.split_once('=').context("--fetch PATH=FILE")?;
    let body = std::fs::read(PathBuf::from(file)).with_context(|| format!("cannot read {file}"))?;
    Ok(Wanted { request: format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").into_bytes(), body })
}

struct Load {
    connections: Vec<Connection>,
    wanted: Vec<Wanted>,
    scratch: Vec<u8>,
    bytes: u64,
    completed: u64,
}

impl Load {
    fn carry_out(&mut self, args: &Args, poll: &std::os::fd::OwnedFd) -> anyhow::Result<Fetched> {
        let (mut busy, start) = (Busy::new(), Instant::now());
        let from = start + Duration::from_millis(args.warm_millis);
        let until = from + Duration::from_millis(args.millis);
        let mut events = Vec::with_capacity(256);
        let (mut now, mut heard, mut begin) = (start, start, None);
        loop {
            if begin.is_none() && now >= from {
                begin = Some((now, self.bytes, self.completed, server_cpu(args)?, busy.nanos));
            }
            if now >= until {
                break;
            }
            events.clear();
            let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&none))?;
            for event in &events {
                self.handle(event.data.u64() as usize)?;
            }
            now = busy.turn(!events.is_empty());
            if !events.is_empty() {
                heard = now;
            }
            ensure!(now - heard < SILENCE_MAX, "the server sends nothing any more");
        }
        let (began, bytes, completed, cpu, nanos) = begin.context("no time to measure")?;
        let seconds = (now - began).as_secs_f64();
        Ok(Fetched {
            seconds,
            bytes: self.bytes - bytes,
            completed: self.completed,
            completed_within: self.completed - completed,
            server_cpu_s: (server_cpu(args)? - cpu).as_secs_f64(),
            busy: (busy.nanos - nanos) as f64 / 1e9 / seconds,
            ..Fetched::default()
        })
    }

    /// A connection has something.
    fn handle(&mut self, which: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[which];
        loop {
            let wanted = &self.wanted[connection.wanted];
            connection.reads += 1;
            // The end of a body is looked at too: then an answer of another length shows.
            let left = connection.got.map_or(0, |got| wanted.body.len() - got);
            let (length, flags) = match left {
                0 => (READ_BYTES, RecvFlags::empty()),
                left if left <= READ_BYTES || connection.reads.is_multiple_of(SAMPLE) => {
                    (left.min(READ_BYTES), RecvFlags::empty())
                }
                left => ((left - READ_BYTES / 2).min(DISCARD_BYTES), RecvFlags::TRUNC),
            };
            let n = match recv(&connection.stream, &mut self.scratch[..length], flags) {
                Ok((_, 0)) => bail!("the server closed a connection"),
                Ok((_, n)) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("a connection failed"),
            };
            let seen = if flags.contains(RecvFlags::TRUNC) { None } else { Some(&self.scratch[..n]) };
            let n = match (connection.got, seen) {
                (None, Some(seen)) => match head(&mut connection.head, seen, wanted.body.len())? {
                    None => continue,
                    Some(body) => {
                        connection.got = Some(0);
                        check(wanted, 0, body)?;
                        body.len()
                    }
                },
                (Some(got), Some(seen)) => {
                    check(wanted, got, seen)?;
                    n
                }
                (_, None) => n,
            };
            self.bytes += n as u64;
            let got = connection.got.unwrap_or_default() + n;
            connection.got = Some(got);
            if got < wanted.body.len() {
                continue;
            }
            self.completed += 1;
            connection.head.clear();
            connection.got = None;
            connection.wanted = (connection.wanted + 1) % self.wanted.len();
            (&connection.stream).write_all(&self.wanted[connection.wanted].request)?;
            return Ok(());
        }
    }
}

/// More of an answer's head; once it is whole, what lies behind it.
fn head<'a>(head: &mut Vec<u8>, seen: &'a [u8], bytes: usize) -> anyhow::Result<Option<&'a [u8]>> {
    let before = head.len();
    head.extend_from_slice(seen);
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(head.len() < READ_BYTES, "a head that does not end");
        return Ok(None);
    };
    let text = std::str::from_utf8(&head[..end]).context("a head that is no text")?.to_ascii_lowercase();
    ensure!(text.starts_with("http/1.1 200"), "an answer that is none: {text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("no content-length")?.trim().parse()?;
    ensure!(length == bytes, "{length} octets in place of {bytes}");
    Ok(Some(&seen[end + 4 - before..]))
}

fn check(wanted: &Wanted, at: usize, seen: &[u8]) -> anyhow::Result<()> {
    ensure!(wanted.body.get(at..at + seen.len()) == Some(seen), "wrong octets at {at}");
    Ok(())
}

fn server_cpu(args: &Args) -> anyhow::Result<Duration> {
    args.server_pid.map_or(Ok(Duration::ZERO), cpu::family_cpu_time)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_head_comes_in_pieces_and_must_fit() {
        let mut got = Vec::new();
        assert_eq!(super::head(&mut got, b"HTTP/1.1 200 OK\r\nContent-", 3).unwrap(), None);
        assert_eq!(super::head(&mut got, b"Length: 3\r\n\r\nabc", 3).unwrap(), Some(&b"abc"[..]));
        for (wrong, bytes) in [("HTTP/1.1 404 No\r\ncontent-length: 3\r\n\r\n", 3), ("HTTP/1.1 200 OK\r\n\r\n", 0)] {
            assert!(super::head(&mut Vec::new(), wrong.as_bytes(), bytes).is_err(), "{wrong}");
        }
        assert!(super::head(&mut Vec::new(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", 3).is_err());
    }
}

//! The programs against `worker_of`: interpreted, and run by the kernel in a network namespace.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveille_config::MacAddr;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::proto::owner::worker_of;

/// What a program returns for a packet: just the instructions that are used here.
fn interpret(program: &[Instruction], packet: &[u8]) -> u32 {
    interpret_by_chance(program, packet, 0)
}

fn interpret_by_chance(program: &[Instruction], packet: &[u8], random: u32) -> u32 {
    let (mut accumulator, mut at) = (0u32, 0);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        at += 1;
        match code {
            LOAD_WORD if operand == RANDOM_AT => accumulator = random,
            LOAD_WORD => match packet.get(operand as usize..).and_then(<[u8]>::first_chunk) {
                Some(octets) => accumulator = u32::from_be_bytes(*octets),
                None => return 0,
            },
            LOAD_LENGTH => accumulator = packet.len() as u32,
            MULTIPLY => accumulator = accumulator.wrapping_mul(operand),
            SHIFT_RIGHT => accumulator >>= operand,
            MODULO => accumulator %= operand,
            JUMP_IF_EQUAL => at += jump(accumulator == operand),
            JUMP_IF_AT_LEAST => at += jump(accumulator >= operand),
            RETURN_ACCUMULATOR => return accumulator,
            RETURN => return operand,
            other => panic!("the interpreter does not know {other:#x}"),
        }
    }
}

fn macs(count: u32) -> impl Iterator<Item = MacAddr> {
    (0..count).map(|i| {
        let [a, b, c, d] = i.wrapping_mul(0x0101_6b2d).to_be_bytes();
        MacAddr([2, 0x42, a, b, c, d])
    })
}

fn message(mac: MacAddr) -> Vec<u8> {
    let mut message = vec![0; 300];
    message[28..34].copy_from_slice(&mac.octets());
    message
}

#[test]
fn interpreted_programs_agree_with_the_owner_function() {
    for workers in [2, 3, 7, 64] {
        for mac in macs(500) {
            let owner = worker_of(mac, workers) as u32;
            let payload = message(mac);
            let datagram = [&[0; 8][..], &payload].concat();
            assert_eq!(interpret(&group_program(workers as u32), &payload), owner);
            for worker in 0..workers as u32 {
                let kept = interpret(&filter_program(worker, workers as u32), &datagram);
                assert_eq!(kept, if worker == owner { KEEP } else { 0 }, "worker {worker} of {workers}");
            }
        }
    }
}

#[test]
fn what_is_too_short_goes_to_the_first_worker_alone() {
    for len in 0..CHADDR_WORD_AT as usize + 4 {
        assert_eq!(interpret(&group_program(3), &vec![0xff; len]), 0);
        let kept = [0, 1, 2].map(|worker| interpret(&filter_program(worker, 3), &vec![0xff; 8 + len]));
        assert_eq!(kept, [KEEP, 0, 0], "{len} octets");
    }
}

#[test]
fn a_share_of_the_discovers_is_left_and_nothing_else() {
    let mac = MacAddr([2, 0x42, 0, 0, 0, 1]);
    let datagram = |options: &[u8]| {
        let mut payload = message(mac);
        payload[FIXED_BYTES..FIXED_BYTES + options.len()].copy_from_slice(options);
        [&[0; 8][..], &payload].concat()
    };
    let (discover, request, later) = (datagram(&[53, 1, 1]), datagram(&[53, 1, 3]), datagram(&[12, 1, 65, 53, 1, 1]));
    let short = &discover[..8 + FIXED_BYTES + 3];
    let owner = worker_of(mac, 3);
    for (what, packet, owned_by, random, kept) in [
        ("a discover that chance keeps", &discover[..], owner, 1 << 31, true),
        ("one that it does not", &discover, owner, (1 << 31) - 1, false),
        ("a request", &request, owner, 0, true),
        ("another option first", &later, owner, 0, true),
        ("too short to tell", short, owner, 0, true),
        ("another worker's, whatever it is", &discover, (owner + 1) % 3, u32::MAX, false),
    ] {
        let filter = Filter { shed: 1 << 31, own: Some((owned_by, 3)) };
        let result = interpret_by_chance(&filter.program(), packet, random);
        assert_eq!(result, if kept { KEEP } else { 0 }, "{what}");
        if owned_by == owner {
            let alone = Filter { own: None, ..filter };
            assert_eq!(interpret_by_chance(&alone.program(), packet, random), result, "{what}, one worker");
        }
    }
}

#[test]
fn the_kernel_takes_the_filter_and_lets_it_go() {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let [discover, request] = [1, 3].map(|kind| {
        let mut payload = message(MacAddr([2; 6]));
        payload[FIXED_BYTES..FIXED_BYTES + 3].copy_from_slice(&[53, 1, kind]);
        payload
    });
    let mut octets = [0; 512];
    // All but one of 2³²: once in a hundred million runs one comes through.
    Filter { own: None, shed: u32::MAX }.attach(&receiver).unwrap();
    (0..40).for_each(|_| _ = sender.send(&discover).unwrap());
    sender.send(&request).unwrap();
    assert_eq!(receiver.recv(&mut octets).unwrap(), request.len());
    assert_eq!(octets[242], 3, "the discovers were left");
    Filter::default().attach(&receiver).unwrap();
    Filter::default().attach(&receiver).expect("also where there is none");
    sender.send(&discover).unwrap();
    receiver.recv(&mut octets).unwrap();
    assert_eq!(octets[242], 1);
}

const WORKERS: usize = 3;
const PORT: u16 = 67;
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// The sockets of a worker: one for any address with both programs, one for [`OWN`].
fn sockets(worker: usize) -> [UdpSocket; 2] {
    [Ipv4Addr::UNSPECIFIED, OWN].map(|address| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.bind(&SocketAddrV4::new(address, PORT).into()).unwrap();
        steer_unicasts(&socket, WORKERS).unwrap();
        if address.is_unspecified() {
            Filter::own(worker, WORKERS).attach(&socket).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        socket.into()
    })
}

/// What came in at each worker's two sockets, once `count` datagrams have.
fn receive(workers: &[[UdpSocket; 2]], count: usize) -> Vec<(usize, usize, Vec<u8>)> {
    let (mut got, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while got.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} datagrams came", got.len());
        for (worker, sockets) in workers.iter().enumerate() {
            for (which, socket) in sockets.iter().enumerate() {
                let mut octets = vec![0; 512];
                while let Ok(len) = socket.recv(&mut octets) {
                    got.push((worker, which, octets[..len].to_vec()));
                }
            }
        }
        std::thread::yield_now();
    }
    got.sort();
    got
}

/// A network namespace that lives as long as this sleeps.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let script = "ip link set lo up && ip addr add 10.9.0.1/24 brd 10.9.0.255 dev lo && echo up && exec sleep 1000";
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", script]).stdout(Stdio::piped());
        let mut sleeper = Self(command.spawn().expect("setpriv: this test needs util-linux"));
        let up = sleeper.0.stdout.take().unwrap().read_exact(&mut [0; 3]);
        up.expect("a network namespace: this test needs root and iproute2");
        sleeper
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_kernel_brings_every_packet_to_its_owner_once() {
    let namespace = Namespace::new();
    let inside = std::fs::File::open(format!("/proc/{}/ns/net", namespace.0.id())).unwrap();
    let run = move || {
        // Of this thread only.
        rustix::thread::move_into_link_name_space(inside.as_fd(), None).expect("root may change namespaces");
        let workers: Vec<_> = (0..WORKERS).map(sockets).collect();
        let sender = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).unwrap();
        sender.set_broadcast(true).unwrap();
        // To the server's address, to another one of this host, and to everybody.
        for (to, socket) in [(OWN, 1), (Ipv4Addr::new(10, 9, 0, 1), 0), (Ipv4Addr::new(10, 9, 0, 255), 0)] {
            let short = [(0, socket, b"short".to_vec())];
            let sent = macs(60).map(|mac| (worker_of(mac, WORKERS), socket, message(mac))).chain(short);
            let mut sent: Vec<_> = sent.collect();
            for (_, _, octets) in &sent {
                sender.send_to(octets, (to, PORT)).unwrap();
            }
            sent.sort();
            assert_eq!(receive(&workers, sent.len()), sent, "sent to {to}");
        }
    };
    std::thread::spawn(run).join().expect("the thread in its namespace");
}

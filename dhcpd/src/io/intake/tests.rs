//! What is served, in which order, and what is dropped, from real sockets.

use std::net::{Ipv4Addr, UdpSocket};

use super::*;

const SERVER_BUFFER_BYTES: usize = 16 << 20;

/// Numbers of the messages served.
#[derive(Default)]
struct Served {
    discovers: Vec<u32>,
    requests: Vec<u32>,
    /// What came, in order: `true` for a DISCOVER.
    order: Vec<bool>,
    /// Served since the last flush.
    unsent: usize,
}

impl Serve for Served {
    fn packet(&mut self, arrival: Arrival<'_>) {
        let number = u32::from_be_bytes(arrival.octets[4..8].try_into().unwrap());
        let discover = arrival.octets[242] == 1;
        if discover {
            self.discovers.push(number)
        } else {
            self.requests.push(number)
        }
        self.order.push(discover);
        self.unsent += 1;
        assert!(self.unsent <= FLUSH_AFTER, "replies wait");
    }

    fn flush(&mut self) {
        self.unsent = 0;
    }
}

struct Link {
    sender: UdpSocket,
    listeners: [Listener; 1],
    ready: [bool; 1],
    discovers: u32,
    requests: u32,
}

impl Link {
    fn new() -> Self {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(&receiver, SERVER_BUFFER_BYTES);
        forced.expect("a large buffer: this test needs root");
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        Self { sender, listeners: [receiver.into()], ready: [false], discovers: 0, requests: 0 }
    }

    fn send(&mut self, kind: u8, count: u32) {
        for _ in 0..count {
            let next = if kind == 1 { &mut self.discovers } else { &mut self.requests };
            let mut message = [0; 244];
            message[4..8].copy_from_slice(&next.to_be_bytes());
            message[240..].copy_from_slice(&[53, 1, kind, 255]);
            *next += 1;
            self.sender.send(&message).unwrap();
        }
    }

    /// One turn; says what was dropped.
    fn turn(&mut self, intake: &mut Intake, now: Millis, served: &mut Served) -> usize {
        self.ready = [true];
        intake.read(&self.listeners, &mut self.ready);
        intake.serve(now, served)
    }
}

#[test]
fn requests_go_before_discovers_and_each_in_its_order() {
    for coalesced in [false, true] {
        let (mut link, mut intake, mut served) = (Link::new(), Intake::new(coalesced, 8), Served::default());
        for _ in 0..3 {
            link.send(1, 2);
            link.send(3, 1);
        }
        assert_eq!(link.turn(&mut intake, Millis(0), &mut served), 0);
        assert_eq!(served.order, [false, false, false, true, true, true, true, true, true]);
        assert_eq!((served.requests, served.discovers), (vec![0, 1, 2], vec![0, 1, 2, 3, 4, 5]));
        assert!(intake.is_empty());
    }
}

#[test]
fn a_burst_that_fits_is_served_whole() {
    let (mut link, mut intake, mut served) = (Link::new(), Intake::new(false, 4_096), Served::default());
    link.send(1, 2_000);
    link.send(3, 50);
    let mut turns = 0;
    while served.order.len() < 2_050 {
        assert_eq!(link.turn(&mut intake, Millis(turns), &mut served), 0, "nothing is dropped");
        turns += 1;
        assert!(turns < 100, "{} of 2050 served", served.order.len());
    }
    served.discovers.sort_unstable();
    assert_eq!(served.discovers, (0..2_000).collect::<Vec<_>>(), "each once");
}

#[test]
fn when_a_burst_is_too_long_requests_that_came_last_overtake() {
    let (mut link, mut intake, mut served) = (Link::new(), Intake::new(false, 4_096), Served::default());
    link.send(1, 2 * BURST as u32);
    link.send(3, 50);
    let mut turns = 0;
    while served.requests.len() < 50 {
        assert_eq!(link.turn(&mut intake, Millis(turns), &mut served), 0, "nothing is dropped");
        turns += 1;
        assert!(turns < 100, "{} of 50 requests served", served.requests.len());
    }
    let before = served.discovers.len();
    assert!((BURST..BURST + BURST / 2).contains(&before), "{before} discovers were served before the requests");
}

#[test]
fn under_overload_every_request_is_served_at_once_and_the_stalest_discovers_are_dropped() {
    for coalesced in [false, true] {
        let mut intake = Intake::new(coalesced, 4 * TURN);
        intake.burst = 0;
        overload(intake, TURN);
    }
}

/// `at_once` messages are read in a turn, and as many come in each.
fn overload(mut intake: Intake, at_once: usize) {
    let (mut link, mut served) = (Link::new(), Served::default());
    let (requests, discovers) = (at_once / 10, at_once - at_once / 10);
    let mut shed = 0;
    for turn in 0..50 {
        // The kernel's queue never runs dry.
        link.send(3, requests as u32);
        link.send(1, if turn == 0 { 2 * discovers } else { discovers } as u32);
        let before = served.discovers.len();
        shed += link.turn(&mut intake, Millis(turn), &mut served);
        assert_eq!(served.discovers.len() - before, at_once / READ_WHILE_BEHIND);
        // Of what lay in the kernel for a turn, at most.
        assert!(
            link.requests as usize - served.requests.len() <= requests,
            "turn {turn}: {} requests",
            served.requests.len()
        );
    }
    assert!(shed > 20 * at_once, "{shed} dropped");
    let served_last = &served.discovers[served.discovers.len() - at_once / READ_WHILE_BEHIND..];
    assert!(
        served_last.iter().all(|&number| number as usize + 2 * at_once > link.discovers as usize),
        "the newest are served: {served_last:?}"
    );
    // The load ends: who still waits is served, except who has waited too long.
    let mut turns = 50;
    loop {
        shed += link.turn(&mut intake, Millis(turns), &mut served);
        turns += 1;
        if intake.is_empty() {
            break;
        }
    }
    assert!(turns < 60);
    assert_eq!(served.requests.len(), link.requests as usize);
    assert_eq!(served.discovers.len() + shed, link.discovers as usize, "each is served or counted");
    let mut unique = served.discovers.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), served.discovers.len(), "none twice");
}

//! A server and a client on a bad link, in simulated time: whatever is lost, doubled or out of order, the file arrives whole.
//!
//! Each run prints its seed; `REVEILLE_SEED=<n>` repeats one.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::packet::{Options, data_header};
use super::transfer::{Outcome, Transfer, Transmit};

/// splitmix64: enough for a simulation, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What the link does, in per cent of the datagrams (of DATA; of ACK and OACK), and how long it takes.
#[derive(Clone, Copy, Debug)]
struct Link {
    lost: u64,
    acks_lost: u64,
    doubled: u64,
    delay_micros: u64,
    jitter_micros: u64,
}

/// Datagrams on their way, by arrival.
#[derive(Default)]
struct Flight(BTreeMap<(Instant, u64), Vec<u8>>, u64);

impl Flight {
    fn send(&mut self, random: &mut Random, link: Link, now: Instant, datagram: Vec<u8>) {
        let copies = if random.below(100) < link.lost { 0 } else { 1 + u64::from(random.below(100) < link.doubled) };
        for _ in 0..copies {
            let micros = link.delay_micros + random.below(link.jitter_micros + 1);
            self.1 += 1;
            self.0.insert((now + Duration::from_micros(micros), self.1), datagram.clone());
        }
    }

    fn due(&self) -> Option<Instant> {
        self.0.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        self.0.pop_first().map(|(_, datagram)| datagram)
    }
}

/// RFC 7440's receiver, written from the RFC and not from the server.
struct Client {
    block_size: usize,
    window: u64,
    got: Vec<u8>,
    /// Blocks received in order.
    blocks: u64,
    since_ack: u64,
    gap_told: bool,
    done: bool,
    /// Its own timer: it repeats its last ACK.
    repeat_at: Instant,
}

impl Client {
    fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram[1] == 6 {
            return (self.blocks == 0).then(|| self.ack());
        }
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        if number != (self.blocks + 1) as u16 {
            // A block received before: its ACK may have been lost. A block behind a gap: say once where to go on.
            let before = number.wrapping_sub(self.blocks as u16) > 0x8000 || number == self.blocks as u16;
            let told = std::mem::replace(&mut self.gap_told, true);
            return (before || !told).then(|| self.ack());
        }
        self.repeat_at = now + Duration::from_secs(3);
        let payload = &datagram[4..];
        self.got.extend_from_slice(payload);
        self.blocks += 1;
        self.since_ack += 1;
        self.gap_told = false;
        self.done = payload.len() < self.block_size;
        (self.done || self.since_ack == self.window).then(|| self.ack())
    }

    fn ack(&mut self) -> Vec<u8> {
        self.since_ack = 0;
        [&[0, 4], (self.blocks as u16).to_be_bytes().as_slice()].concat()
    }
}

struct Report {
    outcome: Outcome,
    datagrams: u64,
    elapsed: Duration,
    intact: bool,
}

fn simulate(seed: u64, link: Link, options: Options, bytes: usize) -> Report {
    let mut random = Random(seed);
    let back = Link { lost: link.acks_lost, ..link };
    let file: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
    let start = Instant::now();
    let mut now = start;
    let mut server = Transfer::new(now, &options, bytes as u64);
    let mut client = Client {
        block_size: options.block_size.unwrap_or(512).into(),
        window: options.window_blocks.unwrap_or(1).min(64).into(),
        got: Vec::new(),
        blocks: 0,
        since_ack: 0,
        gap_told: false,
        done: false,
        repeat_at: now + Duration::from_secs(3),
    };
    let (mut to_client, mut to_server) = (Flight::default(), Flight::default());
    let mut datagrams = 0;
    loop {
        while let Some(transmit) = server.poll_transmit(now) {
            match transmit {
                Transmit::Datagram(datagram) => to_client.send(&mut random, back, now, datagram),
                Transmit::Blocks(run) => {
                    for i in 0..run.blocks {
                        let one = run.skip(i);
                        let at = one.offset as usize;
                        let len = one.bytes.min(run.block_size.into());
                        let datagram = [data_header(one.first_block).as_slice(), &file[at..at + len]].concat();
                        to_client.send(&mut random, link, now, datagram);
                        datagrams += 1;
                    }
                }
            }
        }
        if let Some(outcome) = server.outcome() {
            let (outcome, elapsed) = (outcome.clone(), now - start);
            return Report { outcome, datagrams, elapsed, intact: client.got == file };
        }
        // A client that has everything closes its socket after its last ACK: it answers no repetition, and has no timer.
        let repeat_at = (!client.done).then_some(client.repeat_at);
        let due = [to_client.due(), to_server.due(), server.poll_timeout(), repeat_at];
        now = due.into_iter().flatten().min().expect("something is always due while a transfer lasts");
        assert!(now - start < Duration::from_secs(3_600), "seed {seed}: not over after an hour");
        if to_client.due() == Some(now) {
            let datagram = to_client.take().unwrap();
            if !client.done
                && let Some(ack) = client.handle(now, &datagram)
            {
                to_server.send(&mut random, back, now, ack);
            }
        } else if to_server.due() == Some(now) {
            let datagram = to_server.take().unwrap();
            server.handle_datagram(now, &datagram);
        } else if repeat_at == Some(now) {
            client.repeat_at = now + Duration::from_secs(3);
            client.gap_told = false;
            let ack = client.ack();
            to_server.send(&mut random, back, now, ack);
        } else {
            server.handle_timeout(now);
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("REVEILLE_SEED") {
        Ok(seed) => vec![seed.parse().expect("REVEILLE_SEED is a number")],
        Err(_) => (0..count).map(|i| RandomState::new().hash_one(i)).collect(),
    }
}

#[test]
fn arrives_whole_over_bad_links() {
    for seed in seeds(400) {
        let mut random = Random(!seed);
        let link = Link {
            lost: random.below(25),
            acks_lost: random.below(25),
            doubled: random.below(30),
            delay_micros: 50 + random.below(20_000),
            jitter_micros: random.below(10_000),
        };
        let options = Options {
            block_size: [None, Some(8), Some(512), Some(1_468), Some(8_192)][random.below(5) as usize],
            window_blocks: [None, Some(1), Some(2), Some(16), Some(64)][random.below(5) as usize],
            timeout_secs: [None, Some(1)][random.below(2) as usize],
            transfer_size: random.below(2) == 1,
        };
        let bytes = random.below(40 * u64::from(options.block_size.unwrap_or(512))) as usize;
        println!("seed {seed}: {link:?} {options:?} {bytes} octets");
        let report = simulate(seed, link, options, bytes);
        match report.outcome {
            Outcome::Complete => assert!(report.intact, "seed {seed}: the octets differ"),
            Outcome::LastAckMissing if report.intact => {}
            // Everything can be lost often enough, but not on a fair link.
            Outcome::TimedOut | Outcome::LastAckMissing => {
                assert!(link.lost.max(link.acks_lost) > 10, "seed {seed}: timed out on a fair link")
            }
            other => panic!("seed {seed}: ended with {other:?}"),
        }
    }
}

/// The Sorcerer's Apprentice: on a link that doubles everything and loses nothing, no block goes out twice.
#[test]
fn doubled_datagrams_do_not_multiply() {
    for seed in seeds(50) {
        for window_blocks in [None, Some(8)] {
            println!("seed {seed}, window {window_blocks:?}");
            let link = Link { lost: 0, acks_lost: 0, doubled: 100, delay_micros: 5_000, jitter_micros: 0 };
            let options = Options { window_blocks, ..Options::NONE };
            let report = simulate(seed, link, options, 512 * 300 + 1);
            assert_eq!(
                (report.outcome, report.datagrams, report.intact),
                (Outcome::Complete, 301, true),
                "seed {seed}"
            );
        }
    }
}

/// A lost block costs about a round trip where the window shows the gap, not the timeout of a second.
#[test]
fn gaps_are_mended_within_round_trips() {
    for seed in seeds(50) {
        println!("seed {seed}");
        let link = Link { lost: 2, acks_lost: 0, doubled: 0, delay_micros: 1_000, jitter_micros: 0 };
        let options = Options { window_blocks: Some(16), block_size: Some(1_468), ..Options::NONE };
        let report = simulate(seed, link, options, 1_468 * 1_000);
        assert!(report.intact && report.outcome != Outcome::TimedOut, "seed {seed}: {:?}", report.outcome);
        // Some 80 windows of 2 ms. Only the loss of a window's last block waits for the timeout of 200 ms (about one time); without the
        // early repair each of the ~20 losses would.
        assert!(report.elapsed < Duration::from_millis(2_500), "seed {seed}: took {:?}", report.elapsed);
        assert!(report.datagrams < 2_000, "seed {seed}: {} datagrams for 1,001 blocks", report.datagrams);
    }
}

//! Random clients, clock jumps, API calls and crashes against a reference model of what clients were told.
//!
//! Held for every sequence of events: no address is promised to two clients at once, whatever is lost in a crash; no address is offered to two
//! clients at once; and every promise is kept: a client that renews within its lease gets the same address.

use std::collections::HashMap;

use proptest::prelude::*;

use super::harness::Server;
use super::*;

const CLIENTS: u8 = 7;

#[derive(Debug, Clone)]
enum Step {
    Discover(u8),
    /// REQUEST what was offered last.
    Select(u8),
    /// REQUEST what was offered last, and power is lost before the disk has it.
    SelectAndCrash(u8, u64),
    Renew(u8),
    Reboot(u8),
    /// REQUEST some address.
    Grab(u8, u8),
    Release(u8),
    Decline(u8),
    Reserve(u8, u8),
    Unreserve(u8),
    Advance(u16),
    /// The wall clock is set; monotonic time goes on.
    SetClock(i16),
    Crash(u64),
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let c = 0..CLIENTS;
    let step = prop_oneof![
        6 => c.clone().prop_map(Step::Discover),
        8 => c.clone().prop_map(Step::Select),
        1 => (c.clone(), any::<u64>()).prop_map(|(c, seed)| Step::SelectAndCrash(c, seed)),
        4 => c.clone().prop_map(Step::Renew),
        3 => c.clone().prop_map(Step::Reboot),
        2 => (c.clone(), 0u8..8).prop_map(|(c, a)| Step::Grab(c, a)),
        2 => c.clone().prop_map(Step::Release),
        1 => c.clone().prop_map(Step::Decline),
        2 => (c.clone(), 0u8..8).prop_map(|(c, a)| Step::Reserve(c, a)),
        1 => c.prop_map(Step::Unreserve),
        4 => (1u16..3_000).prop_map(Step::Advance),
        1 => any::<i16>().prop_map(Step::SetClock),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::Snapshot),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What a client believes it was promised.
#[derive(Debug, Clone, Copy)]
struct Promise {
    address: Ipv4Addr,
    until: Millis,
    /// The same by the server's wall clock, which is all that a restart knows.
    until_unix: u64,
}

/// The reference model.
#[derive(Default)]
struct Told {
    promises: HashMap<u8, Promise>,
    offers: HashMap<u8, (Ipv4Addr, Millis)>,
    reserved: HashMap<u8, Ipv4Addr>,
}

impl Told {
    fn promise(&self, c: u8, now: Now) -> Option<Promise> {
        self.promises.get(&c).copied().filter(|promise| promise.until > now.monotonic)
    }

    /// Takes in an answer to client `c` and checks it against what others were told.
    fn hear(&mut self, c: u8, answer: Option<Answer>, now: Now) {
        let Some(answer) = answer else { return };
        let others = || (0..CLIENTS).filter(|&other| other != c);
        match answer.kind {
            Wire::Offer => {
                for other in others() {
                    let held = self.offers.get(&other).filter(|(_, until)| *until > now.monotonic);
                    assert_ne!(
                        held.map(|(address, _)| *address),
                        Some(answer.address),
                        "offered to {other} and to {c}"
                    );
                    let promised = self.promise(other, now).map(|promise| promise.address);
                    assert_ne!(promised, Some(answer.address), "promised to {other}, offered to {c}");
                }
                self.offers.insert(c, (answer.address, now.monotonic.plus_secs(60)));
            }
            Wire::Ack => {
                for other in others() {
                    let promised = self.promise(other, now).map(|promise| promise.address);
                    assert_ne!(promised, Some(answer.address), "promised to {other} and to {c}");
                }
                let until = now.monotonic.plus_secs(answer.secs);
                let until_unix = u64::from(now.unix.0) + u64::from(answer.secs);
                self.promises.insert(c, Promise { address: answer.address, until, until_unix });
                self.offers.remove(&c);
            }
            Wire::Nak => _ = self.promises.remove(&c),
            other => panic!("a server does not send {other:?}"),
        }
    }

    /// A restart knows only the wall clock: where that was set forward meanwhile, promises end the earlier.
    fn restarted(&mut self, now: Now) {
        self.offers.clear();
        for promise in self.promises.values_mut() {
            let left = promise.until_unix.saturating_sub(u64::from(now.unix.0));
            promise.until = promise.until.min(Millis(now.monotonic.0 + left * 1_000));
        }
    }
}

fn address(a: u8) -> Ipv4Addr {
    // Six in the pool, two outside.
    if a < 6 { ip(2, 100 + a) } else { ip(2, 60 + a) }
}

fn run(workers: usize, steps: Vec<Step>) {
    let changes = [
        ("10.77.2.100-10.77.2.109", "10.77.2.100-10.77.2.105"),
        ("lease_secs = 3600", "lease_secs = 3600\ndecline_secs = 2000"),
    ];
    let mut server = Server::with_workers(&changes, workers);
    let mut told = Told::default();
    for step in steps {
        let now = server.now;
        match step {
            Step::Discover(c) => told.hear(c, server.send(&Packet::discover(client(c))), now),
            Step::Select(c) => {
                if let Some((address, _)) = told.offers.get(&c).copied() {
                    told.hear(c, server.send(&Packet::select(client(c), SERVER, address)), now);
                }
            }
            Step::SelectAndCrash(c, seed) => {
                let Some((address, _)) = told.offers.get(&c).copied() else { continue };
                server.disk.hold();
                server.deliver(&Packet::select(client(c), SERVER, address), "vp0");
                server.poll();
                for answer in server.answers() {
                    // Possible only for what was on the disk before.
                    told.hear(c, Some(answer), now);
                }
                let disk = server.disk.crash(Loss::Random(seed));
                server = server.restart_on(disk);
                told.restarted(now);
            }
            Step::Renew(c) => {
                let Some(promise) = told.promise(c, now) else { continue };
                let answer = server.send(&Packet::renew(client(c), promise.address));
                let moved = told.reserved.get(&c).is_some_and(|reserved| *reserved != promise.address);
                let outside = !told.reserved.contains_key(&c) && promise.address.octets()[3] < 100;
                if !moved && !outside {
                    let answer = answer.expect("a promise is kept");
                    assert_eq!((answer.kind, answer.address), (Wire::Ack, promise.address), "a promise is kept");
                }
                told.hear(c, answer, now);
            }
            Step::Reboot(c) => {
                let Some(promise) = told.promises.get(&c).copied() else { continue };
                told.hear(c, server.send(&Packet::request(client(c)).asks(promise.address)), now);
            }
            Step::Grab(c, a) => told.hear(c, server.send(&Packet::select(client(c), SERVER, address(a))), now),
            Step::Release(c) => {
                let Some(promise) = told.promises.remove(&c) else { continue };
                server.send(&Packet::release(client(c), promise.address));
            }
            Step::Decline(c) => {
                let Some(promise) = told.promises.remove(&c) else { continue };
                server.send(&Packet::decline(client(c), promise.address));
            }
            Step::Reserve(c, a) => {
                if let Ok(put) = server.put(draft(&server, "prov", client(c), Some(address(a)))) {
                    for other in (0..CLIENTS).filter(|&other| other != c) {
                        let promised = told.promise(other, now).map(|promise| promise.address);
                        assert_ne!(promised, Some(put.reservation.address), "promised to {other}, reserved for {c}");
                    }
                    told.reserved.insert(c, put.reservation.address);
                }
            }
            Step::Unreserve(c) => {
                server.delete("prov", client(c)).unwrap();
                told.reserved.remove(&c);
            }
            Step::Advance(secs) => server.advance(secs.into()),
            Step::SetClock(secs) => {
                server.now.unix = crate::proto::time::UnixSecs(server.now.unix.0.saturating_add_signed(secs.into()));
            }
            Step::Crash(seed) => {
                server = server.crash(Loss::Random(seed));
                told.restarted(now);
            }
            Step::Snapshot => server.snapshot(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn random_and_cut_packets_are_not_answered_and_change_nothing(octets in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..260) {
        let mut server = Server::new(&[]);
        let good = Packet::select(client(1), SERVER, ip(2, 101)).option(12, b"host").option(61, &[1; 20]).octets();
        // The last cut leaves the message whole but for END, which is no fault.
        for octets in [&octets[..], &good[..cut.min(good.len() - 2)]] {
            for link in 0..2 {
                let arrival = Arrival { octets, link, from: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), broadcast: true };
                server.engines[0].handle_packet(server.now, arrival);
            }
        }
        server.settle();
        // A cut may fall between two options of a good message; what is left is then a message of its own.
        let whole = cut >= 240 && Parser::default().parse(&good[..cut.min(good.len() - 2)]).is_ok();
        if !whole {
            prop_assert_eq!(server.answers(), vec![]);
            prop_assert_eq!(server.store.journal.stats().records, 0);
            prop_assert_eq!(server.model().sightings().len() + server.leases().len(), 0);
        }
    }

    #[test]
    fn no_address_is_promised_twice_and_every_promise_is_kept(workers in 1usize..4, steps in steps()) {
        run(workers, steps);
    }
}

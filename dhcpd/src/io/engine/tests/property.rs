//! Random clients, relays, clock jumps, API calls, reloads and crashes against a reference model of what clients were told.
//!
//! Held for every sequence of events: no address is promised to two clients at once, whatever is lost in a crash; no address is offered to two
//! clients at once; every promise is kept: a client that renews within its lease gets the same address; and a lease query tells whose it is. The same holds on
//! one scope, on two that share a link, and for clients that go by their identifier and change their hardware address.

use std::collections::HashMap;

use proptest::prelude::*;

use super::harness::{Server, World};
use super::*;
use crate::proto::identity::IdentifiedBy;
use crate::proto::pool::AddressMask;
use crate::proto::reply::Reply;
use crate::proto::scope::{Network, NetworkIndex, Scopes};
use crate::proto::testing::reservation_for;
use crate::store::reservation::PutError;
use reveille_config::dhcpd::{ReservedFor, ScopeKind};
use reveille_config::{AddressRange, Octets};

const CLIENTS: u8 = 7;
/// The client that has `.102` by its identifier, and the one that has `.61` by its port.
const BY_ID: u8 = 5;
const BY_PORT: u8 = 6;
const FOR_ID: Ipv4Addr = ip(2, 102);
const FOR_PORT: Ipv4Addr = ip(2, 61);

#[derive(Debug, Clone)]
enum Step {
    Discover(u8, Way),
    /// REQUEST what was offered last.
    Select(u8, Way),
    /// The same, and the relay delivers it more than once.
    SelectInCopies(u8),
    /// REQUEST what was offered last, and power is lost before the disk has it.
    SelectAndCrash(u8, u64),
    /// DISCOVER with option 80.
    RapidCommit(u8, Way),
    Bootp(u8),
    Renew(u8, Way),
    Reboot(u8, Way),
    /// REQUEST some address.
    Grab(u8, u8),
    Release(u8),
    Decline(u8),
    Inform(u8),
    Query(u8),
    Reserve(u8, u8),
    Unreserve(u8),
    /// A reservation by the client's identifier or by its port.
    ReserveOther(u8, Other, u8),
    UnreserveOther(u8, Other),
    /// The configuration is read again, with renewals answered from disk or not.
    Reload(bool),
    Advance(u16),
    /// The wall clock is set; monotonic time goes on.
    SetClock(i16),
    Crash(u64),
    Snapshot,
}

/// By what a reservation is for a client, if not by its hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Other {
    Id,
    Port,
}

impl Other {
    fn of(self, c: u8) -> ReservedFor {
        match self {
            Self::Id => ReservedFor::ClientId(Octets(id(c).to_vec())),
            Self::Port => ReservedFor::Circuit { circuit_id: Octets(vec![c]), remote_id: Octets(b"tor".to_vec()) },
        }
    }
}

/// How a message comes, and from which of the client's two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    relayed: bool,
    other_interface: bool,
}

const DIRECT: Way = Way { relayed: false, other_interface: false };

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let c = 0..CLIENTS;
    let way = || any::<(bool, bool)>().prop_map(|(relayed, other_interface)| Way { relayed, other_interface });
    let comes = (c.clone(), way());
    let other = || prop_oneof![Just(Other::Id), Just(Other::Port)];
    let step = prop_oneof![
        6 => comes.clone().prop_map(|(c, way)| Step::Discover(c, way)),
        8 => comes.clone().prop_map(|(c, way)| Step::Select(c, way)),
        1 => c.clone().prop_map(Step::SelectInCopies),
        1 => (c.clone(), any::<u64>()).prop_map(|(c, seed)| Step::SelectAndCrash(c, seed)),
        2 => comes.clone().prop_map(|(c, way)| Step::RapidCommit(c, way)),
        1 => (0u8..2).prop_map(Step::Bootp),
        4 => comes.clone().prop_map(|(c, way)| Step::Renew(c, way)),
        3 => comes.prop_map(|(c, way)| Step::Reboot(c, way)),
        2 => (c.clone(), 0u8..10).prop_map(|(c, a)| Step::Grab(c, a)),
        2 => c.clone().prop_map(Step::Release),
        1 => c.clone().prop_map(Step::Decline),
        1 => c.clone().prop_map(Step::Inform),
        2 => c.clone().prop_map(Step::Query),
        2 => (c.clone(), 0u8..10).prop_map(|(c, a)| Step::Reserve(c, a)),
        1 => c.clone().prop_map(Step::Unreserve),
        2 => (c.clone(), other(), 0u8..10).prop_map(|(c, by, a)| Step::ReserveOther(c, by, a)),
        1 => (c, other()).prop_map(|(c, by)| Step::UnreserveOther(c, by)),
        1 => any::<bool>().prop_map(Step::Reload),
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
    /// Over the API, by other identities.
    others: HashMap<(u8, Other), Ipv4Addr>,
}

impl Told {
    fn promise(&self, c: u8, now: Now) -> Option<Promise> {
        self.promises.get(&c).copied().filter(|promise| promise.until > now.monotonic)
    }

    /// Takes in an answer to client `c` and checks it against what others were told.
    fn hear(&mut self, c: u8, answer: Option<Answer>, now: Now) {
        let Some(answer) = answer else { return };
        match answer.kind {
            Wire::Offer => {
                for other in (0..CLIENTS).filter(|&other| other != c) {
                    let held = self.offers.get(&other).filter(|(_, until)| *until > now.monotonic);
                    let held = held.map(|(address, _)| *address);
                    assert_ne!(held, Some(answer.address), "offered to {other} and to {c}");
                }
                self.is_nobody_elses(c, answer.address, now);
                self.offers.insert(c, (answer.address, now.monotonic.plus_secs(60)));
            }
            Wire::Ack => self.promised(c, answer.address, answer.secs, now),
            Wire::Nak => _ = self.promises.remove(&c),
            other => panic!("a server does not send {other:?}"),
        }
    }

    fn promised(&mut self, c: u8, address: Ipv4Addr, secs: u32, now: Now) {
        self.is_nobody_elses(c, address, now);
        let until = now.monotonic.plus_secs(secs);
        let until_unix = u64::from(now.unix.0) + u64::from(secs);
        self.promises.insert(c, Promise { address, until, until_unix });
        self.offers.remove(&c);
    }

    fn is_nobody_elses(&self, c: u8, address: Ipv4Addr, now: Now) {
        let reserved = self.others.iter().find(|((of, _), reserved)| *of != c && **reserved == address);
        assert_eq!(reserved, None, "reserved for another, told to {c}");
        for other in (0..CLIENTS).filter(|&other| other != c) {
            let promised = self.promise(other, now).map(|promise| promise.address);
            assert_ne!(promised, Some(address), "promised to {other}, told to {c}");
        }
    }

    /// A restart knows only the wall clock: where that was set forward meanwhile, promises end the earlier.
    fn restarted(&mut self, now: Now) {
        self.offers.clear();
        for promise in self.promises.values_mut() {
            let left = promise.until_unix.saturating_sub(u64::from(now.unix.0));
            promise.until = promise.until.min(Millis(now.monotonic.0.saturating_add(left.saturating_mul(1_000))));
        }
    }

    /// Whether a renewal of `address` may be refused: the client has a reservation of another one, or the address is not for everybody.
    fn may_move(&self, c: u8, address: Ipv4Addr) -> bool {
        let others = self.others.iter().filter(|((of, _), _)| *of == c).map(|(_, reserved)| reserved);
        let elsewhere = self.reserved.get(&c).into_iter().chain(others).any(|reserved| *reserved != address);
        let by_configuration = [BY_ID, BY_PORT].contains(&c);
        let kept = [FOR_ID, FOR_PORT].contains(&address);
        let outside = !self.reserved.contains_key(&c) && address.octets()[3] < 100;
        elsewhere || by_configuration || kept || outside
    }
}

fn address(a: u8) -> Ipv4Addr {
    // Six in the pool, two outside, two on the other subnet.
    match a {
        0..6 => ip(2, 100 + a),
        6 | 7 => ip(2, 60 + a),
        _ => ip(1, 92 + a),
    }
}

/// Where the network of the test lies among the configuration's.
const PROV: NetworkIndex = NetworkIndex(1);

/// Reservations by client identifier and by port.
fn one_scope(scopes: &mut Scopes) {
    let (_, scopes) = scopes.parts_mut();
    let prov = &mut scopes[1];
    prov.reservations.push(reservation_for(Other::Id.of(BY_ID), FOR_ID));
    prov.reservations.push(reservation_for(Other::Port.of(BY_PORT), FOR_PORT));
    let kept = [FOR_ID, FOR_PORT].map(|address| AddressRange::new(address, address).unwrap());
    prov.kept = AddressMask::new(prov.subnet, kept);
}

/// The BMCs' scope becomes a second one on the link, open to all.
fn shared_link(scopes: &mut Scopes) {
    one_scope(scopes);
    let (networks, scopes) = scopes.parts_mut();
    let interface = scopes[1].interface.clone();
    let bmc = &mut scopes[0];
    (bmc.kind, bmc.network, bmc.interface) = (ScopeKind::Dynamic, PROV, interface);
    (bmc.bootp, bmc.rapid_commit) = (true, true);
    networks[1].scopes = [ScopeIndex(1), ScopeIndex(0)].into();
}

fn by_identifier(networks: &mut [Network]) {
    networks.iter_mut().for_each(|network| network.identified_by = IdentifiedBy::ClientId);
}

fn identifiers(scopes: &mut Scopes) {
    one_scope(scopes);
    by_identifier(scopes.parts_mut().0);
}

fn identifiers_on_a_shared_link(scopes: &mut Scopes) {
    shared_link(scopes);
    by_identifier(scopes.parts_mut().0);
}

/// Every kind of network, and whether its clients go by their identifier.
const WORLDS: [(World, bool); 4] =
    [(one_scope, false), (shared_link, false), (identifiers, true), (identifiers_on_a_shared_link, true)];

const BASE: [(&str, &str); 3] = [
    ("10.77.2.100-10.77.2.109", "10.77.2.100-10.77.2.105"),
    ("lease_secs = 3600", "lease_secs = 3600\ndecline_secs = 2000\nbootp = true\nrapid_commit = true"),
    ("[dhcpd]", "[dhcpd]\nleasequery = [\"10.77.2.254/32\"]"),
];

fn id(c: u8) -> [u8; 4] {
    [0, b'i', b'd', c]
}

fn run(workers: usize, (world, by_identifier): (World, bool), steps: Vec<Step>) {
    let mut server = Server::in_world(world, &BASE, workers);
    let mut told = Told::default();
    let mac = |c: u8, way: Way| if by_identifier && way.other_interface { client(c + 100) } else { client(c) };
    let comes = |packet: Packet, c: u8, way: Way| {
        let packet = packet.option(code::CLIENT_ID, &id(c));
        if !way.relayed {
            return packet;
        }
        let agent = [&[1, 1, c, 2, 3][..], b"tor"].concat();
        packet.relayed_by(ip(2, 254)).option(code::RELAY_AGENT, &agent)
    };
    for step in steps {
        let now = server.now;
        let send = |server: &mut Server, packet: Packet, c, way| server.send(&comes(packet, c, way));
        match step {
            Step::Discover(c, way) => {
                let answer = send(&mut server, Packet::discover(mac(c, way)), c, way);
                told.hear(c, answer, now);
            }
            Step::Select(c, way) => {
                if let Some((address, _)) = told.offers.get(&c).copied() {
                    let answer = send(&mut server, Packet::select(mac(c, way), SERVER, address), c, way);
                    told.hear(c, answer, now);
                }
            }
            Step::SelectInCopies(c) => {
                let Some((address, _)) = told.offers.get(&c).copied() else { continue };
                let way = Way { relayed: true, ..DIRECT };
                let packet = comes(Packet::select(client(c), SERVER, address), c, way);
                (0..3).for_each(|_| server.deliver(&packet, "vp0"));
                server.settle();
                server.answers().into_iter().for_each(|answer| told.hear(c, Some(answer), now));
            }
            Step::SelectAndCrash(c, seed) => {
                let Some((address, _)) = told.offers.get(&c).copied() else { continue };
                server.disk.hold();
                server.deliver(&comes(Packet::select(client(c), SERVER, address), c, DIRECT), "vp0");
                server.poll();
                for answer in server.answers() {
                    // Possible only for what was on the disk before.
                    told.hear(c, Some(answer), now);
                }
                let disk = server.disk.crash(Loss::Random(seed));
                server = server.restart_on(disk);
                told.restarted(now);
            }
            Step::RapidCommit(c, way) => {
                let packet = Packet::discover(mac(c, way)).option(code::RAPID_COMMIT, &[]);
                let answer = send(&mut server, packet, c, way);
                assert!(answer.is_none_or(|answer| answer.kind == Wire::Ack));
                told.hear(c, answer, now);
            }
            Step::Bootp(c) => {
                server.deliver(&comes(Packet::bootp(client(c)), c, DIRECT), "vp0");
                server.settle();
                for Reply { octets, .. } in server.replies() {
                    let address = Ipv4Addr::from(*octets[16..].first_chunk::<4>().unwrap());
                    told.promised(c, address, u32::MAX, now);
                }
            }
            Step::Renew(c, way) => {
                let Some(promise) = told.promise(c, now) else { continue };
                let answer = send(&mut server, Packet::renew(mac(c, way), promise.address), c, way);
                // A reservation by hardware address is for one of its interfaces.
                let outside = by_identifier && way.other_interface && promise.address.octets()[3] < 100;
                if !outside && !told.may_move(c, promise.address) {
                    let answer = answer.expect("a promise is kept");
                    assert_eq!((answer.kind, answer.address), (Wire::Ack, promise.address), "a promise is kept");
                }
                told.hear(c, answer, now);
            }
            Step::Reboot(c, way) => {
                let Some(promise) = told.promises.get(&c).copied() else { continue };
                let answer = send(&mut server, Packet::request(mac(c, way)).asks(promise.address), c, way);
                told.hear(c, answer, now);
            }
            Step::Grab(c, a) => {
                let answer = send(&mut server, Packet::select(client(c), SERVER, address(a)), c, DIRECT);
                told.hear(c, answer, now);
            }
            Step::Release(c) => {
                let Some(promise) = told.promises.remove(&c) else { continue };
                // What it was offered meanwhile goes to others at once.
                told.offers.remove(&c);
                send(&mut server, Packet::release(client(c), promise.address), c, DIRECT);
            }
            Step::Decline(c) => {
                let Some(promise) = told.promises.remove(&c) else { continue };
                told.offers.remove(&c);
                send(&mut server, Packet::decline(client(c), promise.address), c, DIRECT);
            }
            Step::Inform(c) => {
                let answer = send(&mut server, Packet::inform(client(c), ip(2, 9)), c, DIRECT);
                assert!(answer.is_none_or(|ack| ack.address.is_unspecified() && ack.secs == 0), "it promises nothing");
            }
            Step::Query(c) => {
                let Some(promise) = told.promise(c, now) else { continue };
                let query = Packet::new(10, MacAddr::default()).at(1, &[0, 0]).relayed_by(ip(2, 254));
                server.deliver(&query.at(12, &promise.address.octets()), "vp0");
                server.settle();
                let replies = server.replies();
                assert_eq!(replies.len(), 1);
                let octets = &replies[0].octets;
                let holder = MacAddr(*octets[28..].first_chunk::<6>().unwrap());
                // By the wall clock alone, which may have been set, the lease may look as if it were over.
                let told_active = octets[242] == 13;
                assert!(
                    !told_active || [client(c), client(c + 100)].contains(&holder),
                    "{holder} holds what {c} was told"
                );
                assert!(told_active || promise.until_unix <= u64::from(now.unix.0), "a promise is shown");
            }
            Step::Reserve(c, a) => {
                let at = address(a);
                let scope = if at.octets()[2] == 2 { "prov" } else { "bmc" };
                if let Ok(put) = server.put(draft(&server, scope, client(c), Some(at))) {
                    told.is_nobody_elses(c, put.reservation.address, now);
                    told.reserved.insert(c, put.reservation.address);
                }
            }
            Step::Unreserve(c) => {
                for scope in ["prov", "bmc"] {
                    server.delete(scope, client(c)).unwrap();
                }
                told.reserved.remove(&c);
            }
            Step::ReserveOther(c, by, a) => {
                let at = address(a);
                let scope = if at.octets()[2] == 2 { "prov" } else { "bmc" };
                if let Ok(put) = server.put(draft(&server, scope, by.of(c), Some(at))) {
                    told.is_nobody_elses(c, put.reservation.address, now);
                    told.others.insert((c, by), put.reservation.address);
                }
            }
            Step::UnreserveOther(c, by) => {
                for scope in ["prov", "bmc"] {
                    // Two of them are the configuration's.
                    let deleted = server.delete(scope, by.of(c));
                    assert!(matches!(deleted, Ok(_) | Err(PutError::Configured(_))));
                }
                told.others.remove(&(c, by));
            }
            Step::Reload(cached) => {
                let changes = [BASE[0], ("lease_secs = 3600", UNCACHED), BASE[2]];
                server.reload(if cached { &BASE } else { &changes });
            }
            Step::Advance(secs) => server.advance(secs.into()),
            Step::SetClock(secs) => {
                server.now.unix = crate::proto::time::UnixSecs(server.now.unix.0.saturating_add_signed(secs.into()));
            }
            Step::Crash(seed) => {
                server = server.crash(Loss::Random(seed));
                told.restarted(now);
                for ((c, by), address) in &told.others {
                    let own = server.model().reserved_at(*address);
                    assert_eq!(own.map(|own| own.client.clone()), Some(by.of(*c)), "it was answered, so it is there");
                }
            }
            Step::Snapshot => server.snapshot(),
        }
    }
}

const UNCACHED: &str =
    "lease_secs = 3600\ndecline_secs = 2000\nbootp = true\nrapid_commit = true\ncache_threshold_percent = 0";

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
        // A cut may fall between two options of a good message, or into one; what is whole before it is then a message of its own.
        let whole = cut >= 240 && Parser::default().parse(&good[..cut.min(good.len() - 2)]).is_ok();
        if !whole {
            prop_assert_eq!(server.answers(), vec![]);
            prop_assert_eq!(server.store.journal.stats().records, 0);
            prop_assert_eq!(server.model().sightings().len() + server.leases().len(), 0);
        }
    }

    #[test]
    fn no_address_is_promised_twice_and_every_promise_is_kept(workers in 1usize..4, world in 0usize..4, steps in steps()) {
        run(workers, WORLDS[world], steps);
    }
}

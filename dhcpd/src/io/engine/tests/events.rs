//! Events: which are durable, in which order, and that a restart loses none and tells none twice.

use super::*;
use crate::proto::time::UnixSecs;
use crate::store::event::RawEvent;

impl Server {
    /// The durable events that are known, once the journal's reader has caught up.
    pub(super) fn durable_events(&self) -> Vec<RawEvent> {
        self.catch_up();
        let unseen = self.store.shared.events.durable.after(0, usize::MAX);
        unseen.blocks.iter().flat_map(|block| block.iter().copied()).collect()
    }

    /// The transient events that are known.
    pub(super) fn transient_events(&self) -> Vec<RawEvent> {
        self.store.shared.events.transient.after(0, usize::MAX).events.into_iter().map(|(_, event)| event).collect()
    }

    /// Rounds until so many durable events are known; what an engine notes by itself has nobody who waits for it.
    fn until_told(&mut self, events: usize) -> Vec<RawEvent> {
        self.until("events are told", |server| server.durable_events().len() >= events);
        self.durable_events()
    }
}

/// What tells one event from another, over a restart too: the time to its second.
fn facts(events: &[RawEvent]) -> Vec<(u64, EventKind, MacAddr, Option<Ipv4Addr>, u32, u64)> {
    let fact = |event: &RawEvent| {
        let RawEvent { journal_sequence, kind, mac, address, amount, at_unix_millis, .. } = *event;
        (journal_sequence, kind, mac, address, amount, at_unix_millis / 1_000)
    };
    events.iter().map(fact).collect()
}

fn kinds(events: &[RawEvent]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

#[test]
fn the_journal_tells_its_story_again_after_a_restart_and_after_a_snapshot() {
    use EventKind::{Bound, Declined, Expired, Released, Renewed};
    let mut server = Server::new(&[]);
    let first = server.bind(client(1));
    server.advance(2_000);
    server.send(&Packet::renew(client(1), first));
    server.send(&Packet::release(client(1), first));
    let second = server.bind(client(2));
    server.send(&Packet::decline(client(2), second));
    let third = server.bind(client(3));
    server.advance(3_601);
    let told = server.until_told(7);
    assert_eq!(kinds(&told), [Bound, Renewed, Released, Bound, Declined, Bound, Expired]);
    assert_eq!(told.iter().map(|event| event.journal_sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((told[0].amount, told[0].address, told[6].address), (3_600, Some(first), Some(third)));
    assert!(told.iter().all(|event| event.mac != MacAddr::default()));

    let mut server = server.crash(Loss::Everything);
    server.poll();
    assert_eq!(facts(&server.durable_events()), facts(&told), "replayed, and no end told twice");
    server.snapshot();
    let again = server.bind(client(3));
    let mut after = told.clone();
    after.push(*server.durable_events().last().unwrap());
    assert_eq!((after[7].kind, after[7].address), (Bound, Some(again)), "a lease that had run out is bound anew");
    for _ in 0..2 {
        server = server.crash(Loss::Everything);
        server.poll();
        assert_eq!(facts(&server.durable_events()), facts(&after), "kept by the snapshot");
        server.snapshot();
    }
    let unseen = server.store.shared.events.durable.after(3, 100);
    assert_eq!((unseen.lost, unseen.through), (None, 8), "a reader resumes over restarts");
}

#[test]
fn a_lease_that_ends_while_the_server_is_down_is_told_once() {
    let mut server = Server::new(&[]);
    let address = server.bind(client(1));
    let disk = server.disk.crash(Loss::Everything);
    server.now.unix = UnixSecs(server.now.unix.0 + 4_000);
    server.now.monotonic = Millis(server.now.monotonic.0 + 4_000_000);
    let mut server = server.restart_on(disk);
    let told = server.until_told(2);
    assert_eq!((kinds(&told), told[1].address), (vec![EventKind::Bound, EventKind::Expired], Some(address)));
    server.snapshot();
    let mut server = server.crash(Loss::Everything);
    for _ in 0..3 {
        server.advance(1);
        server.poll();
    }
    assert_eq!(server.durable_events().len(), 2);
    assert_eq!(server.bind(client(1)), address, "and kept for its client");
}

#[test]
fn the_end_of_a_lease_waits_while_the_journal_refuses() {
    let mut server = Server::new(&[SMALL]);
    server.bind(client(1));
    server.disk.refuse_after(0, Errno::NOSPC);
    let offered = server.send(&Packet::discover(client(2))).expect("nobody has noticed yet").address;
    server.deliver(&Packet::select(client(2), SERVER, offered), "vp0");
    server.until("the journal refuses", |server| matches!(server.store.journal.state(), JournalState::Refusing { .. }));
    server.advance(3_700);
    server.poll();
    assert_eq!(kinds(&server.durable_events()), [EventKind::Bound]);
    let next = server.engines[0].poll_timeout().expect("a timer");
    assert!(next > server.now.monotonic, "without spinning");
    server.disk.give_room();
    server.until("it takes records again", |server| server.store.journal.state() == JournalState::Healthy);
    server.advance(1);
    let told = server.until_told(4);
    let (bound, expired) = (EventKind::Bound, EventKind::Expired);
    assert_eq!(kinds(&told), [bound, bound, expired, expired]);
}

#[test]
fn reservations_and_marks_of_the_pools_are_durable() {
    use EventKind::{Bound, PoolAbove, PoolBelow, Released, Reserved, Unreserved};
    let mut server =
        Server::new(&[("lease_secs = 3600", "lease_secs = 3600\npool_above_percent = 30\npool_below_percent = 10")]);
    server.put(draft(&server, "prov", client(9), Some(ip(2, 60)))).unwrap();
    server.delete("prov", client(9)).unwrap();
    let addresses: Vec<_> = (0..3).map(|n| server.bind(client(n))).collect();
    let look = |server: &Server| server.store.note_pool_levels(server.now.unix);
    look(&server);
    look(&server);
    let told = server.until_told(6);
    assert_eq!(kinds(&told), [Reserved, Unreserved, Bound, Bound, Bound, PoolAbove]);
    assert_eq!((told[0].mac, told[0].address), (client(9), Some(ip(2, 60))));
    assert_eq!((told[5].amount, told[5].size, told[5].scope), (3, 10, server.scope("prov")));
    server.send(&Packet::release(client(0), addresses[0]));
    look(&server);
    server.snapshot();
    let mut server = server.crash(Loss::Everything);
    look(&server);
    server.send(&Packet::release(client(1), addresses[1]));
    look(&server);
    let told = server.until_told(9);
    assert_eq!(kinds(&told[6..]), [Released, Released, PoolBelow], "and between the marks nothing");
}

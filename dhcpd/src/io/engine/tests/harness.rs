//! A whole server without sockets: engines over a store over a simulated disk.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dhcproto::v4::{DhcpOption, Message, MessageType as Wire, OptionCode};
use dhcproto::{Decodable, Decoder};

use super::super::*;
use crate::proto::scope::{Holder, Scopes};
use crate::proto::testing::{Packet, config, ip, scopes};
use crate::proto::time::UnixSecs;
use crate::store::journal::{CrashDisk, JournalOptions, Loss, Storage};
use crate::store::model::{LeaseRow, Model};
use crate::store::reservation::{Put, PutError, ReservationDraft};
use crate::store::{Store, StoreError};
use reveille_config::MacAddr;
use reveille_config::dhcpd::ReservedFor;
use tokio::sync::oneshot;

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub kind: Wire,
    pub address: Ipv4Addr,
    pub secs: u32,
}

pub struct Server {
    pub disk: CrashDisk,
    pub store: Store,
    pub engines: Vec<Engine>,
    pub now: Now,
    out: Vec<Outgoing>,
    changes: Vec<(String, String)>,
    world: World,
}

/// What is changed in the compiled configuration.
pub type World = fn(&mut Scopes);

/// Quick to write and to read.
pub fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 256 << 10,
        ring_bytes: 64 << 10,
        commit_gap: Duration::ZERO,
        retry_gap: Duration::from_millis(1),
        spare_ahead: false,
        ..JournalOptions::default()
    }
}

pub fn open(
    storage: Box<dyn Storage>,
    changes: &[(&str, &str)],
    workers: usize,
    now: Now,
) -> Result<(Store, Vec<crate::store::WorkerPart>), StoreError> {
    Store::open(storage, options(), scopes(changes), workers, now)
}

/// The configuration's scopes, changed.
fn compile(changes: &[(&str, &str)], world: World) -> Arc<Scopes> {
    let mut scopes = Scopes::compile(&config(changes));
    world(&mut scopes);
    Arc::new(scopes)
}

impl Server {
    pub fn new(changes: &[(&str, &str)]) -> Self {
        Self::with_workers(changes, 1)
    }

    pub fn with_workers(changes: &[(&str, &str)], workers: usize) -> Self {
        let start = Now { unix: UnixSecs(1_000_000), unix_millis: 1_000_000_000, monotonic: Millis(10_000_000_000) };
        Self::on(CrashDisk::new(), changes, workers, start)
    }

    pub fn in_world(world: World, changes: &[(&str, &str)], workers: usize) -> Self {
        Self::new(&[]).replaced_by(CrashDisk::new(), changes, workers, world)
    }

    fn replaced_by(self, disk: CrashDisk, changes: &[(&str, &str)], workers: usize, world: World) -> Self {
        let now = self.now;
        // The old life's threads end before the new one begins; what they still write goes to the old disk.
        self.disk.let_go();
        drop(self);
        Self::run(disk, changes, workers, now, world)
    }

    pub fn on(disk: CrashDisk, changes: &[(&str, &str)], workers: usize, now: Now) -> Self {
        Self::run(disk, changes, workers, now, |_| {})
    }

    fn run(disk: CrashDisk, changes: &[(&str, &str)], workers: usize, now: Now, world: World) -> Self {
        let scopes = compile(changes, world);
        let (store, parts) = Store::open(disk.storage(), options(), scopes, workers, now).unwrap();
        let links: Arc<[Box<str>]> = [Box::from("vb0"), Box::from("vp0")].into();
        let engine = |part| Engine::new(part, Arc::clone(&store.shared), store.journal.appender(), Arc::clone(&links));
        let engines = parts.into_iter().map(engine).collect();
        let changes = changes.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        Self { disk, store, engines, now, out: Vec::new(), changes, world }
    }

    /// Power is lost and comes back.
    pub fn crash(self, loss: Loss) -> Self {
        let disk = self.disk.crash(loss);
        self.restart_on(disk)
    }

    /// Goes on with what `disk` holds.
    pub fn restart_on(self, disk: CrashDisk) -> Self {
        let (workers, changes, world) = (self.engines.len(), self.changes.clone(), self.world);
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (&**from, &**to)).collect();
        self.replaced_by(disk, &changes, workers, world)
    }

    pub fn model(&self) -> &Model {
        &self.store.shared.model
    }

    pub fn scopes(&self) -> Arc<Scopes> {
        self.store.shared.scopes.load_full()
    }

    pub fn scope(&self, name: &str) -> ScopeIndex {
        self.scopes().by_name(name).unwrap().index
    }

    pub fn maps_hold(&self, address: Ipv4Addr) -> bool {
        self.store.shared.maps[usize::from(self.scope("prov").0)].is_held(address)
    }

    pub fn leases(&self) -> Vec<(Ipv4Addr, LeaseRow)> {
        let scope = self.scope("prov");
        let mut at = None;
        std::iter::from_fn(|| {
            let next = self.model().next_lease(scope, at)?;
            at = Some(next.0);
            Some(next)
        })
        .collect()
    }

    pub fn advance(&mut self, secs: u64) {
        self.now.unix = UnixSecs(self.now.unix.0 + secs as u32);
        self.now.unix_millis += secs * 1_000;
        self.now.monotonic = Millis(self.now.monotonic.0 + secs * 1_000);
        for engine in &mut self.engines {
            engine.handle_timeout(self.now);
        }
    }

    /// The packet is broadcast on a link: every worker gets it.
    pub fn deliver(&mut self, packet: &Packet, link: &str) {
        let link = match link {
            "vb0" => 0,
            "vp0" => 1,
            _ => 2,
        };
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        for engine in &mut self.engines {
            engine.handle_packet(self.now, Arrival { octets: &packet.octets(), link, from, broadcast: true });
        }
    }

    /// The packet reaches one worker only.
    pub fn deliver_unicast(&mut self, worker: usize, packet: &Packet) {
        let from = SocketAddrV4::new(ip(2, 200), 68);
        let arrival = Arrival { octets: &packet.octets(), link: 1, from, broadcast: false };
        self.engines[worker].handle_packet(self.now, arrival);
    }

    /// One round of every worker's loop.
    pub fn poll(&mut self) {
        for engine in &mut self.engines {
            assert_eq!(engine.handle_requests(self.now, 100), Proceed::On);
            engine.handle_timeout(self.now);
            engine.handle_durable();
            self.out.extend(std::iter::from_fn(|| engine.poll_send()));
            engine.handle_batch_end();
        }
    }

    /// Rounds until nothing waits for the disk or for the read model, or what waits is void.
    pub fn settle(&mut self) {
        self.until("nothing waits", |server| {
            server.engines.iter().all(|engine| {
                let desk = &engine.desk;
                desk.waiting.is_empty() && desk.queries.count() == 0 && !engine.has_requests()
            })
        });
        self.catch_up();
    }

    /// Waits until the read model shows what is durable.
    pub fn catch_up(&self) {
        // An error is of a journal that has failed: nobody reads on.
        let _ = self.store.journal.wait_followed(self.store.journal.durable());
    }

    /// Rounds until `done`; a minute at most.
    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.poll();
            if done(self) {
                return;
            }
            assert!(Instant::now() < deadline, "waited for a minute: {what}");
            std::thread::yield_now();
        }
    }

    /// What was sent since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        self.out.drain(..).map(|outgoing| read(&outgoing.reply)).collect()
    }

    /// The same as they go on the wire.
    pub fn replies(&mut self) -> Vec<Reply> {
        self.out.drain(..).map(|outgoing| outgoing.reply).collect()
    }

    /// Sends a packet on the dynamic scope's link and says the answer once nothing waits any more.
    pub fn send(&mut self, packet: &Packet) -> Option<Answer> {
        self.send_on("vp0", packet)
    }

    pub fn send_on(&mut self, link: &str, packet: &Packet) -> Option<Answer> {
        self.deliver(packet, link);
        self.settle();
        let answers = self.answers();
        assert!(answers.len() <= 1, "one answer per packet: {answers:?}");
        answers.first().copied()
    }

    /// DISCOVER and REQUEST.
    pub fn try_bind(&mut self, mac: MacAddr) -> Option<Ipv4Addr> {
        let offer = self.send(&Packet::discover(mac))?;
        assert_eq!(offer.kind, Wire::Offer);
        let ack = self.send(&Packet::select(mac, ip(2, 1), offer.address))?;
        assert_eq!((ack.kind, ack.address), (Wire::Ack, offer.address));
        Some(ack.address)
    }

    pub fn bind(&mut self, mac: MacAddr) -> Ipv4Addr {
        self.try_bind(mac).expect("a lease")
    }

    pub fn put(&mut self, draft: ReservationDraft) -> Result<Put, PutError> {
        let (answer, mut answered) = oneshot::channel();
        self.store.queue_of(&draft.holder.client).push(Request::Put(Box::new(draft), answer)).unwrap();
        self.settle();
        answered.try_recv().unwrap()
    }

    pub fn delete(&mut self, scope: &str, client: impl Into<ReservedFor>) -> Result<bool, PutError> {
        let (answer, mut answered) = oneshot::channel();
        let holder = Holder { scope: self.scope(scope), client: client.into() };
        let queue = self.store.queue_of(&holder.client);
        queue.push(Request::Delete(holder, crate::store::reservation::Expected::Anything, answer)).unwrap();
        self.settle();
        answered.try_recv().unwrap()
    }

    /// The configuration is another one from here on, also after a crash.
    pub fn reload(&mut self, changes: &[(&str, &str)]) {
        self.changes = changes.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        self.store.shared.scopes.store(compile(changes, self.world));
        self.store.queues.iter().for_each(|queue| queue.push(Request::Reload).unwrap());
        self.settle();
    }

    /// Takes a snapshot beside the running engines.
    pub fn snapshot(&mut self) {
        let Self { store, engines, now, .. } = self;
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| store.take_snapshot());
            while !taking.is_finished() {
                for engine in engines.iter_mut() {
                    assert_eq!(engine.handle_requests(*now, 100), Proceed::On);
                }
                std::thread::yield_now();
            }
            taking.join().unwrap().unwrap();
        });
    }
}

fn read(reply: &Reply) -> Answer {
    let message = Message::decode(&mut Decoder::new(&reply.octets)).unwrap();
    let secs = match message.opts().get(OptionCode::AddressLeaseTime) {
        Some(DhcpOption::AddressLeaseTime(secs)) => *secs,
        _ => 0,
    };
    Answer { kind: message.opts().msg_type().unwrap(), address: message.yiaddr(), secs }
}

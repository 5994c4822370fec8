//! Streams of events: what a reader is told, and what those cost who read slowly, or open too many. The records come from the test; no packets, no sockets.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use reveille_config::dto::event::Lost;
use reveille_config::dto::event::sse::{Item, Reader};
use reveille_config::environment::Imagined;
use reveille_config::limit::{DURABLE_EVENTS_MAX, EVENT_CHUNK_BYTES, EVENT_STREAMS_MAX};
use reveille_config::{Config, MacAddr};
use reveille_dhcpd::api::{ApiState, Peer, router};
use reveille_dhcpd::proto::scope::{ScopeIndex, Scopes};
use reveille_dhcpd::proto::time::{Now, UnixSecs};
use reveille_dhcpd::store::Store;
use reveille_dhcpd::store::event::{EventKind, RawEvent};
use reveille_dhcpd::store::journal::{CrashDisk, JournalOptions, Loss};
use reveille_dhcpd::store::record::Record;
use reveille_dhcpd::store::tokens::Tokens;
use tower::ServiceExt as _;

const CONFIG: &str = r#"
[dhcpd]
state_dir = "/var/lib/reveille/dhcpd"
api = ["unix:/run/reveille/dhcpd.sock"]

[[dhcpd.scope]]
name = "a"
kind = "dynamic"
interface = "va0"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.10-10.77.1.250"]

[[dhcpd.scope]]
name = "b"
kind = "dynamic"
interface = "vb0"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.10-10.77.2.250"]
"#;

/// For what must come, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(300);

struct Server {
    store: Arc<Store>,
    state: Arc<ApiState>,
    router: Router,
    _directory: tempfile::TempDir,
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

impl Server {
    fn new() -> Self {
        Self::on(&CrashDisk::new())
    }

    fn on(disk: &CrashDisk) -> Self {
        let config = Config::parse(CONFIG, Path::new("test.toml"), &Imagined::with_all_directories()).unwrap();
        let scopes = Arc::new(Scopes::compile(&config.dhcpd.unwrap()));
        let (store, _) = Store::open(disk.storage(), JournalOptions::default(), scopes, 1, Now::default()).unwrap();
        let store = Arc::new(store);
        let directory = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::open(directory.path().join("tokens.json")).unwrap());
        let state = Arc::new(ApiState::new(Arc::clone(&store), tokens, Arc::new(String::new)));
        Self { store, router: router(Arc::clone(&state)), state, _directory: directory }
    }

    /// Binds an address, `times` over, and waits until that is told.
    async fn bind(&self, net: u8, client: u8, times: usize) {
        let address = Ipv4Addr::new(10, 77, net, client);
        let (starts, ends) = (UnixSecs(1_000), UnixSecs(4_600));
        let (client_id, hostname, relay_agent, vendor_class) = ([].into(), "".into(), [].into(), [].into());
        let mac = mac(client);
        let bind = Record::Bind { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class };
        let mut payload = Vec::new();
        let kind = bind.encode(&mut payload);
        let mut last = 0;
        for _ in 0..times.div_ceil(1_000) {
            let records = vec![(kind, &*payload); times.min(1_000)];
            let pending = self.store.journal.appender().append_batch(&records, ()).unwrap();
            last = pending.sequence();
            let _ = pending.wait(&self.store.journal).await.unwrap();
        }
        let mut followed = self.store.journal.subscribe_followed();
        let told = followed.wait_for(|followed| *followed >= last);
        tokio::time::timeout(PATIENCE, told).await.expect("the events are told").unwrap();
    }

    fn offer(&self, client: u8) {
        self.store.shared.events.push(RawEvent {
            at_unix_millis: 1_000_000,
            kind: EventKind::Offered,
            mac: mac(client),
            scope: ScopeIndex(0),
            address: None,
            amount: 0,
            size: 0,
            reason: "pool",
            journal_sequence: 0,
        });
        self.store.shared.events.wake();
    }

    async fn open(&self, query: &str) -> Result<Stream, StatusCode> {
        let request = Request::get(format!("/v1/events?{query}")).header("accept", "text/event-stream");
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::LOCAL);
        let answer = self.router.clone().oneshot(request).await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ok(Stream { body: answer.into_body(), reader: Reader::default(), octets: 0 })
    }
}

struct Stream {
    body: Body,
    reader: Reader,
    octets: usize,
}

impl Stream {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.reader.poll_item().unwrap() {
                return Some(item);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("something comes")?;
            let octets = frame.unwrap().into_data().unwrap();
            self.octets += octets.len();
            self.reader.handle_octets(&octets);
        }
    }

    /// The next event's sequence, kind and machine.
    async fn event(&mut self) -> (u64, String, MacAddr) {
        loop {
            match self.next().await {
                Some(Item::Event(event)) => return (event.sequence, event.kind, event.mac.unwrap()),
                // Where it begins.
                Some(Item::Position(_)) => {}
                other => panic!("an event: {other:?}"),
            }
        }
    }
}

fn bound(sequence: u64, client: u8) -> (u64, String, MacAddr) {
    (sequence, "bound".into(), mac(client))
}

fn renewed(sequence: u64, client: u8) -> (u64, String, MacAddr) {
    (sequence, "renewed".into(), mac(client))
}

#[tokio::test]
async fn a_reader_is_told_what_it_asks_for_from_where_it_was() {
    let server = Server::new();
    server.offer(9);
    server.bind(1, 10, 1).await;
    let mut all = server.open("since=0").await.unwrap();
    let mut with_offers = server.open("since=0&transient=true").await.unwrap();
    let mut later = server.open("since=latest").await.unwrap();
    let mut of_scope = server.open("since=0&scope=b").await.unwrap();
    let mut of_machine = server.open("since=0&mac=02:00:00:00:00:0a&kind=renewed").await.unwrap();
    assert_eq!(all.event().await, bound(1, 10));
    assert_eq!(with_offers.event().await, bound(1, 10), "and not what was offered before it came");
    server.offer(11);
    assert_eq!(with_offers.event().await, (0, "offered".into(), mac(11)));
    server.bind(2, 11, 1).await;
    server.bind(1, 10, 1).await;
    for stream in [&mut all, &mut with_offers, &mut later] {
        assert_eq!(stream.event().await, bound(2, 11));
        assert_eq!(stream.event().await, renewed(3, 10));
    }
    assert_eq!(of_scope.event().await, bound(2, 11));
    assert_eq!(of_machine.event().await, renewed(3, 10));

    let mut resumed = server.open("since=2").await.unwrap();
    assert_eq!(resumed.event().await, renewed(3, 10));
    server.state.close();
    assert_eq!(all.next().await, None, "the end of the server ends its streams");
}

#[tokio::test]
async fn a_journal_that_has_begun_anew_and_grown_past_a_reader_is_told_from_its_start() {
    let disk = CrashDisk::new();
    let server = Server::on(&disk);
    server.bind(1, 10, 2).await;
    let mut stream = server.open("since=0").await.unwrap();
    assert_eq!((stream.event().await, stream.event().await), (bound(1, 10), renewed(2, 10)));
    let place = stream.reader.since().unwrap();
    drop(server);
    // The same journal after a restart goes on.
    let server = Server::on(&disk.crash(Loss::Nothing));
    server.bind(1, 10, 1).await;
    let mut resumed = server.open(&format!("since={place}")).await.unwrap();
    assert_eq!(resumed.event().await, renewed(3, 10));
    drop(server);

    let wiped = CrashDisk::new();
    wiped.storage().salt();
    let server = Server::on(&wiped);
    server.bind(2, 11, 5).await;
    let mut told = server.open(&format!("since={place}")).await.unwrap();
    assert_eq!(told.next().await, Some(Item::Lost(Lost { from: 1, to: 0 })), "its place is not in this journal");
    assert_eq!(told.event().await, bound(1, 11), "it is told all that is known");
    assert_ne!(told.reader.since(), Some(place));
    // Who names no journal is believed to mean this one.
    let mut bare = server.open("since=2").await.unwrap();
    assert_eq!(bare.event().await, renewed(3, 11));
}

#[tokio::test]
async fn ten_thousand_streams_are_not_opened_and_those_that_are_go_on() {
    let server = Server::new();
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        match server.open("since=0").await {
            Ok(stream) => open.push(stream),
            Err(status) => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                refused += 1;
            }
        }
    }
    assert_eq!((open.len(), refused), (EVENT_STREAMS_MAX, 10_000 - EVENT_STREAMS_MAX));
    server.bind(1, 10, 1).await;
    for stream in &mut open {
        assert_eq!(stream.event().await, bound(1, 10));
    }
    open.clear();
    let again = async {
        loop {
            // A stream that nobody reads any more ends a moment later.
            match server.open("since=0").await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let mut again = tokio::time::timeout(PATIENCE, again).await.expect("room again");
    assert_eq!(again.event().await, bound(1, 10));
}

#[tokio::test]
async fn a_slow_reader_costs_two_chunks_and_is_told_what_it_lost() {
    let server = Server::new();
    server.bind(1, 10, 1).await;
    let mut slow = server.open("since=0").await.unwrap();
    assert_eq!(slow.event().await, bound(1, 10));
    // Nothing waits for it: all of this is told while it does not read.
    let more = DURABLE_EVENTS_MAX.next_multiple_of(1_000) + 2_000;
    server.bind(1, 10, more).await;
    let mut last = 1;
    let lost = loop {
        match slow.next().await {
            Some(Item::Event(event)) => {
                assert_eq!(event.sequence, last + 1, "no gap that is not told");
                last = event.sequence;
            }
            Some(Item::Lost(lost)) => break lost,
            other => panic!("{other:?}"),
        }
    };
    assert!(slow.octets < 4 * EVENT_CHUNK_BYTES, "{} octets were kept for it", slow.octets);
    assert_eq!(lost.from, last + 1);
    let all = more as u64 + 1;
    assert!(lost.to >= all - DURABLE_EVENTS_MAX as u64 - 1_000, "{lost:?}");
    last = lost.to;
    while last < all {
        let (sequence, ..) = slow.event().await;
        assert_eq!(sequence, last + 1);
        last = sequence;
    }
}

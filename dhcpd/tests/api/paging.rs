//! A listing of 100,000 leases while leases come and go: page by page, and as an export that is read slowly.

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use reveille_config::MacAddr;
use reveille_dhcpd::api::Peer;
use reveille_dhcpd::proto::time::UnixSecs;
use reveille_dhcpd::store::journal::Appender;
use reveille_dhcpd::store::record::Record;
use serde::Deserialize;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::harness::{CONFIG, Server};

const LEASES: u32 = 100_000;
const FIRST: u32 = u32::from_be_bytes([10, 80, 0, 16]);
/// Of so many neighbours one comes and goes, one after the other from its place on; the others stay.
const EVERY: u32 = 500;

fn is_steady(n: u32) -> bool {
    !n.is_multiple_of(EVERY)
}

fn server() -> Server {
    let large = "\n[[dhcpd.scope]]\nname = \"large\"\nkind = \"dynamic\"\ninterface = \"vl0\"\nsubnet = \"10.80.0.0/14\"\n\
                 server_address = \"10.80.0.1\"\npools = [\"10.80.0.16-10.83.255.200\"]\n";
    Server::of(&format!("{CONFIG}{large}"))
}

/// The lease of the machine `n`, promised for ever or given back.
fn lease(n: u32, bound: bool) -> Record {
    let [a, b, c, d] = n.to_be_bytes();
    let (address, mac) = (Ipv4Addr::from(FIRST + n), MacAddr([2, 1, a, b, c, d]));
    if !bound {
        return Record::Release { address, mac, at: UnixSecs(2) };
    }
    Record::Bind {
        address,
        mac,
        starts: UnixSecs(1),
        ends: UnixSecs::NEVER,
        client_id: [].into(),
        hostname: "".into(),
        relay_agent: [].into(),
        vendor_class: [].into(),
    }
}

/// Writes records as a worker does and waits until they are on disk.
async fn write(appender: &mut Appender, records: impl Iterator<Item = Record>) {
    let records: Vec<(u8, Vec<u8>)> = records
        .map(|record| {
            let mut payload = Vec::new();
            (record.encode(&mut payload), payload)
        })
        .collect();
    let records: Vec<(u8, &[u8])> = records.iter().map(|(kind, payload)| (*kind, &**payload)).collect();
    let _durable = appender.append_batch(&records, ()).unwrap().wait(appender).await.unwrap();
}

async fn fill(server: &Server) -> Appender {
    let mut appender = server.store.journal.appender();
    for from in (0..LEASES).step_by(5_000) {
        write(&mut appender, (from..from + 5_000).map(|n| lease(n, true))).await;
    }
    appender
}

async fn open(server: &Server, path: &str) -> Body {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer::LOCAL);
    let answer = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.into_body()
}

/// What is looked at of a lease.
#[derive(Deserialize)]
struct Listed {
    address: Ipv4Addr,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Listed>,
    next: Option<String>,
}

/// How often each lease was seen.
struct Seen(Vec<u32>);

impl Seen {
    fn nothing() -> Self {
        Self(vec![0; LEASES as usize])
    }

    fn lease(&mut self, lease: &Listed) {
        self.0[(u32::from(lease.address) - FIRST) as usize] += 1;
    }

    fn check(&self) {
        let times = |wrong: fn(u32, u32) -> bool| -> Vec<u32> {
            (0..LEASES).filter(|n| wrong(*n, self.0[*n as usize])).take(10).collect()
        };
        assert_eq!(times(|_, times| times > 1), Vec::<u32>::new(), "seen twice");
        assert_eq!(times(|n, times| is_steady(n) && times == 0), Vec::<u32>::new(), "there throughout, and missed");
    }
}

/// Gives leases back and takes them again until nobody reads any more; counts its rounds.
async fn come_and_go(mut appender: Appender, rounds: watch::Sender<u32>) {
    let mut bound = false;
    while !rounds.is_closed() {
        write(&mut appender, (0..LEASES).step_by(EVERY as usize).map(|n| lease(n, bound))).await;
        bound = !bound;
        rounds.send_modify(|rounds| *rounds += 1);
    }
}

#[tokio::test]
async fn pages_miss_no_lease_and_show_none_twice_while_others_come_and_go() {
    let server = server();
    let appender = fill(&server).await;
    let (rounds, mut gone_on) = watch::channel(0);
    let mut seen = Seen::nothing();
    let paging = async {
        let (mut cursor, mut pages) = (String::new(), 0);
        loop {
            // Something has changed since the page before.
            gone_on.changed().await.unwrap();
            let body = open(&server, &format!("/v1/leases?scope=large&state=bound{cursor}")).await;
            let page: Page = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            page.items.iter().for_each(|lease| seen.lease(lease));
            pages += 1;
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        drop(gone_on);
        pages
    };
    let ((), pages) = tokio::join!(come_and_go(appender, rounds), paging);
    assert!(pages >= 90, "{pages} pages");
    seen.check();
}

#[tokio::test]
async fn an_export_waits_for_its_reader_and_is_whole() {
    let server = server();
    let appender = fill(&server).await;
    let (rounds, mut gone_on) = watch::channel(0);
    let mut seen = Seen::nothing();
    let reading = async {
        let mut body = open(&server, "/v1/leases:export?scope=large").await;
        let (mut rest, mut largest, mut pieces) = (Vec::new(), 0, 0);
        while let Some(frame) = body.frame().await {
            let octets = frame.unwrap().into_data().unwrap();
            largest = largest.max(octets.len());
            pieces += 1;
            rest.extend_from_slice(&octets);
            let whole = rest.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
            for line in rest[..whole].split_inclusive(|octet| *octet == b'\n') {
                seen.lease(&serde_json::from_slice(line).unwrap());
            }
            rest.drain(..whole);
            // A slow reader: others come and go before it takes the next piece, and others are answered.
            gone_on.changed().await.unwrap();
            server.get("/v1/scopes").await;
        }
        assert_eq!(rest, b"", "the last line has its end");
        drop(gone_on);
        (largest, pieces)
    };
    let ((), (largest, pieces)) = tokio::join!(come_and_go(appender, rounds), reading);
    assert!(largest < 256 << 10 && pieces >= 50, "{pieces} pieces, one of {largest} octets in memory at once");
    seen.check();
}

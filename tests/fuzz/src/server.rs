//! [`Server`]: a whole server without sockets, over a simulated disk; its counters are read as a scraper would.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use reveille_config::MacAddr;
use reveille_dhcpd::io::engine::{Arrival, Engine};
use reveille_dhcpd::proto::scope::Scopes;
use reveille_dhcpd::proto::time::{Millis, Now, UnixSecs};
use reveille_dhcpd::store::Store;
use reveille_dhcpd::store::journal::{CrashDisk, JournalOptions};

/// A static and a dynamic scope, with options of several kinds.
const CONFIGURATION: &str = r#"
[dhcpd]
state_dir = "/var/lib/reveille/dhcpd"
limits = { client_packets_per_sec = 0 }
api = ["unix:/run/reveille/dhcpd.sock"]

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "bmc0"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.100-10.77.1.199"]

[[dhcpd.scope.reservation]]
mac = "52:54:00:00:00:01"
address = "10.77.1.10"
hostname = "bmc-1"

[[dhcpd.scope]]
name = "provisioning"
kind = "dynamic"
interface = "prov0"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.159"]
lease_secs = 600
lease_secs_min = 60

[dhcpd.scope.options]
routers = ["10.77.2.254"]
domain-name-servers = ["10.77.2.53", "10.77.2.54"]
domain-name = "rack.example"
domain-search = ["rack.example", "example"]
interface-mtu = 1500
classless-static-routes = ["10.80.0.0/16 via 10.77.2.253"]
224 = "hex:0a0b"

[dhcpd.scope.boot]
bios = "undionly.kpxe"
efi_x64 = "snponly.efi"
http_x64 = "http://10.77.2.1:8080/snponly.efi"
ipxe = "http://10.77.2.1:8080/boot.ipxe"

[[dhcpd.scope.reservation]]
mac = "52:54:00:00:00:02"
address = "10.77.2.20"
hostname = "node-2"
"#;

/// Interfaces, by [`Arrival::link`].
pub const LINKS: [&str; 3] = ["bmc0", "prov0", "elsewhere0"];

/// Longest wait for the journal, or for anything to become of a packet.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two packets, on the server's clock: copies of one message are told by it.
const PACKET_GAP_MILLIS: u64 = 600;
/// How the server's clock goes on while an address is checked.
const CHECK_STEP_MILLIS: u64 = 100;
/// Who uses addresses without asking.
const STRANGER: MacAddr = MacAddr([0x52, 0x54, 0, 0xff, 0, 1]);

/// The counters of one server, by name and labels.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<Key, Arc<AtomicU64>>>);

impl Counts {
    fn sum(&self, name: &str, label: impl Fn(&str) -> bool) -> u64 {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = counters.iter().filter(|(key, _)| key.name() == name);
        let wanted = of_name.filter(|(key, _)| key.labels().all(|found| label(found.value())));
        wanted.map(|(_, counter)| counter.load(Ordering::Relaxed)).sum()
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Counter::from_arc(Arc::clone(counters.entry(key.clone()).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// One engine and its store.
pub struct Server {
    engine: Engine,
    /// Its threads write the journal.
    _store: Store,
    counts: Counts,
    now: Now,
}

impl Server {
    /// Starts it with an empty disk.
    ///
    /// # Panics
    /// When its configuration has a mistake.
    pub fn start() -> Self {
        let parsed = reveille_config::Config::parse(
            CONFIGURATION,
            Path::new("fuzz.toml"),
            &reveille_config::environment::System,
        );
        let dhcpd = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).dhcpd.expect("the table [dhcpd]");
        let now = Now { unix: UnixSecs(1_000_000), unix_millis: 1_000_000_000, monotonic: Millis(10_000_000_000) };
        let options = JournalOptions {
            segment_bytes: 256 << 10,
            ring_bytes: 64 << 10,
            commit_gap: Duration::ZERO,
            ..JournalOptions::default()
        };
        let scopes = Arc::new(Scopes::compile(&dhcpd));
        let opened = Store::open(CrashDisk::new().storage(), options, scopes, 1, now);
        let (store, mut parts) = opened.expect("an empty journal");
        let counts = Counts::default();
        let links: Arc<[Box<str>]> = LINKS.map(Box::from).into();
        let part = parts.pop().expect("one worker");
        let engine = metrics::with_local_recorder(&counts, || {
            Engine::new(part, Arc::clone(&store.shared), store.journal.appender(), links)
        });
        Self { engine, _store: store, counts, now }
    }

    /// Takes in a packet and gives what it is answered with. Of the addresses that are checked, every sixteenth is in use by a stranger.
    ///
    /// # Panics
    /// When it is neither answered nor dropped with a reason.
    pub fn handle(&mut self, packet: &[u8], link: usize) -> Option<Vec<u8>> {
        let (dropped, promised, taken) = (self.dropped(), self.promised(), self.taken());
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        self.pass(PACKET_GAP_MILLIS);
        self.engine.handle_packet(self.now, Arrival { octets: packet, link, from, broadcast: true });
        let mut out = Vec::new();
        let started = Instant::now();
        loop {
            while let Some(probe) = self.engine.poll_probe() {
                if probe.address.octets()[3].is_multiple_of(16) {
                    self.engine.handle_probe_result(self.now, probe.address, Some(STRANGER));
                }
            }
            self.engine.handle_durable();
            out.extend(std::iter::from_fn(|| self.engine.poll_send()).map(|outgoing| outgoing.reply.octets));
            // A RELEASE or DECLINE that is taken has no reply: that it was read and not dropped is its reason.
            if !out.is_empty() || self.dropped() > dropped || self.taken() > taken {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "neither answered nor dropped with a reason");
            if self.promised() > promised {
                // It waits for the disk.
                std::thread::yield_now();
            } else {
                self.pass(CHECK_STEP_MILLIS);
            }
        }
        assert!(self.dropped() - dropped <= 1, "dropped for more than one reason");
        assert!(out.len() <= 1, "{} replies to one packet", out.len());
        self.engine.handle_batch_end();
        out.pop()
    }

    fn pass(&mut self, millis: u64) {
        self.now.monotonic.0 += millis;
        self.now.unix_millis += millis;
        self.now.unix = UnixSecs((self.now.unix_millis / 1_000) as u32);
        self.engine.handle_timeout(self.now);
    }

    fn dropped(&self) -> u64 {
        self.counts.sum("reveille_dhcpd_dropped_total", |_| true)
    }

    fn promised(&self) -> u64 {
        let names = ["offers", "acks", "naks", "informs"];
        names.iter().map(|name| self.counts.sum(&format!("reveille_dhcpd_{name}_total"), |_| true)).sum()
    }

    fn taken(&self) -> u64 {
        self.counts.sum("reveille_dhcpd_received_total", |kind| kind == "release" || kind == "decline")
    }
}

//! A server whose packets and requests come from the test: a real worker's engine, a simulated disk, no sockets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, StatusCode, header};
use reveille_config::environment::Imagined;
use reveille_config::{Config, MacAddr};
use reveille_dhcpd::api::{ApiState, Peer, router};
use reveille_dhcpd::io::Clock;
use reveille_dhcpd::io::engine::{Arrival, Engine};
use reveille_dhcpd::proto::scope::Scopes;
use reveille_dhcpd::store::Store;
use reveille_dhcpd::store::journal::{CrashDisk, JournalOptions, Loss};
use reveille_dhcpd::store::tokens::Tokens;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::conformance;

pub const CONFIG: &str = r#"
[dhcpd]
state_dir = "/var/lib/reveille/dhcpd"
api = ["unix:/run/reveille/dhcpd.sock"]

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "vb0"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
pools = ["10.77.1.100-10.77.1.101"]

[[dhcpd.scope]]
name = "prov"
kind = "dynamic"
interface = "vp0"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
pools = ["10.77.2.100-10.77.2.119"]

[[dhcpd.scope.reservation]]
mac = "02:00:00:00:00:a1"
address = "10.77.2.50"
hostname = "fixed"
"#;

/// A server whose packets come from the test.
pub struct Server {
    pub disk: CrashDisk,
    pub store: Arc<Store>,
    pub state: Arc<ApiState>,
    pub tokens: Arc<Tokens>,
    pub router: Router,
    packets: std::sync::mpsc::Sender<(usize, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
    pub directory: tempfile::TempDir,
    config: String,
}

impl Server {
    pub fn new() -> Self {
        Self::of(CONFIG)
    }

    pub fn of(config: &str) -> Self {
        Self::on(CrashDisk::new(), config)
    }

    /// The same after a crash that lost what was not promised.
    pub fn restart(mut self, loss: Loss) -> Self {
        self.end();
        let disk = self.disk.crash(loss);
        let config = self.config.clone();
        drop(self);
        Self::on(disk, &config)
    }

    fn on(disk: CrashDisk, text: &str) -> Self {
        let config = text;
        let config = Config::parse(config, Path::new("test.toml"), &Imagined::with_all_directories()).unwrap();
        let scopes = Arc::new(Scopes::compile(&config.dhcpd.unwrap()));
        let clock = Clock::default();
        let options = JournalOptions { retry_gap: Duration::from_millis(1), ..JournalOptions::default() };
        let (store, parts) = Store::open(disk.storage(), options, scopes, 1, clock.now()).unwrap();
        let store = Arc::new(store);
        let stop = Arc::new(AtomicBool::new(false));
        let (packets, arrivals) = std::sync::mpsc::channel::<(usize, Vec<u8>)>();
        let links: Arc<[Box<str>]> = [Box::from("vb0"), Box::from("vp0")].into();
        let part = parts.into_iter().next().unwrap();
        let mut engine = Engine::new(part, Arc::clone(&store.shared), store.journal.appender(), links);
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || {
            let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
            while !stopped.load(Ordering::Relaxed) {
                let now = clock.now();
                while let Ok((link, octets)) = arrivals.try_recv() {
                    engine.handle_packet(now, Arrival { octets: &octets, link, from, broadcast: true });
                }
                let _ = engine.handle_requests(now, 100);
                engine.handle_timeout(now);
                engine.handle_durable();
                while engine.poll_send().is_some() {}
                engine.handle_batch_end();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::open(directory.path().join("tokens.json")).unwrap());
        let metrics_text = Arc::new(|| "reveille_test 1\n".into());
        let state = Arc::new(ApiState::new(Arc::clone(&store), Arc::clone(&tokens), metrics_text));
        let router = router(Arc::clone(&state));
        Self { disk, store, state, tokens, router, packets, stop, worker: Some(worker), directory, config: text.into() }
    }

    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.ask_raw(method, path, body).await
    }

    pub async fn ask_raw(&self, method: &str, path: &str, body: Body) -> (StatusCode, Value) {
        let mut request = HttpRequest::builder().method(method).uri(path).body(body).unwrap();
        request.extensions_mut().insert(Peer::LOCAL);
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        if status.as_u16() >= 400 && path.starts_with("/v1") {
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
        }
        let headers = answer.headers().clone();
        let octets = to_bytes(answer.into_body(), 1 << 22).await.unwrap();
        conformance::check(method, path, status, &headers, &octets);
        let text = String::from_utf8(octets.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    pub fn send(&self, link: usize, kind: u8, mac: MacAddr, options: &[(u8, &[u8])]) {
        let mut octets = vec![0; 240];
        octets[..3].copy_from_slice(&[1, 1, 6]);
        octets[28..34].copy_from_slice(&mac.octets());
        octets[236..].copy_from_slice(&[99, 130, 83, 99]);
        for (code, value) in [(53, &[kind][..])].iter().chain(options) {
            octets.extend_from_slice(&[*code, value.len() as u8]);
            octets.extend_from_slice(value);
        }
        self.packets.send((link, octets)).unwrap();
    }

    /// Binds an address of the dynamic scope by asking for it right away.
    pub async fn bind(&self, mac: MacAddr, address: Ipv4Addr) {
        let agent = b"\x01\x03eth\x02\x02sw";
        let id: [(u8, &[u8]); 3] = [(61, &[1, 0xab]), (12, b"own-name"), (82, agent)];
        self.send(1, 3, mac, &[&[(54, &[10, 77, 2, 1][..]), (50, &address.octets())], &id[..]].concat());
        self.until(&format!("/v1/leases/{address}"), |status, _| status == StatusCode::OK).await;
    }

    pub async fn until(&self, path: &str, done: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, body) = self.ask("GET", path, None).await;
            if done(status, &body) {
                return body;
            }
            assert!(Instant::now() < deadline, "waited for {path}, last: {status} {body}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Server {
    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
    }
}

pub const A: &str = "02:00:00:00:00:01";
pub const B: &str = "02:00:00:00:00:02";
pub const FIXED: &str = "02:00:00:00:00:a1";

pub fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

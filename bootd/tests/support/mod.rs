//! A bootd on loopback addresses of its own, and the real programs that talk to it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reveille_bootd::Running;
use reveille_config::Config;
use reveille_config::bootd::Bootd;
use serde_json::Value;

/// A daemon, its directories and its addresses.
pub struct Daemon {
    pub running: Option<Running>,
    pub config: Arc<Bootd>,
    pub dir: Arc<tempfile::TempDir>,
    pub tftp: SocketAddr,
    pub http: SocketAddr,
}

/// An address of 127.0.0.0/8 that no other process of this kind uses: from the process's number and a counter.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    // Processes whose numbers are not 16,384 apart share none.
    let [_, _, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | middle & 0x3f, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("no other recorder is installed"))
}

/// The counters are the process's, not a daemon's: tests that compare them, and those that cause what others count, take turns.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// The sum of a counter over all its labels that contain `label`.
pub fn counted(name: &str, label: &str) -> u64 {
    let text = metrics().render();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Waits until a counter is `n` above `before`, and no more.
pub async fn until_counted(name: &str, label: &str, before: u64, n: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while counted(name, label) < before + n {
        assert!(Instant::now() < deadline, "{name} {label}: {} of {n}", counted(name, label) - before);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(counted(name, label) - before, n, "{name} {label}");
}

impl Daemon {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        Self::start_in(Arc::new(dir)).await
    }

    pub async fn start_in(dir: Arc<tempfile::TempDir>) -> Self {
        Self::start_with(dir, "").await
    }

    /// With more lines at the end of its configuration.
    pub async fn start_with(dir: Arc<tempfile::TempDir>, extra: &str) -> Self {
        Self::start_as(dir, false, &[], extra).await
    }

    /// [`Daemon::start_with`], serving HTTPS on port 8443 too.
    pub async fn start_https(dir: Arc<tempfile::TempDir>, extra: &str) -> Self {
        Self::start_as(dir, true, &[], extra).await
    }

    /// With these directories served beside the root.
    pub async fn start_over(dir: Arc<tempfile::TempDir>, roots: &[&str]) -> Self {
        Self::start_as(dir, false, roots, "").await
    }

    async fn start_as(dir: Arc<tempfile::TempDir>, https: bool, roots: &[&str], extra: &str) -> Self {
        metrics();
        let ip = address();
        let (tftp, http) = (SocketAddr::from((ip, 6_969)), SocketAddr::from((ip, 8_080)));
        let (state, root, socket) = (dir.path().join("state"), dir.path().join("root"), dir.path().join("api.sock"));
        let roots = [&[root.to_str().unwrap()], roots].concat();
        let https = if https { format!("https = [\"{ip}:8443\"]\n") } else { String::new() };
        let text = format!(
            "[bootd]\nstate_dir = {state:?}\napi = [\"unix:{}\"]\ntftp = [\"{tftp}\"]\nhttp = [\"{http}\"]\nroots = {roots:?}\n{https}{extra}",
            socket.display()
        );
        let file = dir.path().join("reveille.toml");
        std::fs::write(&file, text).unwrap();
        let config = Arc::new(Config::load(&file).unwrap_or_else(|m| panic!("{m:#?}")).bootd.unwrap());
        let running = reveille_bootd::start(config.clone(), Arc::new(|| metrics().render())).await.unwrap();
        Self { running: Some(running), config, dir, tftp, http }
    }

    pub async fn stop(&mut self) {
        self.running.take().unwrap().drain().await;
    }

    /// Writes a file below the root.
    pub fn file(&self, name: &str, octets: &[u8]) -> PathBuf {
        let path = self.dir.path().join("root").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, octets).unwrap();
        path
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.http)
    }

    /// curl against the API; the status and the JSON.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let socket = self.dir.path().join("api.sock");
        let mut arguments = vec![
            "-sS".into(),
            "-X".into(),
            method.to_owned(),
            "--unix-socket".into(),
            socket.display().to_string(),
            "-w".into(),
            "\n%{http_code}".into(),
            format!("http://bootd{path}"),
        ];
        if let Some(body) = body {
            static NEXT: AtomicU8 = AtomicU8::new(0);
            let file = self.dir.path().join(format!("body-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
            std::fs::write(&file, body.to_string()).unwrap();
            arguments.extend(["--data-binary".into(), format!("@{}", file.display())]);
        }
        let output = run("curl", &arguments, None).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        let json = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (status.parse().unwrap(), json)
    }

    /// The last transfers, once none is under way.
    pub async fn ended_transfers(&self) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, page) = self.api("GET", "/v1/transfers", None).await;
            let items = page["items"].as_array().unwrap().clone();
            if items.iter().all(|item| !item["outcome"].is_null()) {
                return items;
            }
            assert!(Instant::now() < deadline, "transfers do not end: {items:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs a program to its end. A program that is missing fails the test.
pub async fn run<S: AsRef<str>>(program: &str, arguments: &[S], directory: Option<&Path>) -> Output {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref));
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let name = program.to_owned();
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap_or_else(|error| {
        panic!("cannot run `{name}` ({error}): it is needed for this test; `make deps` installs it")
    })
}

/// Octets that repeat nowhere near, the same for the same length.
pub fn octets(n: usize) -> Vec<u8> {
    let mut x = n as u64 | 1;
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&x.to_be_bytes());
    }
    out.truncate(n);
    out
}

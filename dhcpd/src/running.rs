//! Starting, reloading and draining: who owns the threads and tasks.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reveille_config::dhcpd::Dhcpd;
use reveille_events::webhook::Hooks;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::{self, ApiState, CertificateError, Certificates, DurableLog, ListenError};
use crate::io::engine::Engine;
use crate::io::foreign_watch::ForeignWatch;
use crate::io::link::{LinkError, PortOptions, Ports};
use crate::io::prober::Prober;
use crate::io::proxy::ProxyPort;
use crate::io::router_solicitation::RouterSolicitations;
use crate::io::worker::Worker;
use crate::io::{Clock, Waker};
use crate::proto::scope::Scopes;
use crate::store::journal::{DirectoryError, FileStorage, JournalOptions, JournalState, SnapshotReport, Storage};
use crate::store::nice::be_nicer;
use crate::store::queue::Request;
use crate::store::snapshot::TakeError;
use crate::store::tokens::{TokenError, Tokens};
use crate::store::{Store, StoreError};

/// How often it is checked whether a snapshot is due.
const SNAPSHOT_CHECK: Duration = Duration::from_secs(1);
/// How often it is looked whether a scope's pools have come to a mark.
const POOL_CHECK: Duration = Duration::from_secs(1);
/// After a snapshot that failed, the next try waits so long.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(60);
/// So much above the process's own nice value is that of a snapshot: one of a million leases would take a third of a core that workers are busy on.
const SNAPSHOT_NICER: i32 = 10;

/// How long a drain waits for requests that are being answered.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Why dhcpd does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    Directory(#[from] DirectoryError),
    /// The state cannot be read.
    #[error("cannot read the leases")]
    Store(#[from] StoreError),
    /// A scope's sockets.
    #[error("cannot serve a scope")]
    Link(#[from] LinkError),
    /// The API's listeners.
    #[error("cannot serve the lease API")]
    Listen(#[from] ListenError),
    /// Who may use the API.
    #[error("cannot serve the lease API")]
    Tokens(#[from] TokenError),
    /// Port 4011 of a proxy scope.
    #[error(
        "cannot answer boot clients on port 4011 of a proxy scope: is its server address on the interface, and the port free?"
    )]
    Proxy(#[source] std::io::Error),
    /// The system gives no thread or descriptor.
    #[error("cannot start a thread")]
    System(#[source] std::io::Error),
}

/// Why dhcpd can no longer serve.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk failed; only a restart, which reads what it holds, goes on.
    #[error("the lease journal has failed: {0}")]
    Journal(Arc<str>),
    /// A worker thread ended.
    #[error("worker {0} ended")]
    Worker(usize),
    /// The API ended.
    #[error("the lease API ended")]
    Api,
}

/// Why a new configuration is not in force; the old one stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Something changed that is bound to sockets or files.
    #[error("{0} has changed: restart dhcpd for it; nothing of the new configuration is in force")]
    NeedsRestart(String),
    /// The certificate of the lease API cannot be used.
    #[error("{0}; the one before stays in force, and so does the configuration")]
    Certificate(#[from] CertificateError),
    /// A worker does not keep up with its queue.
    #[error("a worker is too busy to take the new configuration; try again")]
    Busy,
}

/// A dhcpd that serves. Dropping it without [`Running::drain`] leaves its threads to the end of the process.
#[derive(Debug)]
pub struct Running {
    config: std::sync::Mutex<Arc<Dhcpd>>,
    store: Arc<Store>,
    api: Arc<ApiState>,
    certificates: Option<Arc<Certificates>>,
    listeners: JoinSet<()>,
    workers: Vec<JoinHandle<std::io::Result<()>>>,
    tasks: JoinSet<()>,
    hooks: Hooks,
    failures: mpsc::UnboundedReceiver<RunError>,
    /// Threads that end when they are dropped.
    beside: (RouterSolicitations, Prober, ForeignWatch, ProxyPort),
}

/// Reports the end of a worker thread, also by panic.
struct Ended(usize, mpsc::UnboundedSender<RunError>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody listens while draining.
        let _ = self.1.send(RunError::Worker(self.0));
    }
}

/// Starts dhcpd; returns when it serves.
///
/// # Errors
/// See [`StartError`]; each says what to do.
pub async fn start(
    config: Arc<Dhcpd>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
) -> Result<Running, StartError> {
    let storage = FileStorage::open(&config.state_dir.join("journal"))?;
    start_on(Box::new(storage), config, metrics_text).await
}

/// Like [`start`], with the journal on a storage of the caller's: the benchmark's slow disk.
///
/// # Errors
/// See [`StartError`].
pub async fn start_on(
    storage: Box<dyn Storage>,
    config: Arc<Dhcpd>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
) -> Result<Running, StartError> {
    let clock = Clock::default();
    let scopes = Arc::new(Scopes::compile(&config));
    let options = JournalOptions {
        segment_bytes: config.journal.segment_bytes,
        commit_gap: Duration::from_micros(config.journal.commit_gap_micros),
        snapshot_after_bytes: config.journal.snapshot_after_bytes,
        run_first: Some(crate::io::run_first),
        ..JournalOptions::default()
    };
    let (store, parts) = Store::open(storage, options, Arc::clone(&scopes), config.workers, clock.now())?;
    let store = Arc::new(store);

    // Every socket is opened before the first packet is answered, so that a start is all or nothing.
    let options = |worker| PortOptions { worker, workers: config.workers, segmentation: config.io.segmentation };
    let ports: Vec<Ports> =
        (0..config.workers).map(|worker| Ports::open(&scopes, options(worker))).collect::<Result<_, _>>()?;
    let certificates = Certificates::open(&config.api).map_err(ListenError::from)?.map(Arc::new);
    let listeners = api::bind(&config.api, certificates.as_ref()).await?;
    let tokens = Arc::new(Tokens::open(config.state_dir.join("tokens.json"))?);
    let soliciting: Vec<Box<str>> = scopes
        .interfaces()
        .into_iter()
        .filter(|name| scopes.iter().any(|scope| scope.is_on(name) && scope.answer_router_solicitations))
        .collect();
    let router_solicitations = RouterSolicitations::start(&soliciting).map_err(StartError::System)?;

    let prober = Prober::start(&scopes, store.queues.clone()).map_err(StartError::System)?;

    let watch = ForeignWatch::start(Arc::clone(&store.shared), clock).map_err(StartError::System)?;

    let proxy = ProxyPort::start(Arc::clone(&store.shared), clock).map_err(StartError::Proxy)?;

    let (failed, failures) = mpsc::unbounded_channel();
    let links: Arc<[Box<str>]> = scopes.interfaces().into();
    let mut workers = Vec::new();
    for (part, ports) in parts.into_iter().zip(ports) {
        let number = part.worker;
        let waker = Arc::new(Waker::new().map_err(StartError::System)?);
        let wake = Arc::clone(&waker);
        store.queues[number].wake_with(Arc::new(move || wake.wake()));
        let wake = Arc::clone(&waker);
        store.journal.on_durable(Box::new(move || wake.wake()));
        let engine = Engine::new(part, Arc::clone(&store.shared), store.journal.appender(), Arc::clone(&links));
        let worker = Worker { engine, ports, probes: prober.probes(number), waker, clock };
        workers.push(worker.start(number, Ended(number, failed.clone())).map_err(StartError::System)?);
    }

    let (mut tasks, mut serving) = (JoinSet::new(), JoinSet::new());
    let state = Arc::new(ApiState::new(Arc::clone(&store), tokens, metrics_text));
    for listener in listeners {
        let (state, failed) = (Arc::clone(&state), failed.clone());
        serving.spawn(async move {
            listener.serve(state).await;
            let _ = failed.send(RunError::Api);
        });
    }
    tasks.spawn(watch_journal(Arc::clone(&store), failed));
    tasks.spawn(take_snapshots(Arc::clone(&store)));
    if let Some(certificates) = &certificates {
        tasks.spawn(Arc::clone(certificates).watch());
    }
    tasks.spawn(watch_pools(Arc::clone(&store), clock));
    let log = Arc::new(DurableLog(Arc::clone(&state)));
    let hooks = Hooks::start("dhcpd", log, &config.state_dir, &config.webhooks);
    let config = std::sync::Mutex::new(config);
    Ok(Running {
        config,
        store,
        api: state,
        certificates,
        listeners: serving,
        workers,
        tasks,
        hooks,
        failures,
        beside: (router_solicitations, prober, watch, proxy),
    })
}

impl Running {
    /// Resolves when dhcpd can no longer serve.
    pub async fn failed(&mut self) -> RunError {
        match self.failures.recv().await {
            Some(error) => error,
            // The tasks hold the other end for as long as they run.
            None => RunError::Api,
        }
    }

    /// Puts new scopes, options and reservations in force. Leases and reservations made over the API stay.
    ///
    /// # Errors
    /// See [`ReloadError`].
    pub fn reload(&self, config: Arc<Dhcpd>) -> Result<(), ReloadError> {
        let outcome = self.put_in_force(config);
        self.note_reload(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Has the API say what became of a reload: why it changed nothing, or that it was taken.
    pub fn note_reload(&self, refused: Option<String>) {
        self.api.note_reload(refused);
    }

    fn put_in_force(&self, config: Arc<Dhcpd>) -> Result<(), ReloadError> {
        let mut current = self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(what) = needs_restart(&current, &config) {
            return Err(ReloadError::NeedsRestart(what));
        }
        if let Some(certificates) = &self.certificates {
            certificates.refresh()?;
        }
        // A batch of reservations under way was checked against what is in force.
        let Ok(_changing) = self.store.changing.try_read() else { return Err(ReloadError::Busy) };
        self.store.shared.scopes.store(Arc::new(Scopes::compile(&config)));
        self.hooks.put_in_force(&config.webhooks);
        *current = config;
        let told = self.store.queues.iter().map(|queue| queue.push(Request::Reload)).filter(Result::is_err).count();
        if told > 0 { Err(ReloadError::Busy) } else { Ok(()) }
    }

    /// Stops taking packets and requests, writes what waits, closes the journal.
    pub async fn drain(mut self) {
        self.hooks.stop().await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.api.close();
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_WAIT, ended).await.is_err() {
            tracing::warn!("some requests were still running after {DRAIN_WAIT:?}; they are cut off");
            self.listeners.abort_all();
        }
        for queue in &self.store.queues {
            // A full queue empties while its worker runs; one that has ended needs no telling.
            for _ in 0..1_000 {
                match queue.push(Request::Stop) {
                    Ok(()) => break,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
        let (workers, store, beside) = (self.workers, (self.store, self.api), self.beside);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                match worker.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "a worker ended with an error"),
                    Err(_) => tracing::error!("a worker panicked"),
                }
            }
            drop(beside);
            // The last owner closes the journal.
            drop(store);
        });
        if joined.await.is_err() {
            tracing::error!("draining panicked");
        }
    }
}

/// What of the difference cannot be put in force while running.
fn needs_restart(old: &Dhcpd, new: &Dhcpd) -> Option<String> {
    let fixed = |name: &str, same: bool| (!same).then(|| format!("`{name}`"));
    let of_daemon = fixed("state_dir", old.state_dir == new.state_dir)
        .or_else(|| fixed("api", old.api == new.api))
        .or_else(|| fixed("workers", old.workers == new.workers))
        .or_else(|| fixed("[dhcpd.journal]", old.journal == new.journal))
        .or_else(|| fixed("[dhcpd.io]", old.io == new.io))
        .or_else(|| fixed("the number of scopes", old.scopes.len() == new.scopes.len()));
    of_daemon.or_else(|| {
        old.scopes.iter().zip(&new.scopes).find_map(|(old, new)| {
            let in_scope = |name: &str, same: bool| (!same).then(|| format!("`{name}` of scope `{}`", old.name));
            in_scope("name", old.name == new.name)
                .or_else(|| in_scope("interface", old.interface == new.interface))
                .or_else(|| in_scope("shared_network", old.shared_network == new.shared_network))
                .or_else(|| in_scope("identity", old.identity == new.identity))
                .or_else(|| in_scope("subnet", old.subnet == new.subnet))
                .or_else(|| in_scope("server_address", old.server_address == new.server_address))
                .or_else(|| {
                    let same = old.answer_router_solicitations == new.answer_router_solicitations;
                    in_scope("answer_router_solicitations", same)
                })
                .or_else(|| in_scope("kind", old.kind == new.kind))
                .or_else(|| {
                    let same = old.foreign_server_probe_secs == new.foreign_server_probe_secs;
                    in_scope("foreign_server_probe_secs", same)
                })
                .or_else(|| in_scope("conflict_check", old.conflict.method == new.conflict.method))
        })
    })
}

async fn watch_journal(store: Arc<Store>, failed: mpsc::UnboundedSender<RunError>) {
    let mut states = store.journal.subscribe_state();
    loop {
        if let JournalState::Failed { reason } = store.journal.state() {
            let _ = failed.send(RunError::Journal(reason));
            return;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_pools(store: Arc<Store>, clock: Clock) {
    loop {
        tokio::time::sleep(POOL_CHECK).await;
        store.note_pool_levels(clock.now().unix);
    }
}

async fn take_snapshots(store: Arc<Store>) {
    loop {
        tokio::time::sleep(SNAPSHOT_CHECK).await;
        if !store.journal.snapshot_due() {
            continue;
        }
        let taking = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || take_nicely(taking)).await {
            Ok(Ok(report)) => tracing::info!(records = report.records, bytes = report.bytes, "snapshot taken"),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no snapshot; the log grows on");
                tokio::time::sleep(SNAPSHOT_RETRY).await;
            }
            Err(_) => return,
        }
    }
}

/// Takes a snapshot in a thread of its own, since one that has become nicer stays so, and waits for it.
fn take_nicely(store: Arc<Store>) -> Result<SnapshotReport, TakeError> {
    let nicely = |store: Arc<Store>| {
        be_nicer(SNAPSHOT_NICER);
        store.take_snapshot()
    };
    let taking = Arc::clone(&store);
    match std::thread::Builder::new().name("dhcpd-snapshot".into()).spawn(move || nicely(taking)) {
        Ok(thread) => thread.join().unwrap_or(Err(TakeError::Worker)),
        // No thread more: then among all others.
        Err(_) => store.take_snapshot(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::config;

    #[test]
    fn only_what_is_bound_to_sockets_and_files_needs_a_restart() {
        let old = config(&[]);
        for (from, to, expected) in [
            ("lease_secs = 3600", "lease_secs = 4000", None),
            ("224 = \"hex:0a0b\"", "224 = \"hex:00\"", None),
            ("10.77.2.100-10.77.2.109", "10.77.2.100-10.77.2.120", None),
            ("10.77.2.50", "10.77.2.51", None),
            ("bios = \"undionly.kpxe\"", "bios = \"other.kpxe\"", None),
            ("/var/lib/reveille/dhcpd", "/srv/dhcpd", Some("state_dir")),
            ("dhcpd.sock", "other.sock", Some("api")),
            (
                "[[dhcpd.scope]]\nname = \"bmc\"",
                "[dhcpd.journal]\ncommit_gap_micros = 5\n[[dhcpd.scope]]\nname = \"bmc\"",
                Some("journal"),
            ),
            (
                "[[dhcpd.scope]]\nname = \"bmc\"",
                "[dhcpd.io]\nsegmentation = false\n[[dhcpd.scope]]\nname = \"bmc\"",
                Some("[dhcpd.io]"),
            ),
            ("\"bmc\"", "\"bmcs\"", Some("`name` of scope `bmc`")),
            ("vp0", "vp1", Some("`interface` of scope `prov`")),
            ("10.77.2.0/24", "10.77.2.0/25", Some("`subnet` of scope `prov`")),
            ("server_address = \"10.77.2.1\"", "server_address = \"10.77.2.2\"", Some("`server_address`")),
        ] {
            let told = needs_restart(&old, &config(&[(from, to)]));
            match expected {
                None => assert_eq!(told, None, "{from} → {to}"),
                Some(word) => {
                    assert!(told.as_deref().is_some_and(|told| told.contains(word)), "{from} → {to}: {told:?}")
                }
            }
        }
    }
}

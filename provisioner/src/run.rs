//! [`start`] and [`Running`]: the daemon as a whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reveille_client::AccessError;
use reveille_config::Endpoint;
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::limit::EVENT_STREAMS_MAX;
use reveille_config::provisioner::Provisioner;
use reveille_events::Streams;
use reveille_events::webhook::Hooks;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::io::agent::AgentClient;
use crate::io::bmc::{BmcLimits, BmcSocket};
use crate::io::boot::BootServices;
use crate::io::clock;
use crate::io::driver::{Driver, Drivers};
use crate::io::listen::Listener;
use crate::io::poll::Poller;
use crate::io::runner::Runner;
use crate::io::world::World;
use crate::proto::ipmi::{Idle, Timing};
use crate::proto::node::Settings;
use crate::store::{Closed, Store, StoreError};

/// A session that is held is used this often, before the BMC would drop it (60 s).
const SESSION_KEPT: Duration = Duration::from_secs(45);
/// A session that is not to be held is given back after this time: the commands of one change come closer together.
const SESSION_UNUSED: Duration = Duration::from_secs(3);
/// For the file to be closed after the last task has ended.
const CLOSE: Duration = Duration::from_secs(10);

/// Why the provisioner did not start. The text stands alone: it names the place and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener; the text names the endpoint and what to do.
    #[error("{0}")]
    Listen(String),
    /// What is shown to dhcpd.
    #[error("[provisioner.dhcpd]: {0}")]
    Dhcpd(#[from] AccessError),
    /// The socket for BMCs.
    #[error("cannot open the UDP socket for BMCs: {0}")]
    Bmc(std::io::Error),
}

/// Why the provisioner can no longer serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The store's disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of its tasks ended that never should.
    #[error("a task of the provisioner ended unexpectedly")]
    Task,
}

/// Why a new configuration is not taken; the old one stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A setting that only a restart changes.
    #[error("{0} can only be changed by a restart")]
    NeedsRestart(&'static str),
    /// What is shown to dhcpd.
    #[error("[provisioner.dhcpd]: {0}")]
    Dhcpd(#[from] AccessError),
}

/// A provisioner that serves.
pub struct Running {
    config: Arc<Provisioner>,
    settings: Arc<ArcSwap<Settings>>,
    boot: BootServices,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    hooks: Hooks,
    failures: mpsc::Receiver<RunError>,
    closed: Closed,
    addresses: Addresses,
    reload: watch::Sender<ReloadStatus>,
}

/// Where it listens, as the system gave it (port 0 in the configuration becomes a port).
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// TCP listeners of the whole API.
    pub api: Vec<SocketAddr>,
    /// Listeners of the agents' part.
    pub agent_api: Vec<SocketAddr>,
}

/// Starts the provisioner; returns when it serves.
pub async fn start(
    config: Arc<Provisioner>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
) -> Result<Running, StartError> {
    let idle = match config.power.hold_sessions {
        true => Idle::KeepAliveEvery(SESSION_KEPT),
        false => Idle::CloseAfter(SESSION_UNUSED),
    };
    let command_max = Duration::from_secs(config.timeouts.bmc_secs.into());
    let timing = Timing { command_max, idle, ..Timing::default() };
    let bmc = BmcSocket::start(None, BmcLimits { timing, ..BmcLimits::default() }).map_err(StartError::Bmc)?;
    let settings = Settings::from(&*config);
    let given_back_after = (!config.power.hold_sessions).then_some(SESSION_UNUSED);
    start_with(config, settings, Drivers::new(bmc, command_max, given_back_after), metrics_text).await
}

/// [`start`] with a BMC driver and a pace of the caller's own.
pub async fn start_with<P: Driver + Send + Sync + 'static>(
    config: Arc<Provisioner>,
    settings: Settings,
    bmc: P,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
) -> Result<Running, StartError> {
    let (stop, stopped) = watch::channel(false);
    let boot = BootServices::new(&config)?;
    let (store, closed) = Store::open(&config.state_dir)?;
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let reload = watch::Sender::default();
    let api = Api {
        reload: reload.subscribe(),
        store: store.clone(),
        settings: Arc::clone(&settings),
        now: clock::now,
        conductor: host_name().into(),
        metrics_text,
        streams: Streams::new("provisioner", EVENT_STREAMS_MAX, stopped.clone()),
    };
    let mut listeners = Vec::new();
    let mut addresses = Addresses::default();
    for endpoint in &config.api {
        let listener = Listener::bind(endpoint).await.map_err(StartError::Listen)?;
        addresses.api.extend(listener.local_address());
        listeners.push((listener, api.clone().full()));
    }
    for address in &config.agent_api {
        let listener = Listener::bind(&Endpoint::Tcp(*address)).await.map_err(StartError::Listen)?;
        addresses.agent_api.extend(listener.local_address());
        listeners.push((listener, api.clone().agents()));
    }
    drop(api);
    let (failed, failures) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    for (listener, router) in listeners {
        tasks.spawn(listener.serve(router, stopped.clone()));
    }
    let world = Arc::new(World { bmc, boot: boot.clone(), agent: AgentClient::new(), inrush: Default::default() });
    let hooks = Hooks::start("provisioner", store.events().clone(), &config.state_dir, &config.webhooks);
    let runner = Runner::new(store.clone(), Arc::clone(&world), Arc::clone(&settings));
    let poller = Poller::new(store, Arc::clone(&world), Arc::clone(&settings));
    let (runner_failed, runner_stopped) = (failed.clone(), stopped.clone());
    // Sessions are given back once nobody uses them any more: neither of the two that hold a sender.
    let (runner_talks, mut nobody_talks) = mpsc::channel::<()>(1);
    let poller_talks = runner_talks.clone();
    tasks.spawn(async move {
        let _ = nobody_talks.recv().await;
        world.bmc.close().await;
    });
    tasks.spawn(async move {
        let _talks = runner_talks;
        if let Err(error) = runner.run(runner_stopped).await {
            let _ = runner_failed.try_send(error.into());
        }
    });
    tasks.spawn(async move {
        let _talks = poller_talks;
        if let Err(error) = poller.run(stopped).await {
            let _ = failed.try_send(error.into());
        }
    });
    Ok(Running { config, settings, boot, stop, tasks, hooks, failures, closed, addresses, reload })
}

impl Running {
    /// Resolves only if the daemon can no longer serve.
    pub async fn failed(&mut self) -> RunError {
        tokio::select! {
            Some(error) = self.failures.recv() => error,
            Some(_) = self.tasks.join_next() => self.failures.try_recv().unwrap_or(RunError::Task),
            else => RunError::Task,
        }
    }

    /// Takes a new configuration. What cannot change while running is refused, and the old configuration stays.
    pub fn reload(&self, config: Arc<Provisioner>) -> Result<(), ReloadError> {
        let outcome = self.put_in_force(&config);
        self.note_reload(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Has the API say what became of a reload: why it changed nothing, or that it was taken.
    pub fn note_reload(&self, refused: Option<String>) {
        self.reload.send_modify(|status| *status = status.after(refused));
    }

    fn put_in_force(&self, config: &Provisioner) -> Result<(), ReloadError> {
        let old = &self.config;
        for (name, is_same) in [
            ("provisioner.state_dir", old.state_dir == config.state_dir),
            ("provisioner.api", old.api == config.api),
            ("provisioner.agent_api", old.agent_api == config.agent_api),
            ("provisioner.bootd", old.bootd == config.bootd),
            ("provisioner.power.hold_sessions", old.power.hold_sessions == config.power.hold_sessions),
            ("provisioner.timeouts.bmc_secs", old.timeouts.bmc_secs == config.timeouts.bmc_secs),
        ] {
            if !is_same {
                return Err(ReloadError::NeedsRestart(name));
            }
        }
        self.boot.put_in_force(config)?;
        self.hooks.put_in_force(&config.webhooks);
        self.settings.store(Arc::new(Settings::from(config)));
        Ok(())
    }

    /// Stops: no new connections and effects; requests under way are answered, the file is closed.
    pub async fn drain(self) {
        let Self { stop, mut tasks, mut hooks, closed, .. } = self;
        stop.send_replace(true);
        hooks.stop().await;
        while tasks.join_next().await.is_some() {}
        if tokio::time::timeout(CLOSE, closed.wait()).await.is_err() {
            tracing::warn!("the store was not closed in time");
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

/// This host's name: what Ironic calls the conductor.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "reveille".to_owned(),
        name => name.to_owned(),
    }
}

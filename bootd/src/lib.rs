//! The boot server: TFTP and HTTP for iPXE, kernels and agent images.
//!
//! [`proto`] decides, [`store`] remembers, [`io`] acts, [`api`] is for the provisioner and for people. [`start`] binds everything and
//! returns when machines are served; [`Running`] is the daemon from then on. With the provisioner gone every machine boots as it was told
//! last: intents are kept on disk and served from memory.

pub mod api;
pub mod io;
pub mod proto;
pub mod store;

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use reveille_config::Endpoint;
use reveille_config::bootd::{Bootd, DropBox};
use reveille_config::dto::bootd::{BootAction, Intent, IntentPut};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::limit::{API_CONNECTIONS_MAX, EVENT_STREAMS_MAX, HTTP_CONNECTIONS_MAX};
use reveille_events::Streams;
use reveille_events::webhook::Hooks;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

use crate::io::http::{Door, Lane};
use crate::io::listen::{self, ListenError};
use crate::io::pull::Puller;
use crate::io::{CertificateError, Certificates, Counters, http, tftp};
use crate::proto::language::Language;
use crate::proto::script::{self, IntentRefusal};
use crate::proto::template::{TemplateError, Templates};
use crate::store::copies::{Copies, CopiesError};
use crate::store::{Catalogue, CatalogueError, Events, Intents, IntentsError, Machines, Site, Store, Transfers};

/// Renders the metrics of the process as text.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Downloads that are under way when the daemon is told to stop have so long to finish.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// What is served cannot be had as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A directory to serve.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A template's file.
    #[error("cannot read the template {path} (bootd.profile)", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// What unknown machines boot.
    #[error("bootd.discovery: {0}")]
    Discovery(IntentRefusal),
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is served.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The boot intents.
    #[error(transparent)]
    Intents(#[from] IntentsError),
    /// The certificate of HTTPS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The copies of the upstream's files.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel cannot keep paths below a root.
    #[error("this kernel does not offer openat2 (Linux 5.6 and later do), without which no file is served")]
    Unsupported(#[source] std::io::Error),
    /// The drop-box.
    #[error("cannot use the directory {path} (bootd.dropbox.directory); it must exist and be writable", path = .path.display())]
    DropBox {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread of the runtime.
    #[error("a thread of bootd has failed at the start")]
    Thread(#[source] JoinError),
}

/// Why the daemon can no longer serve.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk.
    #[error("bootd cannot go on: {0}")]
    Disk(String),
    /// A server's task has ended.
    #[error("bootd cannot go on: a server has ended unexpectedly")]
    Ended,
    /// A server's task has panicked.
    #[error("bootd cannot go on: a server has failed")]
    Failed(#[source] JoinError),
}

/// Why a changed configuration is not taken; the old one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It needs a restart.
    #[error("bootd.{field} has changed, which takes effect only after a restart; the old configuration stays in force")]
    NeedsRestart {
        /// The key.
        field: &'static str,
    },
    /// What is served.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The certificate of HTTPS.
    #[error("{0}; the old configuration stays in force")]
    Certificate(#[from] CertificateError),
}

/// The daemon, serving.
#[derive(Debug)]
pub struct Running {
    config: Arc<Bootd>,
    store: Arc<Store>,
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
    hooks: Hooks,
    sockets: HashSet<PathBuf>,
    certificates: Option<Arc<Certificates>>,
    puller: Option<Puller>,
    reload: watch::Sender<ReloadStatus>,
}

/// Opens the store, binds all addresses and serves; returns then.
///
/// # Errors
/// See [`StartError`]; nothing is left running.
pub async fn start(config: Arc<Bootd>, metrics_text: MetricsText) -> Result<Running, StartError> {
    Catalogue::is_supported().map_err(StartError::Unsupported)?;
    io::raise_descriptors();
    let (state_dir, site) = (config.state_dir.clone(), site(&config)?);
    let intents =
        tokio::task::spawn_blocking(move || Intents::open(&state_dir)).await.map_err(StartError::Thread)??;
    let dropbox = match &config.dropbox {
        None => None,
        Some(DropBox { directory, file_bytes_max, .. }) => {
            let dropbox = store::DropBox::open(directory, *file_bytes_max);
            Some(dropbox.map_err(|source| StartError::DropBox { path: directory.clone(), source })?)
        }
    };
    let copies = match config.upstream.clone() {
        None => None,
        Some(upstream) => {
            let (dir, check) = (config.state_dir.join("upstream"), Duration::from_secs(upstream.check_secs.into()));
            let open = move || Copies::open(&dir, upstream.disk_bytes_max, check);
            Some(tokio::task::spawn_blocking(open).await.map_err(StartError::Thread)??)
        }
    };
    let events = Arc::new(Events::new());
    let store = Arc::new(Store {
        site: ArcSwap::from_pointee(site),
        copies,
        copies_below: config.upstream.as_ref().map(|upstream| upstream.path.clone()).unwrap_or_default(),
        dropbox,
        intents,
        transfers: Arc::new(Transfers::new(events.clone())),
        events,
        machines: Machines::default(),
    });
    let counters = Arc::new(Counters::new());
    let stop = watch::Sender::new(false);
    let certificates = match &config.tls {
        Some(tls) if !config.https.is_empty() => Some(Arc::new(Certificates::open(tls)?)),
        _ => None,
    };
    let mut running = Running {
        config: config.clone(),
        store: store.clone(),
        stop,
        servers: JoinSet::new(),
        hooks: Hooks::start("bootd", store.events.clone(), &config.state_dir, &config.webhooks),
        sockets: HashSet::new(),
        certificates: certificates.clone(),
        puller: config.upstream.clone().map(|upstream| Puller::new(store.clone(), upstream)),
        reload: watch::Sender::default(),
    };

    for address in &config.tftp {
        let (workers, single_port) = (config.tftp_workers, config.tftp_single_port);
        for server in tftp::Server::bind_all(*address, workers, single_port, &store, &counters)? {
            running.servers.spawn(server.run(running.stop.subscribe()));
        }
        tracing::info!(%address, workers, "serving TFTP");
    }
    let connections = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    if let Some(certificates) = &certificates {
        let (watching, mut stop) = (certificates.clone().watch(), running.stop.subscribe());
        running.servers.spawn(async move {
            tokio::select! {
                () = watching => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
    let plain = config.http.iter().map(|address| (*address, Door::Plain));
    let tls = certificates.iter().flat_map(|own| config.https.iter().map(|address| (*address, Door::Tls(own.clone()))));
    for (address, door) in plain.chain(tls) {
        let machines = http::machine::Machines {
            store: store.clone(),
            puller: running.puller.clone(),
            counters: counters.clone(),
        };
        let service = move |peer, lane: Option<Lane>| {
            let machines = machines.clone();
            service_fn(move |request| {
                let (machines, lane) = (machines.clone(), lane.clone());
                async move { Ok::<_, Infallible>(machines.answer(peer, lane, request).await) }
            })
        };
        let listener = listen::tcp(address)?;
        let stop = running.stop.subscribe();
        tracing::info!(%address, tls = matches!(door, Door::Tls(_)), "serving HTTP");
        running.servers.spawn(http::serve(listener, door, connections.clone(), counters.clone(), stop, service));
    }
    let connections = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
    // Streams may not take all connections.
    let streams_max = EVENT_STREAMS_MAX.min(API_CONNECTIONS_MAX / 2);
    let streams = Streams::new("bootd", streams_max, running.stop.subscribe());
    for endpoint in &config.api {
        let api = api::Api {
            store: store.clone(),
            metrics_text: metrics_text.clone(),
            stop: running.stop.subscribe(),
            reload: running.reload.subscribe(),
            streams: streams.clone(),
        };
        let router = TowerToHyperService::new(api::router(api));
        let service = move |_, _| router.clone();
        let (connections, counters, stop) = (connections.clone(), counters.clone(), running.stop.subscribe());
        match endpoint {
            Endpoint::Tcp(address) => {
                let listener = listen::tcp(*address)?;
                running.servers.spawn(http::serve(listener, Door::Plain, connections, counters, stop, service));
            }
            Endpoint::Unix(path) => {
                let listener = listen::unix(path)?;
                running.sockets.insert(path.clone());
                running.servers.spawn(http::serve(listener, Door::Plain, connections, counters, stop, service));
            }
            // The configuration has refused it.
            Endpoint::Https(_) => continue,
        }
        tracing::info!(%endpoint, "serving the API");
    }
    Ok(running)
}

fn site(config: &Bootd) -> Result<Site, SiteError> {
    let mut templates = Templates::default();
    for profile in &config.profiles {
        templates.add_profile(&profile.name);
        for (language, path) in
            [(Language::Ipxe, &profile.ipxe), (Language::Pxelinux, &profile.pxelinux), (Language::Grub, &profile.grub)]
        {
            let Some(path) = path else { continue };
            let read = std::fs::read_to_string(path);
            let source = read.map_err(|source| SiteError::Unreadable { path: path.clone(), source })?;
            templates.add(&profile.name, language, source)?;
        }
    }
    let discovery = config.discovery.as_ref().map(|own| {
        let (kernel, initrd, cmdline) = (own.kernel.clone(), own.initrd.clone(), own.cmdline.clone());
        let put = IntentPut {
            profile: own.profile.clone(),
            ..IntentPut::new(BootAction::Kernel { kernel, initrd, cmdline })
        };
        match script::check(&put) {
            Ok(()) => Ok(Intent::of(None, put, 0)),
            Err(refusal) => Err(SiteError::Discovery(refusal)),
        }
    });
    Ok(Site {
        catalogue: Catalogue::open(&config.roots)?,
        public_url: config.public_url.clone(),
        guard: config.temp_url.clone(),
        templates,
        discovery: discovery.transpose()?,
    })
}

impl Running {
    /// Resolves only if the daemon can no longer serve.
    pub async fn failed(&mut self) -> RunError {
        tokio::select! {
            reason = self.store.intents.broken() => RunError::Disk(reason),
            ended = self.servers.join_next() => match ended {
                Some(Err(error)) => RunError::Failed(error),
                Some(Ok(())) | None => RunError::Ended,
            },
        }
    }

    /// Takes the roots and the public URL of a changed configuration; transfers under way go on as they began.
    ///
    /// # Errors
    /// See [`ReloadError`].
    pub fn reload(&self, config: Arc<Bootd>) -> Result<(), ReloadError> {
        let outcome = self.put_in_force(&config);
        self.note_reload(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Has the API say what became of a reload: why it changed nothing, or that it was taken.
    pub fn note_reload(&self, refused: Option<String>) {
        self.reload.send_modify(|status| *status = status.after(refused));
    }

    fn put_in_force(&self, config: &Bootd) -> Result<(), ReloadError> {
        let needs_restart = |field| Err(ReloadError::NeedsRestart { field });
        match &*self.config {
            old if old.state_dir != config.state_dir => needs_restart("state_dir"),
            old if old.api != config.api => needs_restart("api"),
            old if old.tftp != config.tftp => needs_restart("tftp"),
            old if old.tftp_single_port != config.tftp_single_port => needs_restart("tftp_single_port"),
            old if old.tftp_workers != config.tftp_workers => needs_restart("tftp_workers"),
            old if old.dropbox != config.dropbox => needs_restart("dropbox"),
            old if old.http != config.http => needs_restart("http"),
            old if old.upstream != config.upstream => needs_restart("upstream"),
            old if old.https != config.https => needs_restart("https"),
            _ => {
                let site = site(config)?;
                if let (Some(certificates), Some(tls)) = (&self.certificates, &config.tls) {
                    certificates.reload(tls)?;
                }
                self.store.site.store(Arc::new(site));
                self.hooks.put_in_force(&config.webhooks);
                Ok(())
            }
        }
    }

    /// Takes no more requests, lets the downloads under way finish ([`DRAIN_TIME_MAX`] at most) and returns.
    pub async fn drain(mut self) {
        self.stop.send_replace(true);
        self.hooks.stop().await;
        let all = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME_MAX, all).await.is_err() {
            tracing::warn!(
                transfers = self.store.transfers.active(),
                "downloads are broken off at the end of the drain"
            );
        }
        self.servers.shutdown().await;
        if let Some(puller) = &self.puller {
            puller.stop().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for path in &self.sockets {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

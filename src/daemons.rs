//! The daemons of this process, from their start to the end of their drain.
//!
//! Tells systemd when they serve and that they live, reloads them on SIGHUP and drains them on SIGTERM or SIGINT.

use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use reveille_bootd::Running as Bootd;
use reveille_config::{Config, Part};
use reveille_dhcpd::Running as Dhcpd;
use reveille_provisioner::Running as Provisioner;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::output;

/// Which daemons a process runs.
#[derive(Clone, Copy)]
pub struct Choice {
    dhcpd: bool,
    bootd: bool,
    provisioner: bool,
    /// Whether a table that the configuration lacks is an error.
    must_have: bool,
}

impl Choice {
    /// `reveille dhcpd`.
    pub const DHCPD: Self = Self { dhcpd: true, bootd: false, provisioner: false, must_have: true };
    /// `reveille bootd`.
    pub const BOOTD: Self = Self { dhcpd: false, bootd: true, provisioner: false, must_have: true };
    /// `reveille provisioner`.
    pub const PROVISIONER: Self = Self { dhcpd: false, bootd: false, provisioner: true, must_have: true };
    /// `reveille all`.
    pub const ALL: Self = Self { dhcpd: true, bootd: true, provisioner: true, must_have: false };
}

impl Choice {
    /// The tables of the configuration that this process reads; what the others refer to (directories, secrets) it may not be allowed to see.
    pub fn parts(self) -> Vec<Part> {
        let chosen = [(self.dhcpd, Part::Dhcpd), (self.bootd, Part::Bootd), (self.provisioner, Part::Provisioner)];
        chosen.into_iter().filter_map(|(chosen, part)| chosen.then_some(part)).collect()
    }
}

/// What runs.
struct Daemons {
    dhcpd: Option<Dhcpd>,
    bootd: Option<Bootd>,
    provisioner: Option<Provisioner>,
}

/// Runs the daemons of `choice` until a signal ends them. An error: one could not start, or can no longer serve.
pub async fn run(choice: Choice, config: Config, file: PathBuf, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut daemons = Daemons::start(choice, config, &file, metrics).await?;
    notify(&[NotifyState::Ready]);
    info!("ready");
    let mut beat = watchdog_beat();
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            failure = daemons.failed() => break Err(failure),
            _ = hang_up.recv() => daemons.reload(choice, &file),
            () = beat.next() => notify(&[NotifyState::Watchdog]),
        }
    };
    notify(&[NotifyState::Stopping]);
    match &outcome {
        Ok(()) => info!("draining"),
        Err(failure) => error!("stopping: {failure:#}"),
    }
    tokio::select! {
        () = daemons.drain() => outcome,
        // Who presses Ctrl-C once more does not want to wait. A repeated SIGTERM is only a supervisor's habit.
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted before all was drained")),
    }
}

impl Daemons {
    async fn start(choice: Choice, config: Config, file: &Path, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let text: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(move || metrics.render());
        let mut daemons = Self { dhcpd: None, bootd: None, provisioner: None };
        let missing = |table: &str| format!("{} has no table [{table}]", file.display());
        if choice.bootd {
            match config.bootd {
                Some(table) => {
                    let running = reveille_bootd::start(Arc::new(table), text.clone()).await;
                    daemons.bootd = Some(running.context("bootd cannot start")?);
                }
                None if choice.must_have => anyhow::bail!(missing("bootd")),
                None => {}
            }
        }
        if choice.dhcpd {
            match config.dhcpd {
                Some(table) => {
                    let running = reveille_dhcpd::start(Arc::new(table), text.clone()).await;
                    daemons.dhcpd = Some(running.context("dhcpd cannot start")?);
                }
                None if choice.must_have => anyhow::bail!(missing("dhcpd")),
                None => {}
            }
        }
        if choice.provisioner {
            match config.provisioner {
                Some(table) => {
                    let running = reveille_provisioner::start(Arc::new(table), text.clone()).await;
                    daemons.provisioner = Some(running.context("provisioner cannot start")?);
                }
                None if choice.must_have => anyhow::bail!(missing("provisioner")),
                None => {}
            }
        }
        Ok(daemons)
    }

    /// Resolves when one of the daemons can no longer serve.
    async fn failed(&mut self) -> anyhow::Error {
        async fn or_never<E>(failure: Option<impl Future<Output = E>>) -> E {
            match failure {
                Some(failure) => failure.await,
                None => pending().await,
            }
        }
        tokio::select! {
            failure = or_never(self.dhcpd.as_mut().map(|running| running.failed())) => anyhow::Error::new(failure).context("dhcpd"),
            failure = or_never(self.bootd.as_mut().map(|running| running.failed())) => anyhow::Error::new(failure).context("bootd"),
            failure = or_never(self.provisioner.as_mut().map(|running| running.failed())) => anyhow::Error::new(failure).context("provisioner"),
        }
    }

    /// Reads `file` again; a file with mistakes changes nothing, and what one daemon refuses keeps its own old configuration in force.
    fn reload(&self, choice: Choice, file: &Path) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        match Config::load_parts(file, &choice.parts()) {
            Ok(config) => {
                put_in_force(file, "dhcpd", self.dhcpd.as_ref(), config.dhcpd, Dhcpd::reload, Dhcpd::note_reload);
                put_in_force(file, "bootd", self.bootd.as_ref(), config.bootd, Bootd::reload, Bootd::note_reload);
                let (running, table) = (self.provisioner.as_ref(), config.provisioner);
                put_in_force(file, "provisioner", running, table, Provisioner::reload, Provisioner::note_reload);
            }
            Err(mistakes) => {
                for mistake in &mistakes {
                    warn!("{}", output::in_one_line(mistake));
                }
                let count = mistakes.len();
                warn!("the old configuration stays in force: {} has {count} mistake(s)", file.display());
                let first = mistakes.first().map(output::in_one_line).unwrap_or_default();
                let why = format!("{} has {count} mistake(s), the first: {first}", file.display());
                let why = || Some(why.clone());
                self.dhcpd.iter().for_each(|running| running.note_reload(why()));
                self.bootd.iter().for_each(|running| running.note_reload(why()));
                self.provisioner.iter().for_each(|running| running.note_reload(why()));
            }
        }
        notify(&[NotifyState::Ready]);
    }

    /// Ends what is under way in good order: first who asks for work, then who does it.
    async fn drain(self) {
        if let Some(running) = self.provisioner {
            running.drain().await;
        }
        if let Some(running) = self.bootd {
            running.drain().await;
        }
        if let Some(running) = self.dhcpd {
            running.drain().await;
        }
    }
}

/// Hands a daemon its table of a configuration that has no mistakes.
fn put_in_force<R, T, E: Into<anyhow::Error>>(
    file: &Path,
    daemon: &str,
    running: Option<&R>,
    table: Option<T>,
    reload: impl FnOnce(&R, Arc<T>) -> Result<(), E>,
    note: impl FnOnce(&R, Option<String>),
) {
    match (running, table) {
        (None, None) => {}
        (Some(running), Some(table)) => match reload(running, Arc::new(table)).map_err(Into::into) {
            Ok(()) => info!("{daemon}: configuration read again"),
            Err(error) => warn!("{daemon}: the new configuration was refused: {error:#}"),
        },
        (Some(running), None) => {
            note(running, Some(format!("{} has no table [{daemon}] any more", file.display())));
            warn!(
                "{daemon}: the old configuration stays in force: the file has no table [{daemon}] any more; restart to go without it"
            );
        }
        (None, Some(_)) => warn!("{daemon}: the table [{daemon}] is new; restart to run it"),
    }
}

/// Tells systemd; where there is no systemd, nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot notify systemd: {error}");
    }
}

/// The watchdog's heartbeat: twice in its interval, or never.
struct Beat(Option<tokio::time::Interval>);

impl Beat {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => pending().await,
        }
    }
}

fn watchdog_beat() -> Beat {
    Beat(sd_notify::watchdog_enabled().map(|limit| tokio::time::interval((limit / 2).max(Duration::from_millis(10)))))
}

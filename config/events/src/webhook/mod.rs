//! [`Hooks`]: web hooks, one task for each, which posts what a daemon tells to a receiver that cannot hold a stream.
//!
//! In the form of Standard Webhooks 1.0, in the order of the log, at least once: a request that is not answered with success is sent again, the same octets with the
//! same id, for as long as it takes, with pauses that grow ([`pace`]). How far each receiver has come is on disk ([`place`]), so that a restart goes on from there.
//! Whoever tells is never waited for: a hook reads the log as any other reader does, keeps one request in memory, and a receiver that lags further than the log
//! reaches back is told what it lost.
//!
//! | file | holds |
//! |---|---|
//! | `message` | [`Message`](message::Message): a request's body, id and signature |
//! | `post` | one HTTP exchange, and why it failed |
//! | `pace` | how long to wait after failures |
//! | `place` | how far a receiver has come, on disk |
//! | `delivery` | one hook: what is next, until it is delivered |

mod delivery;
mod message;
mod pace;
mod place;
mod post;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_config::webhook::Webhook;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Log;
use delivery::Delivery;
pub use pace::Pace;
pub use post::{Failure, test};

/// The web hooks of a daemon. Dropping it ends them, a moment later.
#[derive(Debug)]
pub struct Hooks {
    /// Until they are ended.
    wanted: Option<watch::Sender<Arc<[Webhook]>>>,
    task: JoinHandle<()>,
}

impl Hooks {
    /// Starts delivering what `log` tells to each of `hooks`; their places are kept below `state_dir`. `daemon` is in the requests and in the names of metrics.
    pub fn start(daemon: &'static str, log: Arc<impl Log>, state_dir: &Path, hooks: &[Webhook]) -> Self {
        Self::start_with(daemon, log, state_dir, hooks, Pace::default())
    }

    /// [`Hooks::start`] with a pace of the caller's own.
    pub fn start_with(
        daemon: &'static str,
        log: Arc<impl Log>,
        state_dir: &Path,
        hooks: &[Webhook],
        pace: Pace,
    ) -> Self {
        let wanted = watch::Sender::new(hooks.into());
        let own = Supervisor { daemon, log, directory: state_dir.join("webhooks"), pace, running: BTreeMap::new() };
        let task = tokio::spawn(own.run(wanted.subscribe()));
        Self { wanted: Some(wanted), task }
    }

    /// Delivers to these from now on. Those that are as they were go on undisturbed; one of the same name goes on from where it was, also one whose receiver was gone.
    pub fn put_in_force(&self, hooks: &[Webhook]) {
        if let Some(wanted) = &self.wanted {
            wanted.send_replace(hooks.into());
        }
    }

    /// Ends them: requests under way are broken off, and sent again after a restart.
    pub async fn stop(&mut self) {
        if self.wanted.take().is_some() && (&mut self.task).await.is_err() {
            tracing::error!("the task of the web hooks panicked");
        }
    }
}

/// Starts and ends the tasks.
struct Supervisor<L> {
    daemon: &'static str,
    log: Arc<L>,
    directory: PathBuf,
    pace: Pace,
    running: BTreeMap<String, Running>,
}

struct Running {
    hook: Webhook,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl<L: Log> Supervisor<L> {
    async fn run(mut self, mut wanted: watch::Receiver<Arc<[Webhook]>>) {
        loop {
            let hooks = wanted.borrow_and_update().clone();
            let is_wanted = |running: &Running| hooks.contains(&running.hook) && !running.task.is_finished();
            let (stay, end) = std::mem::take(&mut self.running).into_iter().partition(|(_, own)| is_wanted(own));
            self.running = stay;
            stop(end).await;
            for hook in hooks.iter() {
                if !self.running.contains_key(&hook.name) {
                    self.running.insert(hook.name.clone(), self.begin(hook.clone()));
                }
            }
            if wanted.changed().await.is_err() {
                break stop(self.running).await;
            }
        }
    }

    fn begin(&self, hook: Webhook) -> Running {
        let (stop, stopped) = watch::channel(false);
        let delivery = Delivery::new(self.daemon, self.log.clone(), hook.clone(), &self.directory, self.pace);
        Running { hook, stop, task: tokio::spawn(delivery.run(stopped)) }
    }
}

/// Ends hooks and waits until they have written down how far they have come.
async fn stop(running: BTreeMap<String, Running>) {
    for own in running.values() {
        own.stop.send_replace(true);
    }
    for (name, own) in running {
        if own.task.await.is_err() {
            tracing::error!(webhook = name, "the task of a web hook panicked");
        }
    }
}

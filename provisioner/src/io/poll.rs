//! The fleet's power in view: every node's BMC is asked once an interval, spread evenly; what differs is reported to the life cycle.
//!
//! One whose BMC reports a change by itself is asked at once. It writes nothing while nothing differs. A node in maintenance, or one that is being worked on, is left alone. When to look is
//! [`Schedule`]'s, what a difference means is the life cycle's ([`Event::PowerSeen`]).
//!
//! Metrics: `reveille_power_polls_total{outcome}`, `reveille_power_drift_total`, `reveille_bmc_silent`, `reveille_power_polled_nodes`.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::clock::now;
use super::driver::Driver;
use super::listen::stopped;
use super::power;
use super::watch::Watchers;
use super::world::{Subject, World};
use crate::proto::access::{Access, Interface};
use crate::proto::node::{Event, Failure, Node, Outcome, PowerState, ProvisionState, Settings};
use crate::proto::schedule::Schedule;
use crate::store::{Store, StoreError};

/// BMCs that are asked at a time; the others wait a moment.
const POLLS_MAX: usize = 512;
/// How often the nodes are looked through for new ones.
const MEMBERS_EVERY: Duration = Duration::from_secs(5);
/// A BMC that is silent so often in a row is written into its node's history.
const SILENT_TOLD: u32 = 3;

/// Keeps the fleet's power in view until told to stop.
pub struct Poller<P> {
    store: Store,
    world: Arc<World<P>>,
    settings: Arc<ArcSwap<Settings>>,
    schedule: Schedule<Uuid, BuildHasherDefault<DefaultHasher>>,
    interval: Duration,
    silent: HashSet<Uuid>,
    watchers: Watchers,
    reported: mpsc::Receiver<Uuid>,
}

impl<P: Driver + Send + Sync + 'static> Poller<P> {
    /// A poller of the nodes of `store`.
    pub fn new(store: Store, world: Arc<World<P>>, settings: Arc<ArcSwap<Settings>>) -> Self {
        let interval = Duration::ZERO;
        let schedule = Schedule::new(Duration::from_secs(1), BuildHasherDefault::default());
        let (watchers, reported) = Watchers::new();
        Self { store, world, settings, schedule, interval, silent: Default::default(), watchers, reported }
    }

    /// Runs until `stop` changes, or until the store fails.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        let mut asked: JoinSet<(Uuid, Result<Outcome, Failure>)> = JoinSet::new();
        let mut members_at = Instant::now();
        loop {
            let at = Instant::now();
            if at >= members_at {
                self.look_for_members(at);
                members_at = at + MEMBERS_EVERY;
            }
            while asked.len() < POLLS_MAX {
                let Some(uuid) = self.schedule.take(at) else { break };
                if !self.ask(uuid, &mut asked) {
                    // Not now; it keeps its place.
                    self.schedule.looked_at(at, uuid, true);
                }
            }
            let is_full = asked.len() >= POLLS_MAX;
            let next = self.schedule.next_due().filter(|_| !is_full).map_or(members_at, |due| due.min(members_at));
            tokio::select! {
                () = stopped(&mut stop) => return Ok(()),
                () = tokio::time::sleep_until(next.into()) => {}
                Some(uuid) = self.reported.recv(), if !is_full => {
                    self.ask(uuid, &mut asked);
                }
                Some(ended) = asked.join_next() => match ended {
                    Ok((uuid, result)) => self.answered(uuid, result).await?,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
            }
        }
    }

    fn look_for_members(&mut self, at: Instant) {
        let interval = Duration::from_secs(self.settings.load().power.sync_secs.into());
        if interval != self.interval {
            self.interval = interval;
            self.schedule = Schedule::new(interval.max(Duration::from_secs(1)), BuildHasherDefault::default());
        }
        let members: HashSet<Uuid> = match interval.is_zero() {
            true => HashSet::new(),
            false => {
                self.store.read(|tables| tables.nodes().filter(|node| is_polled(node)).map(|node| node.uuid).collect())
            }
        };
        self.watch(&members);
        self.silent.retain(|uuid| members.contains(uuid));
        self.schedule.set_members(at, members);
        gauge!("reveille_power_polled_nodes").set(self.schedule.len() as f64);
        gauge!("reveille_bmc_silent").set(self.silent.len() as f64);
    }

    /// Asks a node's BMC; false if that is not to be done now.
    fn ask(&self, uuid: Uuid, asked: &mut JoinSet<(Uuid, Result<Outcome, Failure>)>) -> bool {
        let Some(subject) = self.subject(uuid) else { return false };
        let world = Arc::clone(&self.world);
        asked.spawn(async move { (uuid, power::read(&world.bmc, &subject).await) });
        true
    }

    /// Those of the members that may report changes by themselves are listened to.
    fn watch(&mut self, members: &HashSet<Uuid>) {
        let settings = self.settings.load();
        let wanted = self.store.read(|tables| {
            let nodes = tables.nodes().filter(|node| node.driver == "redfish" && members.contains(&node.uuid));
            nodes.filter_map(|node| Some((node.uuid, Access::of(node, Interface::Power, &settings).ok()?))).collect()
        });
        self.watchers.set(&self.world, wanted);
    }

    /// The node as it is now, if it is to be asked.
    fn subject(&self, uuid: Uuid) -> Option<Subject> {
        let node = self.store.read(|tables| tables.node(uuid).cloned())?;
        let is_free = is_polled(&node) && !node.is_reserved();
        is_free.then(|| Subject { node, ports: Vec::new(), settings: self.settings.load_full() })
    }

    async fn answered(&mut self, uuid: Uuid, result: Result<Outcome, Failure>) -> Result<(), StoreError> {
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        counter!("reveille_power_polls_total", "outcome" => outcome).increment(1);
        let silent = self.schedule.looked_at(Instant::now(), uuid, result.is_ok());
        let event = match result {
            Ok(Outcome::Power(power)) => {
                let was_silent = self.silent.remove(&uuid);
                let Some(seen) = self.difference(uuid, power, was_silent) else { return Ok(()) };
                seen
            }
            Ok(_) => return Ok(()),
            Err(Failure { reason, .. }) if silent == SILENT_TOLD => {
                self.silent.insert(uuid);
                Event::PowerUnseen { reason }
            }
            Err(_) => return Ok(()),
        };
        match self.store.step(uuid, event, now(), self.settings.load_full()).await {
            // A disk that is full now: the difference is still there at the next look.
            Ok(_) | Err(StoreError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The event if what was seen is not what is known.
    fn difference(&self, uuid: Uuid, power: PowerState, was_silent: bool) -> Option<Event> {
        let node = self.store.read(|tables| tables.node(uuid).cloned())?;
        if node.power_state == Some(power) && !was_silent {
            return None;
        }
        if !node.is_reserved() && node.power_state.is_some_and(|known| known != power) {
            counter!("reveille_power_drift_total").increment(1);
            tracing::warn!(node = %node.label(), power = power.as_str(), "the power is not as it was left");
        }
        Some(Event::PowerSeen { power, was_silent })
    }
}

/// Whether a node's power is kept in view: not in maintenance, and its BMC was tried before.
fn is_polled(node: &Node) -> bool {
    !node.maintenance && !matches!(node.provision_state, ProvisionState::Enroll | ProvisionState::Verifying)
}

//! The runner: carries out pending effects, one at a time per node, and watches deadlines.
//!
//! What is to be done is in the store; the runner holds only when to look next, so that a restart resumes by looking at
//! every node once. Thousands of waiting nodes cost one entry each.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::acquaintance::Acquaintance;
use super::clock::now;
use super::driver::Driver;
use super::listen::stopped;
use super::world::{Subject, World};
use crate::proto::access::{Access, Interface};
use crate::proto::node::{Event, Failure, Millis, Node, Pending, Settings, Stage};
use crate::store::{Store, StoreError};

/// Effects under way at a time, over all nodes; more wait their turn.
pub const EFFECTS_MAX: usize = 512;
/// Before a result is offered to a store that refused it (disk full) once more.
const REFUSED_RETRY: Duration = Duration::from_secs(2);

/// Carries out effects until told to stop, or until the store fails.
pub struct Runner<P> {
    store: Store,
    world: Arc<World<P>>,
    settings: Arc<ArcSwap<Settings>>,
    due: BTreeSet<(Millis, Uuid)>,
    due_of: HashMap<Uuid, Millis>,
    busy: HashSet<Uuid>,
    acquaintance: Acquaintance,
    tasks: JoinSet<(Uuid, Result<(), StoreError>)>,
}

impl<P: Driver + Send + Sync + 'static> Runner<P> {
    /// A runner for the nodes of `store`.
    pub fn new(store: Store, world: Arc<World<P>>, settings: Arc<ArcSwap<Settings>>) -> Self {
        Self {
            store,
            world,
            settings,
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            busy: HashSet::new(),
            acquaintance: Acquaintance::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until `stop` changes; effects under way are then given up (they will be carried out again at the next start).
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        loop {
            self.start_what_is_due();
            let next = self.due.first().map(|(at, _)| Duration::from_millis(at.0.saturating_sub(now().0)));
            let is_full = self.tasks.len() >= EFFECTS_MAX;
            tokio::select! {
                () = stopped(&mut stop) => return Ok(()),
                changed = self.store.changed_nodes() => {
                    for node in changed {
                        self.forget_who_was_replaced(node).await;
                        self.look_at(node);
                    }
                }
                // The wall clock may be set: look again after a while in any case.
                () = sleep(next.unwrap_or(Duration::MAX).min(Duration::from_secs(30))), if !is_full => {}
                Some(ended) = self.tasks.join_next() => {
                    match ended {
                        Ok((node, outcome)) => {
                            self.busy.remove(&node);
                            outcome?;
                            self.look_at(node);
                        }
                        // A node that nobody works on any more would wait for ever: the daemon ends, and resumes.
                        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// What was found out about a BMC is forgotten when its node says that another one may be there.
    async fn forget_who_was_replaced(&mut self, uuid: Uuid) {
        let node = self.store.read(|tables| tables.node(uuid).cloned());
        let Some(node) = self.acquaintance.has_changed(uuid, node.as_deref()).then_some(node).flatten() else { return };
        let settings = self.settings.load();
        let mut told: Option<Access> = None;
        for interface in [Interface::Power, Interface::Management] {
            // Without an address there is nobody to forget.
            let Ok(access) = Access::of(&node, interface, &settings) else { continue };
            if told.as_ref() != Some(&access) {
                self.world.bmc.forget(&access).await;
                told = Some(access);
            }
        }
    }

    /// Notes when a node wants something next.
    fn look_at(&mut self, uuid: Uuid) {
        if let Some(at) = self.due_of.remove(&uuid) {
            self.due.remove(&(at, uuid));
        }
        if self.busy.contains(&uuid) {
            return;
        }
        let node = self.store.read(|tables| tables.node(uuid).cloned());
        if let Some(at) = node.as_deref().and_then(next_due) {
            self.due.insert((at, uuid));
            self.due_of.insert(uuid, at);
        }
        gauge!("reveille_provisioner_nodes_waiting").set(self.due.len() as f64);
    }

    fn start_what_is_due(&mut self) {
        let now = now();
        while self.tasks.len() < EFFECTS_MAX && self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, uuid)) = self.due.pop_first() else { return };
            self.due_of.remove(&uuid);
            let read =
                self.store.read(|tables| tables.node(uuid).map(|node| (Arc::clone(node), tables.ports_of(uuid))));
            let Some((node, ports)) = read else { continue };
            let settings = self.settings.load_full();
            let subject = Subject { node, ports, settings };
            self.busy.insert(uuid);
            let (store, world) = (self.store.clone(), Arc::clone(&self.world));
            self.tasks.spawn(async move { (uuid, carry_out(&store, &world, subject, now).await) });
        }
    }
}

/// When a node wants something: its first effect, or its deadline.
fn next_due(node: &Node) -> Option<Millis> {
    let deadline = node.work.deadline.as_ref().map(|deadline| deadline.at);
    let effect = node.work.pending.front().map(|pending| pending.not_before);
    match (node.work.stage == Stage::Idle, effect, deadline) {
        (true, ..) => None,
        (_, Some(effect), Some(deadline)) => Some(effect.min(deadline)),
        (_, effect, deadline) => effect.or(deadline),
    }
}

/// Does what is due for one node, and writes down what came of it.
async fn carry_out<P: Driver + Send + Sync>(
    store: &Store,
    world: &World<P>,
    subject: Subject,
    started: Millis,
) -> Result<(), StoreError> {
    let uuid = subject.node.uuid;
    let is_over = subject.node.work.deadline.as_ref().is_some_and(|deadline| deadline.at <= started);
    let event = match subject.node.work.pending.front() {
        Some(Pending { id, not_before, effect, .. }) if !is_over && *not_before <= started => {
            tracing::debug!(node = %uuid, effect = %effect.words(), "carrying out");
            let result = world.carry_out(&subject, effect).await;
            if let Err(Failure { reason, .. }) = &result {
                tracing::info!(node = %uuid, effect = %effect.words(), %reason, "not done");
            }
            Event::Finished { effect: *id, result }
        }
        _ => Event::Deadline,
    };
    loop {
        match store.step(uuid, event.clone(), now(), Arc::clone(&subject.settings)).await {
            Ok(_) => return Ok(()),
            // Nobody but us knows the result: it is kept until there is room for it.
            Err(error @ StoreError::Refused { .. }) => {
                tracing::warn!(node = %uuid, %error, "cannot write down what was done, trying again");
                sleep(REFUSED_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

//! [`Watchers`]: BMCs that report changes by themselves, a stream each, so that a change is seen before its node's turn.
//!
//! A report is an occasion to look, nothing more. A stream that ends is opened anew after a while; a BMC that has none is not asked again
//! before its node changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reveille_config::limit::BMC_STREAMS_MAX;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::driver::Driver;
use super::world::World;
use crate::proto::access::Access;

/// Reports that wait to be looked into; a further one is dropped, as the node has its turn anyway.
const REPORTS_MAX: usize = 1_024;
/// Before a stream that has ended, or could not be opened, is opened again.
const AGAIN: Duration = Duration::from_secs(60);

/// The streams. They end when this is dropped.
pub(super) struct Watchers {
    reports: mpsc::Sender<Uuid>,
    streams: HashMap<Uuid, (Access, AbortHandle)>,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.streams.values().for_each(|(_, stream)| stream.abort());
    }
}

impl Watchers {
    /// No streams yet, and where their reports come: the node to be looked at.
    pub fn new() -> (Self, mpsc::Receiver<Uuid>) {
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        (Self { reports, streams: HashMap::new() }, reported)
    }

    /// These are the nodes to be watched now: streams of others end, those of new ones and of such as are reached otherwise begin. At most
    /// [`BMC_STREAMS_MAX`]; the others are looked at in their turn only.
    pub fn set<P>(&mut self, world: &Arc<World<P>>, wanted: HashMap<Uuid, Access>)
    where
        P: Driver + Send + Sync + 'static,
    {
        self.streams.retain(|uuid, (access, stream)| {
            let stays = wanted.get(uuid).is_some_and(|wanted| wanted == access);
            if !stays {
                stream.abort();
            }
            stays
        });
        for (uuid, access) in wanted {
            if self.streams.len() >= BMC_STREAMS_MAX || self.streams.contains_key(&uuid) {
                continue;
            }
            let stream = tokio::spawn(watch(Arc::clone(world), access.clone(), uuid, self.reports.clone()));
            self.streams.insert(uuid, (access, stream.abort_handle()));
        }
    }
}

async fn watch<P: Driver>(world: Arc<World<P>>, access: Access, uuid: Uuid, reports: mpsc::Sender<Uuid>) {
    let told = move || _ = reports.try_send(uuid);
    loop {
        match world.bmc.watch(&access, &told).await {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => tracing::debug!(node = %uuid, %error, "no stream of events"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

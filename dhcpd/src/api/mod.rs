//! The lease API: HTTP ⇄ domain types. Holds no state of its own: it reads the store's model and asks the workers through their queues.
//!
//! The routes are the table of [`routes`], of which `/v1/openapi.json` is made. Every error is a `problem+json` that names the field at fault.

mod access;
mod batch;
mod batch_rows;
mod body;
mod bulk;
mod certificate;
mod connection;
mod draft;
mod events;
mod export;
mod health;
mod history;
mod lease_filter;
mod lease_line;
mod leases;
mod links;
mod listen;
mod openapi;
mod page;
mod pieces;
mod problem;
mod reservations;
mod routes;
mod scopes;
mod sightings;
mod tokens;
mod version;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::middleware::from_fn_with_state;
use reveille_config::dto::event::Epoch;
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::limit::{BATCHES_BYTES_MAX, BODIES_BYTES_MAX, EVENT_STREAMS_MAX, EXPORTS_MAX};
use reveille_events::Streams;
use tokio::sync::{Semaphore, watch};

use crate::proto::time::UnixSecs;
use crate::store::Store;
use crate::store::tokens::Tokens;
pub use access::Peer;
pub use certificate::{CertificateError, Certificates};
pub use events::DurableLog;
pub use listen::{ListenError, Listener, bind};
pub use openapi::{document, document_text};

/// What the handlers work on.
pub struct ApiState {
    store: Arc<Store>,
    tokens: Arc<Tokens>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    closing: watch::Sender<bool>,
    /// KiB of batches that may still come in now.
    batches: Arc<Semaphore>,
    /// Octets of other bodies that may still be in memory now.
    bodies: Semaphore,
    reload: Mutex<ReloadStatus>,
    streams: Streams,
    shared_chunks: events::SharedChunks,
    exports: Arc<Semaphore>,
    bulk: bulk::Bulk,
}

impl ApiState {
    /// Over this store; `metrics_text` renders `/metrics`.
    pub fn new(store: Arc<Store>, tokens: Arc<Tokens>, metrics_text: Arc<dyn Fn() -> String + Send + Sync>) -> Self {
        let closing = watch::Sender::new(false);
        let streams = Streams::new("dhcpd", EVENT_STREAMS_MAX, closing.subscribe());
        Self {
            store,
            tokens,
            metrics_text,
            closing,
            batches: Arc::new(Semaphore::new(BATCHES_BYTES_MAX >> 10)),
            bodies: Semaphore::new(BODIES_BYTES_MAX),
            reload: Mutex::default(),
            streams,
            shared_chunks: Default::default(),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            bulk: bulk::Bulk::start(),
        }
    }

    /// Remembers what became of a reload.
    pub fn note_reload(&self, refused: Option<String>) {
        let mut status = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        *status = status.after(refused);
    }

    /// What became of the last reload.
    fn reload_status(&self) -> ReloadStatus {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the listeners: no new requests are taken, long polls are answered at once.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Which log the events are: the journal.
    fn epoch(&self) -> Epoch {
        Epoch(self.store.journal.number())
    }

    /// Turns true when the API is closing.
    fn closed_signal(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Resolves when the API is closing.
    async fn closed(&self) {
        // An error means that the sender is gone, which `self` keeps.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("store", &self.store).finish_non_exhaustive()
    }
}

/// All routes. Their requests carry the [`Peer`] that they come from; one without it may do nothing but with a token.
pub fn router(state: Arc<ApiState>) -> Router {
    let (router, operations) = routes::table().into_parts();
    let gate = access::Gate::new(Arc::clone(&state), &operations);
    router
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state(Arc::new(gate), access::admit))
        .with_state(state)
}

fn unix_now() -> UnixSecs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSecs(now.as_secs().try_into().unwrap_or(u32::MAX))
}

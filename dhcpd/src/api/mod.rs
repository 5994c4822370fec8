//! The lease API: HTTP ⇄ domain types. Holds no state of its own: it reads the store's model and asks the workers through their queues.
//!
//! The routes are the table of `reveille_config::dto::dhcpd`. Every error is a `problem+json` that names the field at fault.

mod access;
mod batch;
mod body;
mod certificate;
mod connection;
mod draft;
mod events;
mod export;
mod health;
mod history;
mod lease_filter;
mod leases;
mod links;
mod listen;
mod page;
mod problem;
mod reservations;
mod scopes;
mod sightings;
mod tokens;
mod version;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use reveille_config::limit::{BATCH_BYTES_MAX, BODY_BYTES_MAX};

use reveille_config::dto::reload::ReloadStatus;
use tokio::sync::{Semaphore, watch};

use crate::proto::time::UnixSecs;
use crate::store::Store;
use crate::store::tokens::Tokens;
pub use access::Peer;
pub use certificate::{CertificateError, Certificates};
pub use listen::{ListenError, Listener, bind};

/// What the handlers work on.
pub struct ApiState {
    store: Arc<Store>,
    tokens: Arc<Tokens>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    closing: watch::Sender<bool>,
    batches: Arc<Semaphore>,
    reload: Mutex<ReloadStatus>,
    streams: events::Streams,
}

impl ApiState {
    /// Over this store; `metrics_text` renders `/metrics`.
    pub fn new(store: Arc<Store>, tokens: Arc<Tokens>, metrics_text: Arc<dyn Fn() -> String + Send + Sync>) -> Self {
        Self {
            store,
            tokens,
            metrics_text,
            closing: watch::Sender::new(false),
            batches: Arc::new(Semaphore::new(1)),
            reload: Mutex::default(),
            streams: events::Streams::default(),
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
    Router::new()
        .route("/v1/reservations", get(reservations::list))
        .route("/v1/reservations:batch", post(batch::post).layer(DefaultBodyLimit::max(BATCH_BYTES_MAX)))
        .route("/v1/reservations/{mac}", put(reservations::put).get(reservations::get).delete(reservations::delete))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases:export", get(export::export))
        .route("/v1/leases/{which}", get(leases::get).delete(leases::release))
        .route("/v1/history", get(history::list))
        .route("/v1/sightings", get(sightings::list))
        .route("/v1/sightings/{mac}/approve", post(sightings::approve))
        .route("/v1/scopes", get(scopes::list))
        .route("/v1/links", get(links::list))
        .route("/v1/events", get(events::list))
        .route("/v1/configuration", get(health::configuration))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state(Arc::clone(&state), access::admit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

fn unix_now() -> UnixSecs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSecs(now.as_secs().try_into().unwrap_or(u32::MAX))
}

//! Ironic's REST API, and what Reveille adds to it: HTTP ⇄ domain types.
//!
//! Two routers: [`Api::full`] for those who command the fleet, [`Api::agents`] for the provisioning network, which a booted
//! machine reaches, and which therefore knows nothing but lookup and heartbeat.
//!
//! It holds no state and decides nothing about machines. Status codes, words and shapes are Ironic's, so that its clients
//! behave: 409 makes them try again, 406 lets them negotiate a version, errors are JSON inside a JSON string.
//!
//! | file | holds |
//! |---|---|
//! | `version` | version negotiation |
//! | `error` | [`ApiError`]: Ironic's error bodies |
//! | `extract` | bodies and query strings, bounded, with Ironic's errors |
//! | `fields` | the table of a node's fields: since which version, how shown, whether settable |
//! | `patch` | JSON patches (RFC 6902), the three operations that Ironic takes |
//! | `nodes`, `states`, `management`, `ports` | those resources |
//! | `vmedia` | images in virtual drives |
//! | `agents` | lookup and heartbeat |
//! | `catalogue` | `/`, `/v1`, drivers, conductors |
//! | `own` | events, health, metrics |

mod agents;
mod catalogue;
mod error;
mod events;
mod extract;
mod fields;
mod management;
mod nodes;
mod own;
mod patch;
mod ports;
mod states;
mod version;
mod view;
mod vmedia;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware;
use axum::routing::{get, post, put};
use reveille_config::dto::reload::ReloadStatus;
use reveille_events::Streams;
use tokio::sync::watch;

use crate::proto::node::{Millis, Settings};
use crate::store::Store;

pub use error::ApiError;
pub use version::{VERSION_MAX, VERSION_MIN, Version};

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    /// The store.
    pub store: Store,
    /// The configuration, as it is in force.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The clock.
    pub now: fn() -> Millis,
    /// This host's name: Ironic's conductor.
    pub conductor: Arc<str>,
    /// The text of `/metrics`.
    pub metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    /// What became of the last reload.
    pub reload: watch::Receiver<ReloadStatus>,
    /// The streams of events that are open.
    pub streams: Streams,
}

impl Api {
    /// Everything, for those who command the fleet.
    pub fn full(self) -> Router {
        let routes = Router::new()
            .route("/v1/nodes", get(nodes::list).post(nodes::create))
            .route("/v1/nodes/detail", get(nodes::list_detail))
            .route("/v1/nodes/{node}", get(nodes::show).patch(nodes::change).delete(nodes::delete))
            .route("/v1/nodes/{node}/ports", get(ports::list_of_node))
            .route("/v1/nodes/{node}/ports/detail", get(ports::list_of_node_detail))
            .route("/v1/nodes/{node}/states", get(states::show))
            .route("/v1/nodes/{node}/states/provision", put(states::provision))
            .route("/v1/nodes/{node}/states/power", put(states::power))
            .route("/v1/nodes/{node}/maintenance", put(management::set_maintenance).delete(management::end_maintenance))
            .route(
                "/v1/nodes/{node}/management/boot_device",
                get(management::boot_device).put(management::set_boot_device),
            )
            .route("/v1/nodes/{node}/management/boot_device/supported", get(management::boot_devices))
            .route("/v1/nodes/{node}/vmedia", post(vmedia::attach).delete(vmedia::detach))
            .route("/v1/nodes/{node}/validate", get(management::validate))
            .route("/v1/nodes/{node}/history", get(management::history))
            .route("/v1/nodes/{node}/history/{entry}", get(management::history_entry))
            .route("/v1/ports", get(ports::list).post(ports::create))
            .route("/v1/ports/detail", get(ports::list_detail))
            .route("/v1/ports/{port}", get(ports::show).patch(ports::change).delete(ports::delete))
            .route("/v1/drivers", get(catalogue::drivers))
            .route("/v1/drivers/{driver}", get(catalogue::driver))
            .route("/v1/drivers/{driver}/properties", get(catalogue::driver_properties))
            .route("/v1/conductors", get(catalogue::conductors))
            .route("/v1/conductors/{host}", get(catalogue::conductor))
            .merge(self.agent_routes())
            .layer(middleware::from_fn(version::negotiate));
        let own = Router::new()
            .route("/v1/events", get(events::list))
            .route("/v1/configuration", get(own::configuration))
            .route("/healthz", get(own::healthz))
            .route("/readyz", get(own::readyz))
            .route("/metrics", get(own::metrics));
        finish(routes.merge(own), self)
    }

    /// Lookup and heartbeat, and nothing else: a booted machine must not command the fleet.
    pub fn agents(self) -> Router {
        let routes = self.agent_routes().layer(middleware::from_fn(version::negotiate));
        finish(routes, self)
    }

    fn agent_routes(&self) -> Router<Self> {
        Router::new()
            .route("/", get(catalogue::root))
            .route("/v1", get(catalogue::v1))
            .route("/v1/lookup", get(agents::lookup))
            .route("/v1/heartbeat/{node}", post(agents::heartbeat))
    }
}

/// Errors in Ironic's form for what no route takes, and paths with a slash at the end as without.
fn finish(routes: Router<Api>, api: Api) -> Router {
    let inner = routes
        .fallback(async || ApiError::not_found("The resource could not be found."))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(api);
    let trimmed = tower::ServiceBuilder::new().map_request(trim_slash::<axum::body::Body>).service(inner);
    Router::new().fallback_service(trimmed)
}

fn trim_slash<B>(mut request: Request<B>) -> Request<B> {
    let uri = request.uri();
    let path = uri.path();
    if path.len() > 1 && path.ends_with('/') {
        let trimmed = path.trim_end_matches('/');
        let path = if trimmed.is_empty() { "/" } else { trimmed };
        let path_and_query = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        if let Ok(uri) = path_and_query.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    request
}

//! `GET /v1/links`: the interfaces served, and who else serves there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use reveille_config::dto::dhcpd::{ForeignServer, Link, Page};

use super::ApiState;

/// All links, in the order of the configuration (bounded by it, so one page).
pub async fn list(State(state): State<Arc<ApiState>>) -> Json<Page<Link>> {
    let shared = &state.store.shared;
    let scopes = shared.scopes.load();
    let foreign = shared.foreign();
    let link = |(place, name): (usize, Box<str>)| Link {
        scopes: scopes.iter().filter(|scope| scope.hears(&name)).map(|scope| scope.name.to_string()).collect(),
        foreign_servers: foreign
            .iter()
            .filter(|server| server.link == place)
            .map(|server| ForeignServer {
                address: server.server,
                mac: server.mac,
                offered: server.offered,
                boot_file: (!server.boot_file.is_empty()).then(|| server.boot_file.to_string()),
                first_unix: server.first.0.into(),
                last_unix: server.last.0.into(),
                count: server.count,
            })
            .collect(),
        interface: name.into(),
    };
    Json(Page { items: scopes.interfaces().into_iter().enumerate().map(link).collect(), next: None })
}

//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use metrics::gauge;
use reveille_config::dto::reload::ReloadStatus;

use super::ApiState;
use crate::store::journal::JournalState;

/// 200 while the process serves HTTP.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Which configuration is in force.
pub async fn configuration(State(state): State<Arc<ApiState>>) -> Json<ReloadStatus> {
    Json(state.reload_status())
}

/// 200 when new leases can be promised; 503 with the reason while the journal cannot write. A refused reload is said and no reason for 503: what was in force is.
pub async fn readyz(State(state): State<Arc<ApiState>>) -> (StatusCode, String) {
    match state.store.journal.state() {
        JournalState::Healthy => match state.reload_status().refused {
            None => (StatusCode::OK, "ready\n".into()),
            Some(why) => (StatusCode::OK, format!("ready, with the configuration before the last reload: {why}\n")),
        },
        JournalState::Refusing { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("no new leases: the journal cannot write: {reason}\n"))
        }
        JournalState::Failed { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the journal has failed: {reason}\n"))
        }
    }
}

/// Prometheus' text format. What is not counted as it happens is read now.
pub async fn metrics(State(state): State<Arc<ApiState>>) -> impl IntoResponse {
    let store = &state.store;
    for scope in store.shared.scopes.load().iter() {
        gauge!("reveille_dhcpd_pool_addresses", "scope" => scope.name.to_string()).set(scope.pool_size() as f64);
        gauge!("reveille_dhcpd_pool_in_use", "scope" => scope.name.to_string()).set(store.shared.in_use(scope) as f64);
    }
    let refused = state.reload_status().refused.is_some();
    gauge!("reveille_dhcpd_reload_refused").set(f64::from(u8::from(refused)));
    let stats = store.journal.stats();
    gauge!("reveille_dhcpd_journal_durable_sequence").set(store.journal.durable() as f64);
    gauge!("reveille_dhcpd_journal_commits").set(stats.commits as f64);
    gauge!("reveille_dhcpd_journal_records").set(stats.records as f64);
    gauge!("reveille_dhcpd_journal_octets").set(stats.octets as f64);
    gauge!("reveille_dhcpd_journal_commit_seconds").set(stats.commit_nanos as f64 / 1e9);
    gauge!("reveille_dhcpd_journal_refusals").set(stats.refusals as f64);
    gauge!("reveille_dhcpd_ready").set(f64::from(u8::from(store.journal.state() == JournalState::Healthy)));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics_text)())
}

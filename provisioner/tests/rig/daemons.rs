//! A bootd and a dhcpd that know one machine: the routes that the provisioner calls, and no more.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::machine::Inner;

/// Serves on a free loopback port for as long as the handle is not aborted.
pub async fn serve(router: Router) -> (SocketAddr, tokio::task::AbortHandle) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    (address, task.abort_handle())
}

pub async fn start_bootd(machine: Arc<Inner>) -> SocketAddr {
    let put_intent = async |State(machine): State<Arc<Inner>>, Json(mut body): Json<Value>| {
        machine.state().intent = Some(body.clone());
        machine.answer().await;
        body["mac"] = json!(super::MAC);
        body["put_unix"] = json!(0);
        Json(body)
    };
    let delete_intent = async |State(machine): State<Arc<Inner>>| {
        machine.state().intent = None;
        machine.answer().await;
        StatusCode::NO_CONTENT
    };
    serve(Router::new().route("/v1/intents/{mac}", put(put_intent).delete(delete_intent)).with_state(machine)).await.0
}

pub async fn start_dhcpd(machine: Arc<Inner>) -> SocketAddr {
    let scopes = async || {
        Json(json!({ "items": [
            { "scope": "bmc", "kind": "static", "addresses": 10, "in_use": 1, "declined": 0 },
            { "scope": "provisioning", "kind": "dynamic", "addresses": 100, "in_use": 1, "declined": 0 },
        ] }))
    };
    let put_reservation = async |State(machine): State<Arc<Inner>>, Json(mut body): Json<Value>| {
        machine.state().reservation = Some(body.clone());
        machine.answer().await;
        for (key, value) in [("mac", json!(super::MAC)), ("address", json!("10.77.2.100")), ("origin", json!("api"))] {
            body[key] = value;
        }
        Json(body)
    };
    let delete_reservation = async |State(machine): State<Arc<Inner>>| {
        machine.state().reservation = None;
        machine.answer().await;
        StatusCode::NO_CONTENT
    };
    let routes = Router::new()
        .route("/v1/scopes", get(scopes))
        .route("/v1/reservations/{mac}", put(put_reservation).delete(delete_reservation));
    serve(routes.with_state(machine)).await.0
}

//! bootd's own HTTP API: the routes of `reveille_config::dto::bootd`, between JSON and the store. It holds no state.

mod events;
mod problem;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use reveille_config::dto::bootd::{Intent, IntentPut, Transfer};
use reveille_config::dto::dhcpd::Page;
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::limit::{BODY_BYTES_MAX, EVENTS_WAIT_SECS_MAX, PAGE_MAX};
use reveille_events::Streams;
use serde::Deserialize;
use tokio::sync::watch;

use self::problem::Refusal;
use crate::MetricsText;
use crate::proto::machine_id::MachineId;
use crate::proto::script;
use crate::store::Store;

/// The longest a request may take, its body included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(EVENTS_WAIT_SECS_MAX + 15);

/// What the routes work on.
#[derive(Clone)]
pub struct Api {
    /// What bootd remembers.
    pub store: Arc<Store>,
    /// Renders `/metrics`.
    pub metrics_text: MetricsText,
    /// Turns true when the daemon stops: it is no longer ready.
    pub stop: watch::Receiver<bool>,
    /// What became of the last reload.
    pub reload: watch::Receiver<ReloadStatus>,
    /// The streams of events that are open.
    pub streams: Streams,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

/// The routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/intents", get(list_intents))
        .route("/v1/intents/{machine}", put(put_intent).get(get_intent).delete(delete_intent))
        .route("/v1/transfers", get(list_transfers))
        .route("/v1/events", get(events::list))
        .route("/v1/configuration", get(configuration))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such route", "see the documentation of bootd's API"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "this route does not know this method")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(limit_time))
        .with_state(api)
}

async fn configuration(State(api): State<Api>) -> Json<ReloadStatus> {
    Json(api.reload.borrow().clone())
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {} s", REQUEST_TIME_MAX.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response()
        }
    }
}

/// `?cursor=&limit=`.
#[derive(Debug, Deserialize)]
struct Paging {
    cursor: Option<String>,
    limit: Option<usize>,
}

type Parameters<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// A machine of which a path speaks, and under what it has intents: a MAC stands for itself, a UUID or a node for all that name it.
fn read_machine(api: &Api, machine: &str) -> Result<(MachineId, Vec<MachineId>), Refusal> {
    // A node may have been given a name that is none of those that an intent can be kept under.
    let named: Vec<_> = api.store.intents.named(machine).into_iter().map(|(id, _)| id).collect();
    match MachineId::parse(machine) {
        Ok(id @ MachineId::Mac(_)) => Ok((id.clone(), vec![id])),
        Ok(id) => Ok((id, named)),
        Err(refusal) => match named.first() {
            Some(first) => Ok((first.clone(), named)),
            None => Err(Refusal::bad(refusal.field, refusal.detail)),
        },
    }
}

/// What is put for a machine that was asked for by a name: it does not lose its names by a body that leaves them out, and what is kept under a name says it.
fn keep_names(id: &MachineId, asked: &str, mut put: IntentPut, old: Option<&Intent>) -> Result<IntentPut, Refusal> {
    if let Some(old) = old {
        put.node = put.node.or_else(|| old.node.clone());
        put.uuid = put.uuid.or_else(|| old.uuid.clone());
    }
    let own = id.to_string();
    let is_named = [&put.uuid, &put.node].into_iter().flatten().any(|name| name.eq_ignore_ascii_case(&own));
    let (field, name) = match id {
        MachineId::Mac(_) => return Ok(put),
        _ if is_named => return Ok(put),
        MachineId::Uuid(_) => ("uuid", &mut put.uuid),
        MachineId::Node(_) => ("node", &mut put.node),
    };
    match name {
        Some(_) => Err(Refusal::bad(field, format!("is another than {own}, under which it is kept"))),
        None => {
            *name = Some(asked.to_owned());
            Ok(put)
        }
    }
}

fn no_such(machine: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no such intent", format!("{machine} has no boot intent"))
}

async fn put_intent(
    State(api): State<Api>,
    Path(machine): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<Intent>, Refusal> {
    let (id, mut ids) = read_machine(&api, &machine)?;
    if ids.is_empty() {
        ids.push(id.clone());
    }
    let body = body.map_err(|error| Refusal::new(error.status(), "unreadable body", error.body_text()))?;
    let put: IntentPut = serde_json::from_slice(&body).map_err(|error| Refusal::json(&error))?;
    script::check(&put).map_err(|refusal| Refusal::bad(refusal.field, refusal.detail))?;
    if let Some(profile) = put.profile.as_deref().filter(|profile| !api.store.site.load().templates.has(profile)) {
        return Err(Refusal::bad("profile", format!("there is no profile {profile:?} in bootd's configuration")));
    }
    let mut first = None;
    for own in ids {
        let put = match id {
            MachineId::Mac(_) => put.clone(),
            MachineId::Uuid(_) | MachineId::Node(_) => {
                keep_names(&own, &machine, put.clone(), api.store.intents.get(&own).as_deref())?
            }
        };
        let intent = api.store.intents.put(&own, put).await?;
        first.get_or_insert(intent);
    }
    first.map(|intent| Json(Intent::clone(&intent))).ok_or_else(|| no_such(&machine))
}

async fn get_intent(State(api): State<Api>, Path(machine): Path<String>) -> Result<Json<Intent>, Refusal> {
    let (_, ids) = read_machine(&api, &machine)?;
    let found = ids.first().and_then(|id| api.store.intents.get(id));
    found.map(|intent| Json(Intent::clone(&intent))).ok_or_else(|| no_such(&machine))
}

async fn delete_intent(State(api): State<Api>, Path(machine): Path<String>) -> Result<StatusCode, Refusal> {
    for id in read_machine(&api, &machine)?.1 {
        api.store.intents.delete(&id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn list_intents(State(api): State<Api>, paging: Parameters<Paging>) -> Result<Json<Page<Intent>>, Refusal> {
    let Query(Paging { cursor, limit }) = paging.map_err(Refusal::query)?;
    let after = cursor.as_deref().map(MachineId::parse).transpose();
    let after = after.map_err(|_| Refusal::bad("cursor", "pass `next` of the page before"))?;
    Ok(Json(api.store.intents.page(after.as_ref(), limit.unwrap_or(PAGE_MAX))))
}

async fn list_transfers(State(api): State<Api>, paging: Parameters<Paging>) -> Result<Json<Page<Transfer>>, Refusal> {
    let Query(Paging { cursor, limit }) = paging.map_err(Refusal::query)?;
    let before = cursor.as_deref().map(|text| text.parse::<u64>()).transpose();
    let before = before.map_err(|_| Refusal::bad("cursor", "pass `next` of the page before"))?;
    Ok(Json(api.store.transfers.page(before, limit.unwrap_or(PAGE_MAX))))
}

async fn ready(State(api): State<Api>) -> Response {
    let reason = match api.store.intents.refusal() {
        _ if *api.stop.borrow() => Some("stopping".to_owned()),
        reason => reason,
    };
    match reason {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let text = (api.metrics_text)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

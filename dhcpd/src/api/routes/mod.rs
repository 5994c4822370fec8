//! [`table`]: every route of the lease API, with what its caller needs, what it takes and what it answers.
//!
//! The router, the roles, the names of parameters and `/v1/openapi.json` all come from here.

pub mod operation;
pub mod parameter;
mod table;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use reveille_config::dto::dhcpd::{
    Approve, Batch, BatchDone, Lease, LeaseChange, Link, Page, Reservation, ReservationPut, ScopeUse, Sighting,
};
use reveille_config::dto::event::{Event, EventPage, Lost, sse};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::dto::token::{Role, Token, TokenCreate, TokenCreated};
use reveille_config::limit::BATCH_BYTES_MAX;
use schemars::JsonSchema;

use self::operation::{Content, Operation, shape};
use self::parameter::{
    ADDRESS, CLIENT, DRY_RUN, EVENTS, FILTERS, FORMAT, IF_MATCH, IF_NONE_MATCH, MAC, MACHINE, PAGES, SCOPE, TOKEN_ID,
    WHICH,
};
use self::table::Table;
use super::{
    ApiState, batch, events, export, health, history, leases, links, openapi, reservations, scopes, sightings, tokens,
};

const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;
const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
const CONFLICT: StatusCode = StatusCode::CONFLICT;
const PRECONDITION: StatusCode = StatusCode::PRECONDITION_FAILED;
const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn get(path: &'static str, id: &'static str, what: &'static str) -> Operation {
    Operation::new(Method::GET, path, id, what)
}

fn put(path: &'static str, id: &'static str, what: &'static str) -> Operation {
    Operation::new(Method::PUT, path, id, what)
}

fn post(path: &'static str, id: &'static str, what: &'static str) -> Operation {
    Operation::new(Method::POST, path, id, what)
}

fn delete(path: &'static str, id: &'static str, what: &'static str) -> Operation {
    Operation::new(Method::DELETE, path, id, what)
}

/// A listing, a page at a time.
fn pages<T: JsonSchema>(path: &'static str, id: &'static str, what: &'static str) -> Operation {
    get(path, id, what).json::<Page<T>>(OK, "A page.")
}

/// All routes.
pub fn table() -> Table<Arc<ApiState>> {
    let table = Table::new();
    let table = reserving(table);
    let table = leasing(table);
    let table = watching(table);
    let table = table
        .add(
            pages::<Token>("/v1/tokens", "list_tokens", "All tokens, without their secrets.").role(Role::Admin),
            tokens::list,
        )
        .add(
            post("/v1/tokens", "create_token", "Makes a token, whose secret is shown this once.")
                .role(Role::Admin)
                .body::<TokenCreate>()
                .json::<TokenCreated>(CREATED, "It was made.")
                .fails(&[CONFLICT, INVALID, UNAVAILABLE]),
            tokens::create,
        )
        .add(
            delete("/v1/tokens/{id}", "revoke_token", "Revokes a token, which is refused from then on.")
                .role(Role::Admin)
                .with(&[TOKEN_ID])
                .empty("There is no such token any more.")
                .fails(&[UNAVAILABLE]),
            tokens::revoke,
        );
    looking_after(table)
}

fn reserving(table: Table<Arc<ApiState>>) -> Table<Arc<ApiState>> {
    table
        .add(
            pages::<Reservation>(
                "/v1/reservations",
                "list_reservations",
                "Reservations in the order of scopes and clients.",
            )
            .with(&[SCOPE])
            .with(&PAGES)
            .fails(&[NOT_FOUND, INVALID, UNAVAILABLE]),
            reservations::list,
        )
        .add(
            post("/v1/reservations:batch", "batch_reservations", "Puts and deletes many reservations, all or none.")
                .with(&[DRY_RUN])
                .long_body::<Batch>(BATCH_BYTES_MAX)
                .json::<BatchDone>(OK, "All of it is on disk and in force; or would be, if that was asked.")
                .fails(&[INVALID, UNAVAILABLE]),
            batch::post,
        )
        .add(
            put("/v1/reservations/{client}", "put_reservation", "Reserves an address; the same again is no change.")
                .with(&[CLIENT, IF_MATCH, IF_NONE_MATCH])
                .optional_body::<ReservationPut>()
                .json::<Reservation>(OK, "It is on disk and in force; it was there before.")
                .json::<Reservation>(CREATED, "It is on disk and in force.")
                .tagged()
                .fails(&[NOT_FOUND, CONFLICT, PRECONDITION, INVALID, UNAVAILABLE]),
            reservations::put,
        )
        .add(
            get("/v1/reservations/{client}", "get_reservation", "The reservation of a client.")
                .with(&[CLIENT, SCOPE])
                .json::<Reservation>(OK, "It is in force.")
                .tagged()
                .fails(&[NOT_FOUND, INVALID, UNAVAILABLE]),
            reservations::get,
        )
        .add(
            delete(
                "/v1/reservations/{client}",
                "delete_reservation",
                "Ends a reservation; a lease that it gave runs on to its end.",
            )
            .with(&[CLIENT, SCOPE, IF_MATCH, IF_NONE_MATCH])
            .empty("There is none any more.")
            .fails(&[NOT_FOUND, CONFLICT, PRECONDITION, INVALID, UNAVAILABLE]),
            reservations::delete,
        )
}

fn leasing(table: Table<Arc<ApiState>>) -> Table<Arc<ApiState>> {
    let lines = vec![("application/jsonl", Content::Stream(&[shape::<Lease>])), ("text/csv", Content::Text)];
    table
        .add(
            pages::<Lease>("/v1/leases", "list_leases", "Leases in the order of scopes and addresses.")
                .with(&FILTERS)
                .with(&PAGES)
                .fails(&[NOT_FOUND, INVALID, UNAVAILABLE]),
            leases::list,
        )
        .add(
            get("/v1/leases:export", "export_leases", "All leases, as they are read; no snapshot of one moment.")
                .with(&[FORMAT])
                .with(&FILTERS)
                .answer(OK, "Leases, one a line.", lines)
                .fails(&[NOT_FOUND, UNAVAILABLE]),
            export::export,
        )
        .add(
            get("/v1/leases/{which}", "get_lease", "The lease of an address or of a machine.")
                .with(&[WHICH, SCOPE])
                .json::<Lease>(OK, "As it stands on disk.")
                .fails(&[NOT_FOUND, UNAVAILABLE]),
            leases::get,
        )
        .add(
            delete("/v1/leases/{which}", "release_lease", "Gives a lease up before its time; its client is not told.")
                .with(&[WHICH, SCOPE])
                .empty("There is none any more.")
                .fails(&[NOT_FOUND, CONFLICT, UNAVAILABLE]),
            leases::release,
        )
        .add(
            get(
                "/v1/history",
                "list_history",
                "What became of an address, of a machine or of all of them, renewals aside.",
            )
            .with(&[ADDRESS, MAC, PAGES[1]])
            .json::<Page<LeaseChange>>(OK, "As far as is remembered.")
            .fails(&[UNAVAILABLE]),
            history::list,
        )
}

fn watching(table: Table<Arc<ApiState>>) -> Table<Arc<ApiState>> {
    let forms = vec![
        ("application/json", Content::Json(shape::<EventPage>)),
        (sse::CONTENT_TYPE, Content::Stream(&[shape::<Event>, shape::<Lost>, shape::<sse::Missed>])),
    ];
    table
        .add(
            pages::<Sighting>("/v1/sightings", "list_sightings", "Unknown machines of static scopes, the latest first.")
                .with(&[SCOPE])
                .fails(&[NOT_FOUND]),
            sightings::list,
        )
        .add(
            post("/v1/sightings/{mac}/approve", "approve_sighting", "Reserves an address for a machine that was sighted.")
                .with(&[MACHINE])
                .optional_body::<Approve>()
                .json::<Reservation>(OK, "It is known already.")
                .json::<Reservation>(CREATED, "It is known from now on.")
                .tagged()
                .fails(&[NOT_FOUND, CONFLICT, INVALID, UNAVAILABLE]),
            sightings::approve,
        )
        .add(pages::<ScopeUse>("/v1/scopes", "list_scopes", "How full the scopes are.").fails(&[UNAVAILABLE]), scopes::list)
        .add(pages::<Link>("/v1/links", "list_links", "The interfaces served, and who else serves there."), links::list)
        .add(
            get(
                "/v1/events",
                "list_events",
                "What happens: a page, which may wait for its first event; or with `Accept: text/event-stream` a stream of \
                 server-sent events, whose `event` is the kind or `lost`, and whose `id` is the sequence to go on from.",
            )
            .with(&EVENTS)
            .answer(OK, "Events, the oldest first.", forms)
            .fails(&[NOT_FOUND, UNAVAILABLE]),
            events::list,
        )
}

fn looking_after(table: Table<Arc<ApiState>>) -> Table<Arc<ApiState>> {
    let text = || vec![("text/plain", Content::Text)];
    table
        .add(
            get("/v1/configuration", "get_configuration", "What became of the reloads.")
                .json::<ReloadStatus>(OK, "As it is."),
            health::configuration,
        )
        .add(
            get("/v1/openapi.json", "get_openapi", "This description.")
                .open()
                .json::<serde_json::Value>(OK, "OpenAPI 3.1."),
            openapi::get,
        )
        .add(
            get("/healthz", "get_healthz", "Whether HTTP is served.").open().answer(OK, "It is.", text()),
            health::healthz,
        )
        .add(
            get("/readyz", "get_readyz", "Whether new leases can be promised.")
                .open()
                .answer(OK, "They can.", text())
                .answer(UNAVAILABLE, "They cannot, and why.", text()),
            health::readyz,
        )
        .add(get("/metrics", "get_metrics", "Counters for Prometheus.").answer(OK, "As text.", text()), health::metrics)
}

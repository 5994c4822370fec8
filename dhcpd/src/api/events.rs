//! `GET /v1/events`: the stream of `store::event`, with long polling. `since` and `next` are its numbers; `since=0` (or none) begins with the oldest event known.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use reveille_config::MacAddr;
use reveille_config::dto::event::{Event, EventPage};
use reveille_config::limit::EVENTS_WAIT_SECS_MAX;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::body::Query;
use super::problem::ApiError;
use super::{ApiState, page};
use crate::proto::reason::{ChosenBy, DropReason, NakReason};
use crate::proto::scope::Machine;
use crate::store::event::{EventKind, RawEvent, RawPage};

/// A page of events; waits up to `wait_secs` for the first.
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<EventPage>, ApiError> {
    let query = query.only(&["since", "wait_secs", "limit"])?;
    let since = query.number("since", 0)?;
    let limit = page::limit(&query)?;
    let wait_secs: u64 = query.number("wait_secs", 0)?;
    let deadline = Instant::now() + Duration::from_secs(wait_secs.min(EVENTS_WAIT_SECS_MAX));
    let events = &state.store.shared.events;
    let raw = loop {
        // Listening begins before looking, so that nothing comes between.
        let mut grown = pin!(events.grown());
        grown.as_mut().enable();
        let page = events.since(since, limit);
        if !page.events.is_empty() || page.lost_before.is_some() {
            break page;
        }
        tokio::select! {
            () = grown => {}
            () = tokio::time::sleep_until(deadline) => break page,
            () = state.closed() => break page,
        }
    };
    let RawPage { events, next, lost_before } = raw;
    let events = events.into_iter().map(|(sequence, raw)| event(&state, sequence, raw)).collect();
    Ok(Json(EventPage { events, next, lost_before }))
}

fn event(state: &ApiState, sequence: u64, raw: RawEvent) -> Event {
    let shared = &state.store.shared;
    let key = Machine { scope: raw.scope, mac: raw.mac };
    let scope = shared.scopes.load().get(raw.scope).map(|scope| scope.name.to_string()).unwrap_or_default();
    let mut detail = Map::new();
    let mut put = |name: &str, value: Value| _ = detail.insert(name.into(), value);
    put("scope", scope.clone().into());
    if let Some(address) = raw.address {
        put("address", address.to_string().into());
    }
    if raw.lease_secs > 0 {
        put("lease_secs", raw.lease_secs.into());
    }
    if !raw.reason.is_empty() {
        put("reason", raw.reason.into());
    }
    if raw.journal_sequence > 0 {
        put("journal_sequence", raw.journal_sequence.into());
    }
    Event {
        sequence,
        at_unix_millis: raw.at_unix_millis,
        kind: raw.kind.as_str().into(),
        mac: (raw.mac != MacAddr::default()).then_some(raw.mac),
        node: shared.model.reservation(key).and_then(|(own, _)| own.node.as_deref().map(Into::into)),
        message: message(&raw, &scope),
        detail,
    }
}

fn message(raw: &RawEvent, scope: &str) -> String {
    let mac = raw.mac;
    let address = raw.address.map_or_else(|| "an address".into(), |address| address.to_string());
    let secs = raw.lease_secs;
    let why = explain(raw.reason);
    match raw.kind {
        EventKind::Offered => format!("{mac} was offered {address} ({why})"),
        EventKind::Bound => format!("{mac} is bound to {address} for {secs} s ({why})"),
        EventKind::Renewed => format!("{mac} renewed {address} for {secs} s"),
        EventKind::Recalled => format!("{mac} keeps {address} for the remaining {secs} s (already on disk)"),
        EventKind::Refused => format!("{mac} was refused {address}: {why}"),
        EventKind::Released => format!("{mac} gave {address} back"),
        EventKind::Declined => format!("{mac} found {address} in use by somebody else; it rests"),
        EventKind::Conflict if raw.mac == MacAddr::default() => {
            format!("{address} is in use by a machine without a lease of it (it answers ping); it rests")
        }
        EventKind::Conflict => format!("{address} is in use by {mac}, which has no lease of it; it rests"),
        EventKind::ForeignServer if raw.mac == MacAddr::default() => {
            format!("a DHCP server that is not ours, {address}, answers on the link of {scope}")
        }
        EventKind::ForeignServer => {
            format!("a DHCP server that is not ours, {address} at {mac}, answers on the link of {scope}")
        }
        EventKind::Expired => format!("the lease of {address} for {mac} has expired"),
        EventKind::Sighting => format!("unknown machine {mac} asks on static scope {scope}"),
        EventKind::Reserved => format!("{address} is reserved for {mac}"),
        EventKind::Unreserved => format!("{address} is no longer reserved for {mac}"),
        EventKind::NotServed => format!("{mac} was not served on {scope}: {why}"),
    }
}

/// The sentence of a reason's word.
fn explain(word: &'static str) -> &'static str {
    let chosen = ChosenBy::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    let nak = || NakReason::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    let dropped = || DropReason::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    chosen.or_else(nak).or_else(dropped).unwrap_or(word)
}

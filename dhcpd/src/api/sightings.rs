//! `/v1/sightings`: unknown machines of static scopes, and making them known.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use reveille_config::dto::dhcpd::{Approve, Page, Sighting};

use super::body::{Body, Query, mac};
use super::draft::{check_address, checked_hostname, checked_node};
use super::problem::ApiError;
use super::reservations::{Answer, answer, put_draft, tagged};
use super::{ApiState, page};
use crate::proto::scope::{Machine, Terms, with_hostname};
use crate::store::model::SightingRow;
use crate::store::reservation::{Expected, ReservationDraft};

/// All sightings, the latest first (bounded, so one page).
pub async fn list(State(state): State<Arc<ApiState>>, query: Query) -> Result<Json<Page<Sighting>>, ApiError> {
    let only = page::scope(&state, &query)?;
    let scopes = state.store.shared.scopes.load();
    let mut all = state.store.shared.model.sightings();
    all.retain(|(client, _)| only.is_none_or(|only| only == client.scope));
    all.sort_unstable_by_key(|(client, row)| (std::cmp::Reverse(row.last), *client));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let items = all.iter().map(|(client, row)| Sighting {
        mac: client.mac,
        scope: scopes.get(client.scope).map(|scope| scope.name.to_string()).unwrap_or_default(),
        vendor_class: text(&row.vendor_class),
        hostname: text(&row.hostname),
        first_unix: row.first.0.into(),
        last_unix: row.last.0.into(),
        count: row.count,
    });
    Ok(Json(Page { items: items.collect(), next: None }))
}

/// Makes a sighted machine known: a reservation, with the address given or the next free one of the scope's pools.
pub async fn approve(
    State(state): State<Arc<ApiState>>,
    Path(which): Path<String>,
    Body(body): Body<Approve>,
) -> Result<Answer, ApiError> {
    let mac = mac(&which)?;
    let only = body.scope.as_deref().map(|name| page::scope_named(&state, name)).transpose()?;
    let model = &state.store.shared.model;
    let seen: Vec<(Machine, SightingRow)> = model
        .sightings()
        .into_iter()
        .filter(|(client, _)| client.mac == mac && only.is_none_or(|only| only == client.scope))
        .collect();
    let (machine, vendor_class) = match &seen[..] {
        [(machine, row)] => (*machine, &row.vendor_class),
        [] => return known_already(&state, mac, only, &body),
        _ => return Err(ApiError::invalid("scope", format!("{mac} was seen on several scopes: name one"))),
    };
    let scopes = state.store.shared.scopes.load_full();
    if let (Some(address), Some(scope)) = (body.address, scopes.get(machine.scope)) {
        check_address(scope, address)?;
    }
    let hostname = checked_hostname(body.hostname)?;
    let draft = ReservationDraft {
        holder: machine.into(),
        also: Box::default(),
        address: body.address,
        pools: state.store.shared.scopes.load().pools_of_machine(machine, vendor_class.as_bytes()),
        options: with_hostname(std::iter::empty(), hostname.as_deref()),
        hostname,
        boot_file: None,
        options_given: "".into(),
        node: checked_node(body.node)?,
        pools_named: false,
        boot: None,
        terms: Terms::default(),
        expected: Expected::Anything,
    };
    answer(&state, put_draft(&state, draft).await?)
}

/// The same approval once more is no error; another one for a known machine is.
fn known_already(
    state: &ApiState,
    mac: reveille_config::MacAddr,
    only: Option<crate::proto::scope::ScopeIndex>,
    body: &Approve,
) -> Result<Answer, ApiError> {
    let scopes = state.store.shared.scopes.load();
    let known = scopes
        .iter()
        .filter(|scope| only.is_none_or(|only| only == scope.index))
        .find_map(|scope| state.store.shared.model.reservation(&Machine { scope: scope.index, mac }.into()));
    match known {
        Some((own, _)) if body.address.is_none_or(|address| address == own.address) => {
            Ok(tagged(state, StatusCode::OK, &own))
        }
        Some((own, _)) => Err(ApiError::conflict(
            Some("address"),
            format!("{mac} is known already, with {}; put its reservation to change that", own.address),
        )),
        None => Err(ApiError::not_found(format!(
            "{mac} was not seen on a static scope; to make it known all the same, put a reservation"
        ))),
    }
}

//! Pages: `limit` entries from after `cursor` on.

use axum::Json;
use reveille_config::dto::dhcpd::Page;
use reveille_config::limit::PAGE_MAX;

use super::ApiState;
use super::body::Query;
use super::problem::ApiError;
use crate::proto::scope::ScopeIndex;

/// The page's size.
///
/// # Errors
/// 400 where `limit` is no number or 0; more than [`PAGE_MAX`] counts as that.
pub fn limit(query: &Query) -> Result<usize, ApiError> {
    match query.number("limit", PAGE_MAX)? {
        0 => Err(ApiError::malformed(Some("limit"), "at least 1")),
        limit => Ok(limit.min(PAGE_MAX)),
    }
}

/// The scope that the query names, if any.
///
/// # Errors
/// 404 where there is none of that name.
pub fn scope(state: &ApiState, query: &Query) -> Result<Option<ScopeIndex>, ApiError> {
    query.text("scope").map(|name| scope_named(state, name)).transpose()
}

/// The scope of this name.
///
/// # Errors
/// 404 where there is none.
pub fn scope_named(state: &ApiState, name: &str) -> Result<ScopeIndex, ApiError> {
    let scopes = state.store.shared.scopes.load();
    scopes.by_name(name).map(|scope| scope.index).ok_or_else(|| {
        let names: Vec<&str> = scopes.iter().map(|scope| &*scope.name).collect();
        ApiError::not_found(format!("no scope is called `{name}`; there are: {}", names.join(", ")))
    })
}

/// Cuts a sorted list that has one entry more than the page, if there is one.
pub fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Json<Page<T>> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Json(Page { items, next })
}

//! `GET /v1/events` of a daemon that has one [`Log`]: a long poll, or a stream where the request accepts one.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use reveille_config::dto::event::{EventQuery, QueryMistake, sse};

use crate::{Log, LogFeed, Streams, TooMany, page};

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A parameter is wrong.
    Query(QueryMistake),
    /// There is no room for one more stream.
    TooMany(TooMany),
}

/// Reads what is asked for, and whether as a stream.
///
/// # Errors
/// The first parameter that is wrong.
pub fn read<'a>(
    headers: &HeaderMap,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(EventQuery, bool), QueryMistake> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let as_stream = text(header::ACCEPT.as_str()).is_some_and(|accept| accept.contains(sse::CONTENT_TYPE));
    // An empty one is what a reader has that has seen nothing yet (WHATWG HTML, server-sent events).
    let seen = text("last-event-id").filter(|id| as_stream && !id.is_empty());
    let query = EventQuery::parse(parameters, seen)?;
    Ok((query, as_stream))
}

/// The answer.
///
/// # Errors
/// See [`Refusal`].
pub async fn answer(
    streams: &Streams,
    log: &Arc<impl Log>,
    headers: &HeaderMap,
    parameters: &[(String, String)],
) -> Result<Response, Refusal> {
    let pairs = parameters.iter().map(|(name, value)| (&**name, &**value));
    let (query, as_stream) = read(headers, pairs).map_err(Refusal::Query)?;
    let since = query.since.in_log(log.epoch(), log.last());
    if as_stream {
        return streams.open(LogFeed::new(log.clone(), since, query)).map_err(Refusal::TooMany);
    }
    let page = tokio::select! {
        page = page(streams.daemon(), &**log, since, &query) => page,
        () = streams.stopped() => log.page_now(since, &query),
    };
    Ok(Json(page).into_response())
}

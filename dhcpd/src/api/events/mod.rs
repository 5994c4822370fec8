//! `GET /v1/events`: what happens, as a long poll or as a stream of server-sent events; the form is that of [`reveille_config::dto::event`].
//!
//! It holds no events: every reader has a place in the store's rings and takes what is after it when it is ready for more.

mod cursor;
mod log;
mod show;
mod stream;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use reveille_config::dto::event::{EventPage, EventQuery, QueryMistake};
use tokio::time::Instant;

use self::cursor::Cursor;
pub use self::log::DurableLog;
use self::stream::Reader;
pub(super) use self::stream::SharedChunks;
use super::ApiState;
use super::body::Query;
use super::leases::caught_up;
use super::problem::ApiError;

/// Events from where the query says on.
pub async fn list(State(state): State<Arc<ApiState>>, headers: HeaderMap, query: Query) -> Result<Response, ApiError> {
    let (query, as_stream) = reveille_events::read(&headers, query.pairs())
        .map_err(|QueryMistake { parameter, detail }| ApiError::malformed(Some(&parameter), detail))?;
    let cursor = Cursor::new(&state, &query)?;
    if !as_stream {
        return Ok(page(&state, cursor, &query).await.into_response());
    }
    let reader = Reader::new(Arc::clone(&state), cursor, query.wants_all_durable());
    state.streams.open(reader).map_err(|why| ApiError::unavailable(why.to_string()))
}

/// A page of events; waits for the first.
async fn page(state: &ApiState, mut cursor: Cursor, query: &EventQuery) -> Json<EventPage> {
    // Where the journal's reader does not get on, what it has read is shown.
    let _ = caught_up(state).await;
    let deadline = Instant::now() + Duration::from_secs(query.wait_secs);
    let feed = &state.store.shared.events;
    loop {
        // Listening begins before looking, so that nothing comes between.
        let mut grown = pin!(feed.grown());
        grown.as_mut().enable();
        let found = cursor.take(state, query.limit);
        if found.more && found.events.is_empty() && found.lost.is_none() {
            tokio::task::yield_now().await;
            continue;
        }
        let news = !found.events.is_empty() || found.lost.is_some() || found.missed > 0;
        let over = async {
            tokio::select! {
                () = grown => false,
                () = tokio::time::sleep_until(deadline) => true,
                () = state.closed() => true,
            }
        };
        if news || over.await {
            let (next, next_transient) = cursor.position();
            let epoch = Some(state.epoch());
            return Json(EventPage { events: found.events, next, epoch, next_transient, lost: found.lost });
        }
    }
}

//! `GET /v1/events`: what has happened to nodes.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use reveille_config::dto::event::QueryMistake;
use reveille_events::Refusal;

use super::{Api, ApiError};

/// Events from where the query says on.
pub(super) async fn list(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map_err(|error| ApiError::invalid(format!("The query string cannot be read: {error}")))?;
    let answer = reveille_events::answer(&api.streams, api.store.events(), &headers, &parameters).await;
    answer.map_err(|refusal| match refusal {
        Refusal::Query(QueryMistake { parameter, detail }) => {
            ApiError::invalid(format!("Invalid input for {parameter}: {detail}."))
        }
        Refusal::TooMany(why) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("Try again later: {why}.")),
    })
}

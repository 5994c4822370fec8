//! `GET /v1/events`: what bootd has done.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use reveille_config::dto::event::QueryMistake;

use super::problem::Refusal;
use super::{Api, Parameters};

/// Events from where the query says on.
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    parameters: Parameters<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let Query(parameters) = parameters.map_err(Refusal::query)?;
    let answer = reveille_events::answer(&api.streams, &api.store.events, &headers, &parameters).await;
    answer.map_err(|refusal| match refusal {
        reveille_events::Refusal::Query(QueryMistake { parameter, detail }) => Refusal::bad(&parameter, detail),
        reveille_events::Refusal::TooMany(why) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why.to_string())
        }
    })
}

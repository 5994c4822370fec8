//! `/v1/nodes/{node}/vmedia`: images in a machine's virtual drives.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::extract::{Json, Query};
use super::management::ask_and_wait;
use super::nodes::find;
use super::view::View;
use super::{Api, ApiError};
use crate::proto::node::{Millis, Request};
use crate::proto::redfish::MediaKind;

type Result<T> = std::result::Result<T, ApiError>;

/// The first version that has virtual media.
const SINCE: u16 = 89;
/// Octets of an image's URL.
const URL_BYTES_MAX: usize = 2_048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    device_type: String,
    image_url: String,
    /// Who fetches the image: here it is always the BMC.
    #[serde(default)]
    image_download_source: Option<String>,
}

fn kind(name: &str) -> Result<MediaKind> {
    let found = MediaKind::ALL.into_iter().find(|kind| kind.as_str() == name);
    let names = MediaKind::ALL.map(MediaKind::as_str).join(", ");
    found.ok_or_else(|| {
        ApiError::invalid(format!("Invalid virtual media device type {name}: one of {names} is expected."))
    })
}

/// Answers once the BMC has taken the image.
pub(super) async fn attach(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    body: Json,
) -> Result<Response> {
    view.version.require(SINCE)?;
    let body: Body = body.read("virtual media")?;
    let kind = kind(&body.device_type)?;
    let is_url = body.image_url.starts_with("http://") || body.image_url.starts_with("https://");
    if !is_url || body.image_url.len() > URL_BYTES_MAX || body.image_url.chars().any(|c| c.is_control() || c == ' ') {
        return Err(ApiError::invalid("image_url: a URL of http or https is expected"));
    }
    if let Some(source) = body.image_download_source.filter(|source| source != "http") {
        return Err(ApiError::invalid(format!(
            "image_download_source: {source} is not supported, the BMC fetches the image itself (http)"
        )));
    }
    change(&api, &view, &asked, vec![Request::Media { kind: Some(kind), image: Some(body.image_url) }]).await
}

/// Answers once the drives are empty: all, or those of `device_types`.
pub(super) async fn detach(
    State(api): State<Api>,
    view: View,
    Path(asked): Path<String>,
    mut query: Query,
) -> Result<Response> {
    view.version.require(SINCE)?;
    let kinds = match query.take("device_types") {
        None => vec![None],
        Some(names) => names.split(',').map(|name| kind(name.trim()).map(Some)).collect::<Result<_>>()?,
    };
    query.end()?;
    change(&api, &view, &asked, kinds.into_iter().map(|kind| Request::Media { kind, image: None }).collect()).await
}

async fn change(api: &Api, view: &View, asked: &str, requests: Vec<Request>) -> Result<Response> {
    let uuid: Uuid = api.store.read(|tables| find(tables, asked).map(|node| node.uuid))?;
    for request in requests {
        let before = failed_at(api, uuid).await?;
        let after = ask_and_wait(api, view, uuid, asked, request).await?;
        if failed_at(api, uuid).await? != before {
            let words = after.last_error.clone().unwrap_or_else(|| "the BMC did not do it".into());
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, words));
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// When something asked of the node's BMC failed last.
async fn failed_at(api: &Api, node: Uuid) -> Result<Option<(Millis, Uuid)>> {
    let entries = api.store.history(node).await?;
    Ok(entries.iter().rev().find(|entry| entry.kind == "error").map(|entry| (entry.at, entry.uuid)))
}

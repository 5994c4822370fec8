//! `GET /v1/events`: what bootd has done, as a long poll or as a stream of server-sent events; the form is that of [`reveille_config::dto::event`].

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use reveille_config::dto::event::{EventQuery, QueryMistake, Since, sse};
use reveille_config::limit::EVENT_CHUNK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::problem::Refusal;
use super::{Api, Parameters};

/// Events taken at a time, at about 256 octets each.
const EVENTS_AT_ONCE: usize = EVENT_CHUNK_BYTES / 256;
/// A reader that has everything waits so long for what comes next, so that it is woken for many events and not for each.
const PAUSE: Duration = Duration::from_millis(20);

/// Events from where the query says on.
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    parameters: Parameters<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let Query(parameters) = parameters.map_err(Refusal::query)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let streams = text("accept").is_some_and(|accept| accept.contains(sse::CONTENT_TYPE));
    let pairs = parameters.iter().map(|(name, value)| (&**name, &**value));
    let query = EventQuery::parse(pairs, text("last-event-id").filter(|_| streams))
        .map_err(|QueryMistake { parameter, detail }| Refusal::bad(&parameter, detail))?;
    let since = match query.since {
        Since::Sequence(sequence) => sequence,
        Since::Latest => api.store.events.last(),
    };
    if streams {
        return open(api, since, query);
    }
    let mut stop = api.stop.clone();
    let page = tokio::select! {
        page = api.store.events.page(since, &query) => page,
        () = stopped(&mut stop) => api.store.events.page_now(since, &query),
    };
    Ok(Json(page).into_response())
}

fn open(api: Api, since: u64, query: EventQuery) -> Result<Response, Refusal> {
    let Ok(permit) = api.streams.clone().try_acquire_owned() else {
        metrics::counter!("reveille_bootd_event_streams_refused_total").increment(1);
        let detail = "as many streams of events are open as there may be";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(run(api, since, EventQuery { limit: EVENTS_AT_ONCE, ..query }, sender, permit));
    let headers = [(header::CONTENT_TYPE, sse::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

/// Sends what is there when the reader has room for it: at most two chunks wait for it, and nothing else does.
async fn run(api: Api, mut since: u64, query: EventQuery, chunks: mpsc::Sender<Bytes>, _permit: OwnedSemaphorePermit) {
    let (events, mut stop) = (&api.store.events, api.stop.clone());
    let mut octets = b"retry: 1000\n\n".to_vec();
    let mut told = since;
    loop {
        if !octets.is_empty() {
            let chunk = Bytes::from(std::mem::take(&mut octets));
            tokio::select! {
                sent = chunks.send(chunk) => if sent.is_err() { return },
                () = stopped(&mut stop) => return,
            }
        }
        let page = events.page_now(since, &query);
        if let Some(lost) = page.lost {
            sse::write_lost(&mut octets, lost);
        }
        page.events.iter().for_each(|event| sse::write_event(&mut octets, event));
        since = page.next;
        if !octets.is_empty() {
            told = since;
            continue;
        }
        tokio::select! {
            () = events.grown(since) => tokio::time::sleep(PAUSE).await,
            () = tokio::time::sleep(Duration::from_secs(sse::HEARTBEAT_SECS)) => {
                if since > told { sse::write_position(&mut octets, since) } else { octets.extend_from_slice(b":\n\n") }
                told = since;
            }
            () = chunks.closed() => return,
            () = stopped(&mut stop) => return,
        }
    }
}

/// Resolves when the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The body of the answer: the chunks as they come.
struct Chunks(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|octets| Ok(Frame::data(octets))))
    }
}

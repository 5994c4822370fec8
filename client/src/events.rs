//! Events: pages and streams of `GET /v1/events`, the same in every daemon.
//!
//! A stream does not come back by itself when it breaks off: its reader says when, and [`EventStream::resume`] goes on after the last item that it was given, also telling
//! where the daemon has begun another log meanwhile.

use std::time::Duration;

use ::http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use reveille_config::dto::event::sse::{self, Item};
use reveille_config::dto::event::{EventPage, EventQuery, Since};

use crate::ClientError;
use crate::http::{Driver, Http};

/// A stream without a sign of life for so long has broken off.
const SILENCE_MAX: Duration = Duration::from_secs(3 * sse::HEARTBEAT_SECS);

/// A page: what is there after `since`, waiting up to `wait` for the first.
pub(crate) async fn page(http: &Http, since: u64, wait: Duration) -> Result<EventPage, ClientError> {
    let path = crate::query::path("/v1/events", &[("since", Some(&since)), ("wait_secs", Some(&wait.as_secs()))]);
    http.with_more_time(wait).get(&path).await
}

/// A page of what the query asks for.
pub(crate) async fn page_of(http: &Http, query: &EventQuery) -> Result<EventPage, ClientError> {
    http.with_more_time(Duration::from_secs(query.wait_secs)).get(&path(query)).await
}

/// A stream of what the query asks for.
pub(crate) async fn stream(http: &Http, query: &EventQuery) -> Result<EventStream, ClientError> {
    let path = path(query);
    let (answer, driver) = http.open(&path, sse::CONTENT_TYPE).await?;
    let (http, query, reader) = (http.clone(), query.clone(), sse::Reader::default());
    Ok(EventStream { http, query, path, answer, driver, reader })
}

fn path(query: &EventQuery) -> String {
    let parameters = query.parameters();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, Some(value as _))).collect();
    crate::query::path("/v1/events", &parameters)
}

/// A stream of events. Dropping it ends it.
pub struct EventStream {
    http: Http,
    /// What was asked for; it begins where the stream was opened.
    query: EventQuery,
    path: String,
    answer: Response<Incoming>,
    driver: Driver,
    reader: sse::Reader,
}

impl EventStream {
    /// The next item, however long it takes; `None` where the daemon has ended the stream.
    ///
    /// # Errors
    /// The connection broke, was silent for too long, or brought something that is no stream of events.
    pub async fn next(&mut self) -> Result<Option<Item>, ClientError> {
        loop {
            match self.reader.poll_item() {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => {}
                Err(error) => return Err(self.http.broke_off(&self.path, error.into())),
            }
            let frame = tokio::time::timeout(SILENCE_MAX, self.driver.beside(self.answer.body_mut().frame()));
            let frame = match frame.await {
                Err(_) => return Err(self.http.timed_out(&self.path, SILENCE_MAX)),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => frame.map_err(|cause| self.http.broke_off(&self.path, cause.into()))?,
            };
            if let Some(octets) = frame.data_ref() {
                self.reader.handle_octets(octets);
            }
        }
    }

    /// Where it goes on: after the last item that was given.
    pub fn since(&self) -> Since {
        self.reader.since().unwrap_or(self.query.since)
    }

    /// Opens it again where it ended, after the last item that was given. A daemon whose log is another by now says what was lost ([`Item::Lost`]), and tells all that
    /// it knows.
    ///
    /// # Errors
    /// As of opening it; it may be tried again.
    pub async fn resume(&mut self) -> Result<(), ClientError> {
        let query = EventQuery { since: self.since(), ..self.query.clone() };
        *self = stream(&self.http, &query).await?;
        Ok(())
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("path", &self.path).finish_non_exhaustive()
    }
}

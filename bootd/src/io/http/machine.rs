//! What machines get over HTTP: files and scripts by GET and HEAD. No listing of directories, no redirects, no chunked encoding: the
//! length is always known, which is what firmware wants.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::arriving::ArrivingBody;
use super::body::{FileBody, ServedBody};
use super::lane::Lane;
use super::parts::Parts;
use crate::io::Counters;
use crate::io::pull::{Pulled, Puller};
use crate::io::said::{Cause, is_due};
use crate::proto::http::{Answer, ByteRange, Validators, decide};
use crate::proto::path::{Encoding, SafePath, resolve};
use crate::store::copies::{Arriving, PullFailure};
use crate::store::{Content, Lookup, OpenFile, Patience, Protocol, Script, Store};

/// The machines' side of the HTTP server.
#[derive(Debug, Clone)]
pub struct Machines {
    /// What there is.
    pub store: Arc<Store>,
    /// What has files of the upstream, where there is one.
    pub puller: Option<Puller>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// Where the octets of a file come from.
enum Source {
    File(OpenFile),
    Arriving(Arc<Arriving>, Validators),
}

impl Source {
    fn validators(&self) -> &Validators {
        match self {
            Self::File(file) => &file.validators,
            Self::Arriving(_, validators) => validators,
        }
    }
}

impl Machines {
    /// Answers a request of `peer`; bodies go by the lane where the connection has one. Bodies of requests are not read.
    pub async fn answer<B>(&self, peer: IpAddr, lane: Option<Lane>, request: Request<B>) -> Response<ServedBody> {
        let (method, headers) = (request.method(), request.headers());
        if method != Method::GET && method != Method::HEAD {
            self.counters.refused(Protocol::Http, "method");
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = match resolve(request.uri().path(), Encoding::Percent) {
            Ok(path) => path,
            Err(refusal) => {
                self.counters.path_refused(Protocol::Http, refusal);
                tracing::debug!(%peer, path = request.uri().path(), %refusal, "HTTP request refused");
                return plain(StatusCode::NOT_FOUND, "not found\n");
            }
        };
        if let Err(refusal) = self.store.admit(method, &path, request.uri().query(), peer) {
            self.counters.refused(Protocol::Http, refusal.label());
            tracing::debug!(%peer, %path, ?refusal, "no temporary URL");
            return plain(StatusCode::UNAUTHORIZED, "401 Unauthorized: Temp URL invalid\n");
        }
        match self.find(&path).await {
            Content::Script(script) => self.script(peer, method, &path, script),
            Content::File(Lookup::Found(file)) => self.file(peer, lane, method, headers, &path, Source::File(file)),
            Content::File(Lookup::Absent) => match self.pull(&path).await {
                None => self.missing(peer, &path, Lookup::Absent),
                Some(Ok(source)) => self.file(peer, lane, method, headers, &path, source),
                Some(Err(why)) => self.not_pulled(&why),
            },
            Content::File(lookup) => self.missing(peer, &path, lookup),
        }
    }

    /// The upstream's file of this path; `None` where it is none of the upstream's.
    async fn pull(&self, path: &SafePath) -> Option<Result<Source, PullFailure>> {
        let pulled = self.puller.as_ref()?.get(path).await?;
        Some(pulled.map(|pulled| match pulled {
            Pulled::Copy(file) => Source::File(file),
            Pulled::Arriving(file, version) => Source::Arriving(file, version.validators()),
        }))
    }

    fn not_pulled(&self, why: &PullFailure) -> Response<ServedBody> {
        let (status, text, reason) = match why {
            PullFailure::Absent => (StatusCode::NOT_FOUND, "not found\n", "not-found"),
            PullFailure::Upstream(_) => (StatusCode::BAD_GATEWAY, "the upstream does not give the file\n", "upstream"),
            PullFailure::NoRoom | PullFailure::Disk(_) => {
                (StatusCode::INSUFFICIENT_STORAGE, "there is no room for the file\n", "no-room")
            }
        };
        self.counters.refused(Protocol::Http, reason);
        plain(status, text)
    }

    /// Looks at what is in memory here, and waits for the disk elsewhere.
    async fn find(&self, path: &SafePath) -> Content {
        match self.store.admitted(path, Patience::Cached) {
            Content::File(Lookup::WouldBlock) => {}
            content => return content,
        }
        let (store, path) = (self.store.clone(), path.clone());
        tokio::task::spawn_blocking(move || store.admitted(&path, Patience::Blocking))
            .await
            .unwrap_or_else(|error| Content::File(Lookup::Failed(std::io::Error::other(error))))
    }

    fn missing(&self, peer: IpAddr, path: &SafePath, lookup: Lookup) -> Response<ServedBody> {
        let (status, text, reason) = match lookup {
            Lookup::Absent => (StatusCode::NOT_FOUND, "not found\n", "not-found"),
            Lookup::Escape => (StatusCode::NOT_FOUND, "not found\n", "link-escapes"),
            Lookup::Forbidden => {
                if is_due(Cause::Forbidden) {
                    tracing::warn!(%peer, %path, "a file that a machine asked for may not be read by bootd");
                }
                (StatusCode::FORBIDDEN, "the server may not read this file\n", "forbidden")
            }
            Lookup::Failed(error) => {
                if is_due(Cause::CannotOpen) {
                    tracing::error!(%peer, %path, %error, "a file that a machine asked for cannot be opened");
                }
                (StatusCode::SERVICE_UNAVAILABLE, "the file cannot be opened\n", "failed")
            }
            Lookup::WouldBlock | Lookup::Found(_) | Lookup::Guarded => {
                (StatusCode::INTERNAL_SERVER_ERROR, "\n", "failed")
            }
        };
        self.counters.refused(Protocol::Http, reason);
        plain(status, text)
    }

    fn script(&self, peer: IpAddr, method: &Method, path: &SafePath, script: Script) -> Response<ServedBody> {
        let bytes = script.text.len() as u64;
        let text = script.text.clone();
        if method == Method::GET {
            // It is handed over whole; whether the machine got it shows in what it asks for next.
            self.store.transfers.script_sent(Protocol::Http, peer, path.as_str(), bytes);
            self.counters.ended(Protocol::Http, "complete", bytes);
            self.store.script_served(Protocol::Http, peer, path, &script);
        }
        let mut response = Response::new(octets(method, text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, bytes.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn file(
        &self,
        peer: IpAddr,
        lane: Option<Lane>,
        method: &Method,
        headers: &HeaderMap,
        path: &SafePath,
        source: Source,
    ) -> Response<ServedBody> {
        let validators = source.validators();
        let total = validators.bytes;
        let answer = match (decide(method, headers, validators), &source) {
            // What is not there yet comes in one piece.
            (Answer::Parts(_), Source::Arriving(..)) => Answer::Whole,
            (answer, _) => answer,
        };
        let mut response = Response::new(ServedBody::Octets(None));
        let fields = response.headers_mut();
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Ok(etag) = HeaderValue::try_from(&validators.etag) {
            fields.insert(ETAG, etag);
        }
        // RFC 9110 section 8.8.2.1: no date in the future.
        let modified = validators.last_modified.min(SystemTime::now());
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(modified)) {
            fields.insert(LAST_MODIFIED, date);
        }
        let range = match &answer {
            Answer::Part(range) => Some(*range),
            _ => total.checked_sub(1).map(|last| ByteRange { first: 0, last }),
        };
        let octet_stream = HeaderValue::from_static("application/octet-stream");
        let (parts, content_type) = match answer {
            Answer::Whole => (Parts::one(0, total), octet_stream),
            Answer::Part(range) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                content_range(&mut response, format!("bytes {range}/{total}"));
                (Parts::one(range.first, range.bytes()), octet_stream)
            }
            Answer::Parts(ranges) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let boundary = validators.etag.trim_matches('"');
                let content_type = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"));
                (Parts::many(&ranges, total, boundary), content_type.unwrap_or(octet_stream))
            }
            Answer::NotSatisfiable => {
                self.counters.refused(Protocol::Http, "range");
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                content_range(&mut response, format!("bytes */{total}"));
                response.headers_mut().insert(CONTENT_LENGTH, 0.into());
                return response;
            }
            Answer::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
            Answer::PreconditionFailed => {
                *response.status_mut() = StatusCode::PRECONDITION_FAILED;
                response.headers_mut().insert(CONTENT_LENGTH, 0.into());
                return response;
            }
        };
        response.headers_mut().insert(CONTENT_LENGTH, parts.bytes().into());
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        if method == Method::GET {
            let machine = self.store.machines.get(peer);
            let ongoing = self.store.transfers.begin(Protocol::Http, peer, path.as_str(), parts.file_bytes(), machine);
            let counters = self.counters.clone();
            *response.body_mut() = match (source, range) {
                (Source::File(file), _) => {
                    ServedBody::File(Box::new(FileBody::new(file, parts, lane, ongoing, counters)))
                }
                (Source::Arriving(file, _), Some(range)) => {
                    ServedBody::Arriving(Box::new(ArrivingBody::new(file, range, ongoing, counters)))
                }
                // Empty.
                (Source::Arriving(..), None) => {
                    ongoing.end("complete");
                    ServedBody::Octets(None)
                }
            };
        }
        response
    }
}

fn content_range(response: &mut Response<ServedBody>, range: String) {
    if let Ok(range) = HeaderValue::try_from(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
}

fn octets(method: &Method, octets: Bytes) -> ServedBody {
    ServedBody::Octets((method == Method::GET && !octets.is_empty()).then_some(octets))
}

fn plain(status: StatusCode, text: &'static str) -> Response<ServedBody> {
    let mut response = Response::new(ServedBody::Octets(Some(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

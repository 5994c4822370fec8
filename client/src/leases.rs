//! Leases by any filter, and their export as it streams: nothing here holds more than one piece of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use ::http::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Lease, LeaseState};

use crate::ClientError;
use crate::http::{Driver, Http};

/// An export that brings nothing for so long has broken off.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Octets of a line; a lease has no more than a few hundred.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Which leases: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseQuery {
    /// In this scope.
    pub scope: Option<String>,
    /// Of this address.
    pub address: Option<Ipv4Addr>,
    /// Of this machine.
    pub mac: Option<MacAddr>,
    /// Of the client with this identifier (option 61), hexadecimal.
    pub client_id: Option<String>,
    /// With this host name, in upper or lower case.
    pub hostname: Option<String>,
    /// Whose reservation bears this node id.
    pub node: Option<String>,
    /// Whose reservation bears this label: `NAME=VALUE`.
    pub label: Option<String>,
    /// In this state.
    pub state: Option<LeaseState>,
}

impl LeaseQuery {
    /// Its parameters, and `more`, at `path`.
    pub(crate) fn path(&self, path: &str, more: &[(&str, Option<&str>)]) -> String {
        let state = self.state.map(|state| match state {
            LeaseState::Bound => "bound",
            LeaseState::Released => "released",
            LeaseState::Expired => "expired",
            LeaseState::Declined => "declined",
        });
        let mut parameters: Vec<(&str, Option<&(dyn std::fmt::Display + Sync)>)> = vec![
            ("scope", self.scope.as_ref().map(|value| value as _)),
            ("address", self.address.as_ref().map(|value| value as _)),
            ("mac", self.mac.as_ref().map(|value| value as _)),
            ("client_id", self.client_id.as_ref().map(|value| value as _)),
            ("hostname", self.hostname.as_ref().map(|value| value as _)),
            ("node", self.node.as_ref().map(|value| value as _)),
            ("label", self.label.as_ref().map(|value| value as _)),
            ("state", state.as_ref().map(|value| value as _)),
        ];
        parameters.extend(more.iter().map(|(name, value)| (*name, value.as_ref().map(|value| value as _))));
        crate::query::path(path, &parameters)
    }
}

/// How leases are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A lease of the API a line.
    JsonLines,
    /// The columns of Kea's `kea-leases4.csv`, the first line naming them.
    Csv,
}

/// Asks for the leases that the query means.
pub(crate) async fn export(http: &Http, query: &LeaseQuery, format: ExportFormat) -> Result<LeaseExport, ClientError> {
    let format = match format {
        ExportFormat::JsonLines => "jsonl",
        ExportFormat::Csv => "csv",
    };
    let path = query.path("/v1/leases:export", &[("format", Some(format))]);
    let (answer, driver) = http.open(&path, "*/*").await?;
    Ok(LeaseExport { http: http.clone(), path, answer, driver, rest: BytesMut::new() })
}

/// An export under way. The daemon reads on as this is read, and waits with it; dropping it ends it.
pub struct LeaseExport {
    http: Http,
    path: String,
    answer: Response<Incoming>,
    driver: Driver,
    rest: BytesMut,
}

impl LeaseExport {
    /// The next octets as they come, of as many lines as there are; `None` at the end, which is the daemon's own: a connection that breaks is an error.
    ///
    /// # Errors
    /// The connection broke or was silent for too long.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        if !self.rest.is_empty() {
            return Ok(Some(self.rest.split().freeze()));
        }
        self.receive().await
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// As [`Self::piece`], or the line is too long to be one.
    pub async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                let mut line = self.rest.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(self.http.broke_off(&self.path, "a line is too long to be a lease".into()));
            }
            match self.receive().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(self.http.broke_off(&self.path, "the last line has no end".into())),
            }
        }
    }

    /// The next lease of an export as [`ExportFormat::JsonLines`].
    ///
    /// # Errors
    /// As [`Self::line`], or the line is no lease.
    pub async fn lease(&mut self) -> Result<Option<Lease>, ClientError> {
        let Some(line) = self.line().await? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|error| self.http.broke_off(&self.path, error.into()))
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = self.driver.beside(self.answer.body_mut().frame());
            let frame = match tokio::time::timeout(SILENCE_MAX, frame).await {
                Err(_) => return Err(self.http.timed_out(&self.path, SILENCE_MAX)),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => frame.map_err(|cause| self.http.broke_off(&self.path, cause.into()))?,
            };
            if let Ok(octets) = frame.into_data()
                && !octets.is_empty()
            {
                return Ok(Some(octets));
            }
        }
    }
}

impl std::fmt::Debug for LeaseExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseExport").field("path", &self.path).finish_non_exhaustive()
    }
}

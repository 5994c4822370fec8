//! `GET /v1/leases:export`: all leases as a stream, JSON lines or CSV in the column order of Kea's `kea-leases4.csv`.
//!
//! What is in memory is a few hundred leases, however many there are and however slowly they are read; between two such pieces nothing is locked. So it is no snapshot of one
//! moment: a lease that changes meanwhile is shown as it was or as it is.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use hyper::body::Frame;
use metrics::counter;
use reveille_config::dto::dhcpd::{Lease, LeaseState};
use reveille_config::limit::EXPORTS_MAX;
use tokio::sync::OwnedSemaphorePermit;

use super::ApiState;
use super::body::Query;
use super::lease_filter::Filter;
use super::leases::{caught_up, lease};
use super::problem::ApiError;
use crate::proto::scope::ScopeIndex;

/// Leases of one piece.
const LEASES_AT_ONCE: usize = 256;

/// The columns of Kea's memfile since 2.4.
const COLUMNS: &str =
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n";

/// How a lease is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
}

/// Streams the leases that the filters leave.
pub async fn export(State(state): State<Arc<ApiState>>, query: Query) -> Result<impl IntoResponse, ApiError> {
    let (format, kind) = match query.text("format") {
        None | Some("jsonl") => (Format::JsonLines, "application/jsonl"),
        Some("csv") => (Format::Csv, "text/csv; charset=utf-8"),
        Some(_) => return Err(ApiError::malformed(Some("format"), "`jsonl` or `csv` is expected")),
    };
    let filter = Filter::of(&state, &query)?;
    let Ok(permit) = Arc::clone(&state.exports).try_acquire_owned() else {
        counter!("reveille_dhcpd_exports_refused_total").increment(1);
        return Err(ApiError::unavailable(format!("{EXPORTS_MAX} exports are being read, as many as there may be")));
    };
    caught_up(&state).await?;
    let export = Export { _permit: permit, state, filter, format, scope: 0, after: None, begun: false };
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(export)))
}

/// A body that is made as it is read.
struct Export {
    _permit: OwnedSemaphorePermit,
    state: Arc<ApiState>,
    filter: Filter,
    format: Format,
    scope: u16,
    after: Option<Ipv4Addr>,
    begun: bool,
}

impl HttpBody for Export {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.piece();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }
}

impl Export {
    /// The next piece; empty at the end.
    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::with_capacity(LEASES_AT_ONCE * 256);
        if !std::mem::replace(&mut self.begun, true) && self.format == Format::Csv {
            piece.extend_from_slice(COLUMNS.as_bytes());
        }
        let state = Arc::clone(&self.state);
        let scopes = state.store.shared.scopes.load();
        while piece.is_empty() || piece.len() < COLUMNS.len() + 1 {
            let Some(scope) = scopes.get(ScopeIndex(self.scope)) else { break };
            let skipped = self.filter.scope.is_some_and(|only| only != scope.index);
            let rows = if skipped {
                Vec::new()
            } else {
                state.store.shared.model.leases_after(scope.index, self.after, LEASES_AT_ONCE)
            };
            match rows.last() {
                Some((last, _)) => self.after = Some(*last),
                None => (self.scope, self.after) = (self.scope + 1, None),
            }
            for (address, row) in rows {
                if !self.filter.may_show(&state.store.shared.model, address, &row) {
                    continue;
                }
                let subnet_id = row.scope.0 + 1;
                let lease = lease(&state, address, row);
                if self.filter.shows(&lease) {
                    self.write(&mut piece, &lease, subnet_id);
                }
            }
        }
        piece
    }

    fn write(&self, to: &mut Vec<u8>, lease: &Lease, subnet_id: u16) {
        match self.format {
            Format::JsonLines => {
                // Into memory, of plain texts and numbers: it cannot fail.
                let _ = serde_json::to_writer(&mut *to, lease);
                to.push(b'\n');
            }
            Format::Csv => to.extend_from_slice(csv(lease, subnet_id).as_bytes()),
        }
    }
}

/// One line as Kea writes it: commas within a text as `&#x2c`.
fn csv(lease: &Lease, subnet_id: u16) -> String {
    let mut line = format!("{},{},", lease.address, lease.mac);
    for (at, octet) in lease.client_id.as_deref().unwrap_or("").as_bytes().chunks(2).enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        let _ = write!(line, "{colon}{}", String::from_utf8_lossy(octet));
    }
    let state = match lease.state {
        LeaseState::Bound => 0,
        LeaseState::Declined => 1,
        LeaseState::Expired => 2,
        LeaseState::Released => 3,
    };
    let lifetime = lease.ends_unix.saturating_sub(lease.starts_unix);
    let hostname: String = lease.hostname.iter().flat_map(|name| name.chars()).filter(|c| !c.is_control()).collect();
    let hostname = hostname.replace(',', "&#x2c");
    let _ = writeln!(line, ",{lifetime},{},{subnet_id},0,0,{hostname},{state},,0", lease.ends_unix);
    line
}

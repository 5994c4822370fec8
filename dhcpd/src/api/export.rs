//! `GET /v1/leases:export`: all leases as a stream, JSON lines or CSV in the column order of Kea's `kea-leases4.csv`.
//!
//! What is in memory is a few pieces of [`PIECE_BYTES`], however many leases there are and however slowly they are read; between two looks nothing is locked. So it is no snapshot of one
//! moment: a lease that changes meanwhile is shown as it was or as it is. The pieces are made by a thread that everybody else comes before ([`super::bulk`]), and which lets others go first
//! after each look: a worker that wakes waits for the end of a look, not for that of a turn of the scheduler's.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::BytesMut;
use hyper::body::Frame;
use metrics::counter;
use reveille_config::limit::EXPORTS_MAX;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::body::Query;
use super::lease_filter::Filter;
use super::lease_line::{self, Lines, Shown};
use super::leases::caught_up;
use super::problem::ApiError;
use super::{ApiState, unix_now};
use crate::proto::scope::ScopeIndex;
use crate::store::model::LeaseView;

/// Leases of one look, some 25 µs: the journal's reader waits so long.
const LEASES_AT_ONCE: usize = 64;
/// Leases looked at for one piece, so that an export whose filter leaves few does not keep the others.
const LOOKED_AT_MAX: usize = 4_096;
/// Octets of a piece, about.
const PIECE_BYTES: usize = 64 << 10;
/// Octets that the leases of one look take, more than nearly all do.
const LOOK_BYTES: usize = LEASES_AT_ONCE * 256;
/// Pieces under way at a time: being written, waiting, being sent.
const PIECES: usize = 4;

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
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(run(Export::new(state, filter, format), sender));
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(Pieces { pieces, _permit: permit })))
}

/// Has one piece made after the other, as they are read.
async fn run(mut export: Export, pieces: mpsc::Sender<io::Result<Bytes>>) {
    let state = Arc::clone(&export.state);
    loop {
        let making = state.bulk.run(move || {
            let piece = export.piece();
            (export, piece)
        });
        let Some((made, piece)) = making.await else {
            // So that nobody takes what has come for all there is. Whether anybody reads that is theirs.
            let _ = pieces.send(Err(io::Error::other("the export broke off"))).await;
            return;
        };
        let Some(piece) = piece else { return };
        let given_up = if piece.is_empty() { pieces.is_closed() } else { pieces.send(Ok(piece)).await.is_err() };
        if given_up {
            return;
        }
        export = made;
    }
}

/// A body that is made as it is read; at its end whoever else would read an export may.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// An export under way.
struct Export {
    state: Arc<ApiState>,
    filter: Filter,
    format: Format,
    scope: u16,
    after: Option<Ipv4Addr>,
    begun: bool,
    /// Where lines are written, and what pieces are sent from: the same memory again and again, since fresh pages cost more than the lines.
    lines: Vec<u8>,
    buffers: [BytesMut; PIECES],
    turn: usize,
}

impl Export {
    fn new(state: Arc<ApiState>, filter: Filter, format: Format) -> Self {
        let (lines, buffers) = (Vec::with_capacity(PIECE_BYTES + LOOK_BYTES), Default::default());
        Self { state, filter, format, scope: 0, after: None, begun: false, lines, buffers, turn: 0 }
    }

    /// The lines as a piece.
    fn send_off(&mut self) -> Bytes {
        self.turn = (self.turn + 1) % PIECES;
        let buffer = &mut self.buffers[self.turn];
        // One that is still being read is left to its reader.
        if !buffer.try_reclaim(self.lines.len()) {
            *buffer = BytesMut::with_capacity(self.lines.len().max(PIECE_BYTES + LOOK_BYTES));
        }
        buffer.extend_from_slice(&self.lines);
        buffer.split().freeze()
    }

    /// The next piece, which may be empty where the filter leaves little; `None` at the end.
    fn piece(&mut self) -> Option<Bytes> {
        self.lines.clear();
        if !std::mem::replace(&mut self.begun, true) && self.format == Format::Csv {
            self.lines.extend_from_slice(COLUMNS.as_bytes());
        }
        let store = Arc::clone(&self.state.store);
        let (model, scopes) = (&store.shared.model, store.shared.scopes.load());
        let lines = Lines::new(&scopes, unix_now());
        let reserved = model.has_reservations();
        let mut looked_at = 0;
        while self.lines.len() < PIECE_BYTES && looked_at < LOOKED_AT_MAX {
            let Some(scope) = scopes.get(ScopeIndex(self.scope)) else {
                return (!self.lines.is_empty()).then(|| self.send_off());
            };
            let skipped = self.filter.scope.is_some_and(|only| only != scope.index);
            let Self { filter, lines: to, format, .. } = self;
            let look = |lease: LeaseView<'_>| {
                if !filter.may_show(model, lease) {
                    return;
                }
                let reservation = if reserved { model.reservation_behind(lease) } else { None };
                let shown = Shown { lease, reservation: reservation.as_deref() };
                if filter.shows(shown, lines.now) {
                    match format {
                        Format::JsonLines => lease_line::json(to, &lines, shown),
                        Format::Csv => lease_line::csv(to, &lines, shown),
                    }
                }
            };
            let last = if skipped { None } else { model.look_at_leases(scope.index, self.after, LEASES_AT_ONCE, look) };
            match last {
                Some(_) => self.after = last,
                None => (self.scope, self.after) = (self.scope + 1, None),
            }
            looked_at += LEASES_AT_ONCE;
            std::thread::yield_now();
        }
        Some(self.send_off())
    }
}

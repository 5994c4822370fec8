//! [`receive`]: the rows of a batch, read as its body comes in.
//!
//! The body is never in memory as a whole: one row of it at a time is text, the others are what they ask for. At the first row too many, or one that is too long, nothing more is
//! read of it. Rows that cannot be are counted, and the first of them kept.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::body::Bytes;
use hyper::body::Buf as _;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::RowProblem;
use reveille_config::dto::dhcpd::{ClientRef, ReservationPut};
use reveille_config::limit::{BATCH_MISTAKES_MAX, BATCH_ROW_BYTES_MAX, BATCH_ROWS_MAX};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::draft::{draft, named, nobody};
use super::pieces::Pieces;
use super::problem::ApiError;
use super::reservations::reserved;
use super::{ApiState, body, page};
use crate::proto::scope::{NetworkIndex, Scopes};
use crate::store::batch::Row;
use crate::store::reservation::Expected;

/// Pieces of a body that wait for its reader.
const PIECES_WAITING_MAX: usize = 4;

/// Where a row stands in the body.
pub type Place = (&'static str, usize);

/// What a batch asks for.
pub struct BatchRows {
    /// Its rows.
    pub rows: Vec<Row>,
    /// Where each of them stood.
    pub places: Vec<Place>,
}

/// Reads a batch as it comes.
///
/// # Errors
/// Of the body: 400, 408, 413. Of its rows: 422 with the list of them.
pub async fn receive(state: Arc<ApiState>, mut pieces: Pieces) -> Result<BatchRows, ApiError> {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let reading = tokio::task::spawn_blocking(move || read(&state, receiver));
    let ended = loop {
        match pieces.next().await {
            // Whoever sends on after a mistake hears of it at the end.
            Ok(Some(piece)) => _ = sender.send(piece).await,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let rows = reading.await.map_err(|_| ApiError::unavailable("the batch broke off"))?;
    ended.and(rows)
}

/// The whole batch is refused for so many rows, of which these are shown.
pub fn refusal(count: usize, shown: impl Iterator<Item = (Place, ApiError)>) -> ApiError {
    let shown = shown.map(|((list, row), error)| {
        let problem = error.into_problem();
        RowProblem { list: list.into(), row: row as u64, field: problem.field, detail: problem.detail }
    });
    ApiError::rows(format!("nothing was changed: {count} of the rows cannot be"), shown.collect())
}

/// Reads what comes through the channel; for a thread that may wait.
fn read(state: &ApiState, pieces: mpsc::Receiver<Bytes>) -> Result<BatchRows, ApiError> {
    let scopes = state.store.shared.scopes.load_full();
    let of_row = Cell::new(None);
    let mut gathered = Gathered::new(state, &scopes, &of_row);
    let mut reader = serde_json::Deserializer::from_reader(Feed { pieces, piece: Bytes::new(), of_row: &of_row });
    let read = reader.deserialize_map(Body(&mut gathered)).and_then(|()| reader.end());
    match read {
        _ if let Some(refused) = gathered.refused => Err(refused),
        Err(_) if of_row.get().is_some_and(|octets| octets > BATCH_ROW_BYTES_MAX) => {
            Err(ApiError::too_long(format!("at most {BATCH_ROW_BYTES_MAX} octets in a row")))
        }
        Err(error) => Err(ApiError::malformed(None, error.to_string())),
        Ok(()) if gathered.wrong > 0 => Err(refusal(gathered.wrong, gathered.shown.into_iter())),
        Ok(()) => Ok(BatchRows { rows: gathered.rows, places: gathered.places }),
    }
}

/// The body as a reader that waits for what comes.
struct Feed<'a> {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    /// Octets of the row that is being read, if one is.
    of_row: &'a Cell<Option<usize>>,
}

impl Read for Feed<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let octets = to.len().min(self.piece.len());
        if let Some(before) = self.of_row.get() {
            self.of_row.set(Some(before + octets));
            if before + octets > BATCH_ROW_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        // Called for each octet: no new reference to the piece.
        to[..octets].copy_from_slice(&self.piece[..octets]);
        self.piece.advance(octets);
        Ok(octets)
    }
}

/// What has been read.
struct Gathered<'a> {
    state: &'a ApiState,
    scopes: &'a Scopes,
    of_row: &'a Cell<Option<usize>>,
    rows: Vec<Row>,
    places: Vec<Place>,
    /// By network and identity.
    clients: HashMap<(NetworkIndex, ReservedFor), Place>,
    addresses: HashMap<Ipv4Addr, Place>,
    /// Rows so far, those that cannot be included.
    count: usize,
    /// Those that cannot be, and the first of them.
    wrong: usize,
    shown: Vec<(Place, ApiError)>,
    /// Why the rest was not read.
    refused: Option<ApiError>,
}

impl<'a> Gathered<'a> {
    fn new(state: &'a ApiState, scopes: &'a Scopes, of_row: &'a Cell<Option<usize>>) -> Self {
        let (rows, places, clients, addresses, shown) = Default::default();
        Self { state, scopes, of_row, rows, places, clients, addresses, count: 0, wrong: 0, shown, refused: None }
    }

    fn add(&mut self, place: Place, raw: &RawValue) {
        match self.row(place, raw.get().as_bytes()) {
            Ok(None) => {}
            Ok(Some(row)) => {
                self.rows.push(row);
                self.places.push(place);
            }
            Err(error) => {
                self.wrong += 1;
                if self.shown.len() < BATCH_MISTAKES_MAX {
                    self.shown.push((place, error));
                }
            }
        }
    }

    fn row(&mut self, place: Place, octets: &[u8]) -> Result<Option<Row>, ApiError> {
        let twice = |field, (list, row): Place| {
            ApiError::conflict(Some(field), format!("row {row} of `{list}` names it already"))
        };
        let row = if place.0 == "put" { Some(self.put(octets)?) } else { self.delete(octets)? };
        let Some(row) = row else { return Ok(None) };
        let network = self.scopes.get(row.holder().scope).map_or(NetworkIndex(0), |scope| scope.network);
        for client in row.identities() {
            if let Some(before) = self.clients.insert((network, client.clone()), place) {
                return Err(twice(client.field(), before));
            }
        }
        if let Row::Put(draft) = &row
            && let Some(address) = draft.address
            && let Some(before) = self.addresses.insert(address, place)
        {
            return Err(twice("address", before));
        }
        Ok(Some(row))
    }

    fn put(&self, octets: &[u8]) -> Result<Row, ApiError> {
        let put: ReservationPut = body::read(octets)?;
        Ok(Row::Put(Box::new(draft(self.state, self.scopes, None, put, Expected::Anything)?)))
    }

    /// One that is not there is not missed.
    fn delete(&self, octets: &[u8]) -> Result<Option<Row>, ApiError> {
        let which: ClientRef = body::read(octets)?;
        let client = match <[ReservedFor; 1]>::try_from(named(which.identities())?) {
            Ok([client]) => client,
            Err(none) if none.is_empty() => return Err(nobody()),
            Err(several) => return Err(ApiError::invalid(several[1].field(), "one identity says which is meant")),
        };
        let scope = which.scope.as_deref().map(|name| page::scope_named(self.state, name)).transpose()?;
        Ok(reserved(self.state, &client, scope)?.map(|(own, _)| Row::Delete(own.holder())))
    }
}

/// `{ "put": [ … ], "delete": [ … ] }`
struct Body<'a, 'b>(&'a mut Gathered<'b>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum List {
    Put,
    Delete,
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the lists `put` and `delete`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; 2];
        while let Some(list) = map.next_key::<List>()? {
            let (name, seen) = match list {
                List::Put => ("put", &mut seen[0]),
                List::Delete => ("delete", &mut seen[1]),
            };
            if std::mem::replace(seen, true) {
                return Err(A::Error::duplicate_field(name));
            }
            map.next_value_seed(Rows(name, self.0))?;
        }
        Ok(())
    }
}

/// One of the lists.
struct Rows<'a, 'b>(&'static str, &'a mut Gathered<'b>);

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(name, gathered) = self;
        let mut at = 0;
        while let Some(raw) = list.next_element_seed(RawRow(gathered.of_row))? {
            if gathered.count == BATCH_ROWS_MAX {
                gathered.refused = Some(ApiError::too_long(format!("at most {BATCH_ROWS_MAX} rows in a batch")));
                return Err(A::Error::custom("too many rows"));
            }
            gathered.count += 1;
            gathered.add((name, at), &raw);
            at += 1;
        }
        Ok(())
    }
}

/// The text of one row, whose octets are counted.
struct RawRow<'a>(&'a Cell<Option<usize>>);

impl<'de> DeserializeSeed<'de> for RawRow<'_> {
    type Value = Box<RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Box<RawValue>, D::Error> {
        self.0.set(Some(0));
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        self.0.set(None);
        Ok(raw)
    }
}

//! Server-sent events (the HTML standard's `text/event-stream`): how a daemon writes them, and how a client reads them. No sockets here.
//!
//! An event's `data` is the JSON of [`Event`], its `event` the kind, its `id` the [`Place`] after it; a transient one has no `id`. `event: lost` has the JSON of [`Lost`] and
//! the `id` to go on from. An `id` alone says how far the reader has come where nothing was for it; it comes at least every [`HEARTBEAT_SECS`].

use std::io::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Event, Lost, Place, Since};

/// The content type.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// A stream without news says so this often, seconds.
pub const HEARTBEAT_SECS: u64 = 15;
/// The kind of what is told where events were lost.
pub const LOST: &str = "lost";
/// Octets of one event that a reader takes; a longer one ends the stream.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Appends an event of the log of this epoch.
pub fn write_event(to: &mut Vec<u8>, epoch: Epoch, event: &Event) {
    if event.sequence > 0 {
        id(to, Place { epoch, sequence: event.sequence });
    }
    line(to, "event: ", event.kind.as_bytes());
    to.extend_from_slice(b"data: ");
    // Strings and numbers into memory: it does not fail. JSON has no line ends of its own.
    let _ = serde_json::to_writer(&mut *to, event);
    to.extend_from_slice(b"\n\n");
}

/// Appends that events were lost; the reader goes on after `lost.to`.
pub fn write_lost(to: &mut Vec<u8>, epoch: Epoch, lost: Lost) {
    id(to, Place { epoch, sequence: lost.to });
    line(to, "event: ", LOST.as_bytes());
    line(to, "data: ", format!("{{\"from\":{},\"to\":{}}}", lost.from, lost.to).as_bytes());
    to.push(b'\n');
}

/// How many transient events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// So many.
    pub transient: u64,
}

/// Appends that `count` transient events were lost.
pub fn write_missed(to: &mut Vec<u8>, count: u64) {
    line(to, "event: ", LOST.as_bytes());
    line(to, "data: ", format!("{{\"transient\":{count}}}").as_bytes());
    to.push(b'\n');
}

/// Appends how far the reader has come.
pub fn write_position(to: &mut Vec<u8>, place: Place) {
    id(to, place);
    to.push(b'\n');
}

fn id(to: &mut Vec<u8>, place: Place) {
    // Into memory: it does not fail.
    let _ = writeln!(to, "id: {place}");
}

fn line(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(value);
    to.push(b'\n');
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(Box<Event>),
    /// Events were lost.
    Lost(Lost),
    /// So many transient events were lost.
    Missed(u64),
    /// Everything up to this place has come.
    Position(Since),
}

/// Octets that are no such stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// One event is longer than [`EVENT_BYTES_MAX`].
    #[error("an event is longer than {EVENT_BYTES_MAX} octets")]
    TooLong,
    /// The data is not what its kind says.
    #[error("an event's data is not in the form of events")]
    Malformed,
}

/// Reads a stream as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    octets: Vec<u8>,
    /// Up to here there is no end of a block.
    looked: usize,
    /// The last `id`.
    since: Option<Since>,
}

impl Reader {
    /// Takes octets in; [`Self::poll_item`] then gives what they complete.
    pub fn handle_octets(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// The next item that is complete.
    ///
    /// # Errors
    /// See [`ReadError`]; the stream is of no more use.
    pub fn poll_item(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let end = self.octets[self.looked..].windows(2).position(|pair| pair == b"\n\n");
            let Some(end) = end.map(|end| self.looked + end) else {
                self.looked = self.octets.len().saturating_sub(1);
                return if self.octets.len() > EVENT_BYTES_MAX { Err(ReadError::TooLong) } else { Ok(None) };
            };
            let rest = self.octets.split_off(end + 2);
            let block = std::mem::replace(&mut self.octets, rest);
            self.looked = 0;
            if let Some(item) = self.item(&block)? {
                return Ok(Some(item));
            }
        }
    }

    /// Where to go on after the items that were given: the last `id` of theirs.
    pub fn since(&self) -> Option<Since> {
        self.since
    }

    fn item(&mut self, block: &[u8]) -> Result<Option<Item>, ReadError> {
        let text = std::str::from_utf8(block).map_err(|_| ReadError::Malformed)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let malformed = |_: serde_json::Error| ReadError::Malformed;
        let id = field("id").map(str::parse::<Since>).transpose().map_err(|_| ReadError::Malformed)?;
        self.since = id.or(self.since);
        Ok(match (field("event"), field("data"), id) {
            (Some(LOST), Some(data), _) => {
                let data: serde_json::Value = serde_json::from_str(data).map_err(malformed)?;
                match data.get("transient").and_then(serde_json::Value::as_u64) {
                    Some(count) => Some(Item::Missed(count)),
                    None => Some(Item::Lost(serde_json::from_value(data).map_err(malformed)?)),
                }
            }
            (_, Some(data), _) => Some(Item::Event(serde_json::from_str(data).map_err(malformed)?)),
            (_, None, Some(since)) => Some(Item::Position(since)),
            // A comment, or how long to wait before coming back.
            (_, None, None) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(0x5f0c_6ad1_c9e2_b734);

    fn event(sequence: u64) -> Event {
        Event {
            sequence,
            at_unix_millis: 5,
            kind: "bound".into(),
            mac: None,
            node: None,
            message: "two\nlines".into(),
            detail: serde_json::Map::new(),
        }
    }

    /// If this test fails, do not change the test: clients read this.
    #[test]
    fn golden_octets() {
        let mut octets = Vec::new();
        write_event(&mut octets, EPOCH, &event(7));
        write_event(&mut octets, EPOCH, &event(0));
        write_lost(&mut octets, EPOCH, Lost { from: 8, to: 12 });
        write_missed(&mut octets, 3);
        write_position(&mut octets, Place { epoch: EPOCH, sequence: 13 });
        let expected = concat!(
            "id: 5f0c6ad1c9e2b734-7\nevent: bound\ndata: {\"sequence\":7,\"at_unix_millis\":5,\"kind\":\"bound\",\"message\":\"two\\nlines\"}\n\n",
            "event: bound\ndata: {\"at_unix_millis\":5,\"kind\":\"bound\",\"message\":\"two\\nlines\"}\n\n",
            "id: 5f0c6ad1c9e2b734-12\nevent: lost\ndata: {\"from\":8,\"to\":12}\n\n",
            "event: lost\ndata: {\"transient\":3}\n\n",
            "id: 5f0c6ad1c9e2b734-13\n\n",
        );
        assert_eq!(String::from_utf8_lossy(&octets), expected);
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let mut octets = b": hello\n\nretry: 1000\n\n".to_vec();
        write_event(&mut octets, EPOCH, &event(7));
        write_lost(&mut octets, EPOCH, Lost { from: 8, to: 12 });
        write_missed(&mut octets, 3);
        write_position(&mut octets, Place { epoch: EPOCH, sequence: 13 });
        let expected = [
            Item::Event(Box::new(event(7))),
            Item::Lost(Lost { from: 8, to: 12 }),
            Item::Missed(3),
            Item::Position(Since::Place(Place { epoch: EPOCH, sequence: 13 })),
        ];
        for cut in 1..=octets.len() {
            let mut reader = Reader::default();
            let mut items = Vec::new();
            for part in octets.chunks(cut) {
                reader.handle_octets(part);
                while let Some(item) = reader.poll_item().unwrap() {
                    items.push(item);
                }
            }
            assert_eq!(items, expected, "in parts of {cut}");
            assert_eq!(reader.since(), Some(Since::Place(Place { epoch: EPOCH, sequence: 13 })));
        }
    }

    #[test]
    fn a_reader_is_where_the_item_that_it_was_given_last_is() {
        let mut reader = Reader::default();
        let mut octets = b"retry: 1000\nid: 5\n\n".to_vec();
        write_event(&mut octets, EPOCH, &event(7));
        write_event(&mut octets, EPOCH, &event(0));
        write_lost(&mut octets, EPOCH, Lost { from: 8, to: 12 });
        reader.handle_octets(&octets);
        let place = |sequence| Some(Since::Place(Place { epoch: EPOCH, sequence }));
        assert_eq!(reader.since(), None);
        for expected in [Some(Since::Sequence(5)), place(7), place(7), place(12)] {
            assert!(reader.poll_item().unwrap().is_some());
            assert_eq!(reader.since(), expected);
        }
    }

    #[test]
    fn what_is_no_stream_of_events_is_an_error() {
        for (octets, error) in [
            (&b"data: nonsense\n\n"[..], ReadError::Malformed),
            (b"event: lost\ndata: {}\n\n", ReadError::Malformed),
            (b"id: x\n\n", ReadError::Malformed),
            (&[b'x'; EVENT_BYTES_MAX + 1], ReadError::TooLong),
        ] {
            let mut reader = Reader::default();
            reader.handle_octets(octets);
            assert_eq!(reader.poll_item(), Err(error));
        }
    }
}

//! [`Place`]: where a reader is: in which log of events, and how far. [`Since`]: where it wants to begin.
//!
//! A sequence alone does not tell one log from another that has begun anew and since grown past it (a state directory that was taken away, a daemon that keeps its
//! events in memory): its reader would silently go on in a history that it does not know. So a log has an [`Epoch`], which readers are told and hand back.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ahead of every log: whoever is there knows nothing of it, and is told so.
const AHEAD: u64 = u64::MAX;

/// Which log it is: drawn when the log began, and never changed. 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A sequence of a certain log, written `<epoch>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log.
    pub epoch: Epoch,
    /// The last sequence seen.
    pub sequence: u64,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// After this sequence of whatever log there is; 0 is the oldest event known.
    Sequence(u64),
    /// After this place.
    Place(Place),
    /// With what happens from now on.
    Latest,
}

/// A text that says no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the last place seen is expected, a number or `<epoch>-<number>`, or `latest`")]
pub struct PlaceError;

impl Since {
    /// The sequence in the log of this epoch, `last` being the last there. A place of another log is ahead of every sequence, so that its reader is told that it has
    /// lost all from the start.
    pub fn in_log(self, epoch: Epoch, last: u64) -> u64 {
        match self {
            Self::Sequence(sequence) => sequence,
            Self::Place(place) if place.epoch == epoch => place.sequence,
            Self::Place(_) => AHEAD,
            Self::Latest => last,
        }
    }
}

impl Place {
    /// The place of who has come to this sequence; `None` where that is the place of another log.
    pub fn of(epoch: Epoch, sequence: u64) -> Option<Self> {
        (sequence != AHEAD).then_some(Self { epoch, sequence })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let is_one = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(PlaceError)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(sequence) => write!(f, "{sequence}"),
            Self::Place(place) => write!(f, "{place}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl FromStr for Since {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| PlaceError);
        match text.split_once('-') {
            _ if text == "latest" => Ok(Self::Latest),
            None => number(text).map(Self::Sequence),
            Some((epoch, sequence)) => Ok(Self::Place(Place { epoch: epoch.parse()?, sequence: number(sequence)? })),
        }
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Epoch {
    fn schema_name() -> Cow<'static, str> {
        "Epoch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let epoch = Epoch(0x00c0_ffee);
        for (since, text) in [
            (Since::Sequence(7), "7"),
            (Since::Latest, "latest"),
            (Since::Place(Place { epoch, sequence: 7 }), "0000000000c0ffee-7"),
        ] {
            assert_eq!((since.to_string().as_str(), text.parse()), (text, Ok(since)));
        }
        for wrong in ["", "x", "-1", "7-7", "c0ffee-7", "0000000000C0FFEE-7", "0000000000c0ffee-", "0000000000c0ffee-x"]
        {
            assert_eq!(wrong.parse::<Since>(), Err(PlaceError), "{wrong:?}");
        }
    }

    #[test]
    fn a_place_of_another_log_is_ahead_of_this_one() {
        let (own, other) = (Epoch(1), Epoch(2));
        let place = |epoch| Since::Place(Place { epoch, sequence: 7 });
        for (since, expected) in
            [(Since::Sequence(7), 7), (Since::Latest, 9), (place(own), 7), (place(other), u64::MAX)]
        {
            assert_eq!(since.in_log(own, 9), expected, "{since}");
        }
        assert_eq!(Place::of(own, 7), Some(Place { epoch: own, sequence: 7 }));
        assert_eq!(Place::of(own, place(other).in_log(own, 9)), None);
    }
}

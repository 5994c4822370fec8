//! The serial line of a machine, as its BMC serves it over the network (15 of the specification).
//!
//! What the machine says is what a test puts into [`Serial::says`]; what it hears is in [`Serial::heard`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How soon the BMC repeats what is not acknowledged, and how often.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
const TRIES_MAX: u32 = 10;
/// Characters in a packet of the BMC's.
const CHARACTERS_MAX: usize = 200;

/// A machine's serial line.
#[derive(Debug, Clone, Default)]
pub struct Serial {
    /// What the machine says, not yet delivered to anybody.
    pub says: VecDeque<u8>,
    /// What the machine heard.
    pub heard: Vec<u8>,
    /// Breaks that were held.
    pub breaks: u32,
    /// The machine says what it hears.
    pub echoes: bool,
    /// Take so many characters of the next packet and refuse the rest.
    pub takes_only: Option<usize>,
    pub(crate) line: Option<Line>,
    /// The session that another has taken it from, until it is told so.
    pub(crate) leaving: Option<u32>,
}

/// The line as it is attached to a session.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The session's id.
    pub session: u32,
    last_number: u8,
    /// Number, characters, tries, when again.
    flight: Option<(u8, Vec<u8>, u32, Instant)>,
    heard: (u8, usize),
    owed: Option<(u8, u8, u8)>,
}

impl Serial {
    /// Attaches it to a session; false if it is another's.
    pub(crate) fn attach(&mut self, session: u32) -> bool {
        if self.line.as_ref().is_some_and(|line| line.session != session) {
            return false;
        }
        self.line = Some(Line { session, last_number: 0, flight: None, heard: (0, 0), owed: None });
        true
    }

    /// Lets it go. Another's session is told so once more.
    pub(crate) fn detach(&mut self, by: u32) -> bool {
        let Some(line) = self.line.take() else { return false };
        self.leaving = Some(line.session).filter(|session| *session != by);
        true
    }

    /// A payload of the session that holds it.
    pub(crate) fn handle(&mut self, payload: &[u8]) -> Option<()> {
        let (&[number, acknowledged, _, operation], characters) = payload.split_first_chunk::<4>()?;
        let line = self.line.as_mut()?;
        line.flight.take_if(|(number, ..)| *number == acknowledged & 0x0f);
        let number = number & 0x0f;
        if number == 0 {
            return Some(());
        }
        let known = if line.heard.0 == number { line.heard.1.min(characters.len()) } else { 0 };
        let takes = self.takes_only.take().unwrap_or(characters.len()).clamp(known, characters.len());
        let new = &characters[known..takes];
        if line.heard.0 != number {
            self.breaks += u32::from(operation >> 4 & 1);
        }
        self.heard.extend(new);
        if self.echoes {
            self.says.extend(new);
        }
        line.heard = (number, takes);
        line.owed = Some((number, takes as u8, if takes < characters.len() { 0x40 } else { 0 }));
        Some(())
    }

    /// The next payload to send, and whose.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(u32, Vec<u8>)> {
        if let Some(session) = self.leaving.take() {
            return Some((session, vec![0, 0, 0, 0x10]));
        }
        let line = self.line.as_mut()?;
        let session = line.session;
        if line.flight.is_none() && !self.says.is_empty() {
            let count = self.says.len().min(CHARACTERS_MAX);
            line.last_number = line.last_number % 15 + 1;
            line.flight = Some((line.last_number, self.says.drain(..count).collect(), 0, now));
        }
        let due = line.flight.as_mut().filter(|(_, _, tries, at)| *at <= now && *tries < TRIES_MAX);
        if due.is_none() && line.owed.is_none() {
            return None;
        }
        let (acknowledged, taken, status) = line.owed.take().unwrap_or_default();
        let Some((number, characters, tries, at)) = due else {
            return Some((session, vec![0, acknowledged, taken, status]));
        };
        (*tries, *at) = (*tries + 1, now + REPEAT_AFTER);
        Some((session, [&[*number, acknowledged, taken, status], &characters[..]].concat()))
    }
}

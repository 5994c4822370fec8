//! Serial over LAN (15): the packets, and [`Line`], one attached serial line as a value.
//!
//! Each side has one packet under way at a time, numbered 1–15, and repeats it until it is acknowledged; an acknowledgement says how
//! many characters were taken. It knows no sessions and no commands: [`super::Console`] has those.
//!
//! Invariants: an octet that came is told once and in order; an octet to send is sent until the BMC has taken it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reveille_config::limit::CONSOLE_INPUT_BYTES_MAX;

use super::reason::DropReason;

/// Octets before the characters (table 15-2).
const HEADER_BYTES: usize = 4;
/// Characters in a packet of ours: what people type is less, and some BMCs say more than they can take.
const CHARACTERS_MAX: usize = 64;
/// When a packet is repeated (15.11 leaves it to the implementer; ipmitool takes a second as well), and how often.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
const TRIES_MAX: u8 = 8;
/// How long a BMC that takes nothing for now is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// To the BMC: hold a break on the line.
const BREAK: u8 = 0x10;
/// Both ways: what is acknowledged here was not, or not wholly, taken.
const NACK: u8 = 0x40;
/// From the BMC: nothing can be taken now (the machine is off, or flow control).
const UNAVAILABLE: u8 = 0x20;
/// From the BMC: the line is being let go.
const DEACTIVATING: u8 = 0x10;
/// From the BMC: characters of the machine's were lost.
const OVERRUN: u8 = 0x08;

/// What a packet of the BMC's was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// The BMC lets the line go.
    pub deactivating: bool,
    /// The BMC lost characters of the machine's.
    pub overrun: bool,
}

/// A packet of ours that is not acknowledged yet.
#[derive(Debug)]
struct Flight {
    number: u8,
    characters: Vec<u8>,
    holds_break: bool,
    tries: u8,
    next: Instant,
}

/// One attached serial line.
#[derive(Debug)]
pub struct Line {
    characters_max: usize,
    last_number: u8,
    queue: VecDeque<u8>,
    wants_break: bool,
    flight: Option<Flight>,
    /// The BMC's last packet and how many of its characters were taken.
    heard: (u8, usize),
    /// To be acknowledged: number, characters.
    owed: Option<(u8, u8)>,
}

impl Line {
    /// A line that has just been attached. `inbound_bytes`: the largest payload that the BMC says it takes.
    pub fn new(inbound_bytes: u16) -> Self {
        let characters_max = usize::from(inbound_bytes).saturating_sub(HEADER_BYTES).clamp(1, CHARACTERS_MAX);
        Self {
            characters_max,
            last_number: 0,
            queue: VecDeque::new(),
            wants_break: false,
            flight: None,
            heard: (0, 0),
            owed: None,
        }
    }

    /// Queues characters for the machine; how many there was room for ([`CONSOLE_INPUT_BYTES_MAX`]).
    pub fn write(&mut self, characters: &[u8]) -> usize {
        let room = CONSOLE_INPUT_BYTES_MAX.saturating_sub(self.queue.len()).min(characters.len());
        self.queue.extend(&characters[..room]);
        room
    }

    /// Asks for a break on the line, after what is under way.
    pub fn send_break(&mut self) {
        self.wants_break = true;
    }

    /// A payload of the BMC's. The machine's characters that are new are appended to `characters`.
    pub fn handle_payload(
        &mut self,
        now: Instant,
        payload: &[u8],
        characters: &mut Vec<u8>,
    ) -> Result<Heard, DropReason> {
        let (&[number, acknowledged, taken, status], data) =
            payload.split_first_chunk::<HEADER_BYTES>().ok_or(DropReason::Truncated)?;
        let number = number & 0x0f;
        self.on_acknowledgement(now, acknowledged & 0x0f, taken, status);
        if number != 0 {
            // A repeated packet may hold more than it did (15.11): only what is more is new.
            let known = if self.heard.0 == number { self.heard.1.min(data.len()) } else { 0 };
            characters.extend_from_slice(&data[known..]);
            self.heard = (number, data.len());
            self.owed = Some((number, data.len().min(255) as u8));
        }
        Ok(Heard { deactivating: status & DEACTIVATING != 0, overrun: status & OVERRUN != 0 })
    }

    fn on_acknowledgement(&mut self, now: Instant, acknowledged: u8, taken: u8, status: u8) {
        let Some(flight) = self.flight.take_if(|flight| flight.number == acknowledged) else { return };
        if status & NACK == 0 && status & UNAVAILABLE == 0 {
            return;
        }
        let taken = usize::from(taken).min(flight.characters.len());
        let left = &flight.characters[taken..];
        if left.is_empty() && (status & NACK == 0 || !flight.holds_break) {
            return;
        }
        // What was not taken goes out again under another number, a moment later.
        let pause = if status & UNAVAILABLE != 0 { PAUSE } else { Duration::ZERO };
        let characters = left.to_vec();
        self.flight = Some(Flight { number: self.next_number(), characters, tries: 0, next: now + pause, ..flight });
    }

    fn next_number(&mut self) -> u8 {
        self.last_number = self.last_number % 15 + 1;
        self.last_number
    }

    /// When something is to be repeated.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flight.as_ref().map(|flight| flight.next)
    }

    /// The BMC acknowledges nothing any more.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.tries >= TRIES_MAX && now >= flight.next)
    }

    /// Writes the next payload to send into `out` (cleared first); false if there is none.
    pub fn poll_payload(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.flight.is_none() && (self.wants_break || !self.queue.is_empty()) {
            let count = self.queue.len().min(self.characters_max);
            let holds_break = std::mem::take(&mut self.wants_break);
            let characters = if holds_break { Vec::new() } else { self.queue.drain(..count).collect() };
            self.flight = Some(Flight { number: self.next_number(), characters, holds_break, tries: 0, next: now });
        }
        let due = self.flight.as_mut().filter(|flight| flight.next <= now && flight.tries < TRIES_MAX);
        if due.is_none() && self.owed.is_none() {
            return false;
        }
        let (acknowledged, taken) = self.owed.take().unwrap_or_default();
        match due {
            Some(flight) => {
                let operation = if flight.holds_break { BREAK } else { 0 };
                out.extend_from_slice(&[flight.number, acknowledged, taken, operation]);
                out.extend_from_slice(&flight.characters);
                flight.tries += 1;
                flight.next = now + REPEAT_AFTER;
            }
            None => out.extend_from_slice(&[0, acknowledged, taken, 0]),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out now.
    fn out(line: &mut Line, now: Instant) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        line.poll_payload(now, &mut payload).then_some(payload)
    }

    fn told(line: &mut Line, now: Instant, payload: &[u8]) -> String {
        let mut characters = Vec::new();
        line.handle_payload(now, payload, &mut characters).unwrap();
        String::from_utf8(characters).unwrap()
    }

    #[test]
    fn what_the_machine_says_is_told_once_and_acknowledged() {
        let (mut line, now) = (Line::new(256), Instant::now());
        for (payload, characters, answer) in [
            (&b"\x01\0\0\0boot"[..], "boot", Some([0, 1, 4, 0])),
            // Our acknowledgement was lost.
            (b"\x01\0\0\0boot", "", Some([0, 1, 4, 0])),
            // Repeated with more than before.
            (b"\x01\0\0\0booting", "ing", Some([0, 1, 7, 0])),
            (b"\x02\0\0\0!", "!", Some([0, 2, 1, 0])),
            // Of another acknowledgement, and of nothing.
            (b"\0\x03\x01\0", "", None),
            (b"\0\0\0\0ignored", "", None),
            // Round the end.
            (b"\x0f\0\0\0a", "a", Some([0, 15, 1, 0])),
            (b"\x01\0\0\0b", "b", Some([0, 1, 1, 0])),
        ] {
            assert_eq!(told(&mut line, now, payload), characters, "{}", payload.escape_ascii());
            assert_eq!(out(&mut line, now), answer.map(Vec::from), "{}", payload.escape_ascii());
        }
        for truncated in 0..4 {
            let payload = &[1, 0, 0, 0][..truncated];
            assert_eq!(line.handle_payload(now, payload, &mut Vec::new()), Err(DropReason::Truncated));
        }
        let heard = |status| Line::new(256).handle_payload(now, &[0, 0, 0, status], &mut Vec::new()).unwrap();
        assert_eq!(heard(0x10), Heard { deactivating: true, overrun: false });
        assert_eq!(heard(0x08), Heard { deactivating: false, overrun: true });
    }

    #[test]
    fn what_is_typed_goes_out_until_it_is_taken() {
        let (mut line, mut now) = (Line::new(8), Instant::now());
        assert_eq!(line.write(b"status\r"), 7);
        let first = b"\x01\0\0\0stat".to_vec();
        assert_eq!(out(&mut line, now), Some(first.clone()), "no more than the BMC takes");
        assert_eq!(out(&mut line, now), None, "one at a time");
        now = line.poll_timeout().unwrap();
        assert_eq!(out(&mut line, now), Some(first), "the same again after a second");
        // Two of the four were taken: the others again, under another number.
        told(&mut line, now, &[0, 1, 2, NACK]);
        assert_eq!(out(&mut line, now), Some(b"\x02\0\0\0at".to_vec()));
        // A late answer to the first is none to the second.
        told(&mut line, now, &[0, 1, 4, 0]);
        assert_eq!(out(&mut line, now), None);
        // Nothing taken for now: a moment later.
        told(&mut line, now, &[0, 2, 0, UNAVAILABLE]);
        assert_eq!(out(&mut line, now), None);
        now = line.poll_timeout().unwrap();
        assert_eq!(out(&mut line, now), Some(b"\x03\0\0\0at".to_vec()));
        // Acknowledged together with something new; so is ours.
        assert_eq!(told(&mut line, now, b"\x07\x03\x02\0ok"), "ok");
        assert_eq!(out(&mut line, now), Some(b"\x04\x07\x02\0us\r".to_vec()));
        told(&mut line, now, &[0, 4, 3, 0]);
        assert_eq!((out(&mut line, now), line.poll_timeout()), (None, None));
    }

    #[test]
    fn a_break_is_held_and_a_dead_line_found_out() {
        let (mut line, mut now) = (Line::new(256), Instant::now());
        line.send_break();
        line.write(b"x");
        assert_eq!(out(&mut line, now), Some(vec![1, 0, 0, BREAK]));
        told(&mut line, now, &[0, 1, 0, NACK]);
        assert_eq!(out(&mut line, now), Some(vec![2, 0, 0, BREAK]), "a break that was refused is held again");
        told(&mut line, now, &[0, 2, 0, 0]);
        for _ in 0..TRIES_MAX {
            assert_eq!(out(&mut line, now), Some(b"\x03\0\0\0x".to_vec()));
            assert!(!line.is_dead(now));
            now = line.poll_timeout().unwrap();
        }
        assert!(line.is_dead(now) && out(&mut line, now).is_none());
    }

    #[test]
    fn only_so_much_waits_to_be_sent() {
        let mut line = Line::new(256);
        let more = vec![b'x'; CONSOLE_INPUT_BYTES_MAX + 10];
        assert_eq!((line.write(&more), line.write(b"y")), (CONSOLE_INPUT_BYTES_MAX, 0));
        let (payload, now) = (out(&mut line, Instant::now()).unwrap(), Instant::now());
        assert_eq!(payload.len(), HEADER_BYTES + CHARACTERS_MAX);
        told(&mut line, now, &[0, 1, CHARACTERS_MAX as u8, 0]);
        assert_eq!(line.write(b"there is room again"), 19);
    }
}

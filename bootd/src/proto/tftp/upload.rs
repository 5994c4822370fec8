//! [`Upload`]: one file that a client writes (RFC 1350 section 4), as a state machine, from the first answer to the last ACK.
//!
//! It holds no payload. A block is acknowledged when the shell says that it is kept, the last one when the file is durable: so an ACK of the last block
//! is a promise. It takes one block at a time (RFC 7440's windows are not offered). Every upload ends, at the latest one timeout after
//! [`STALL_MAX`] without progress.

use std::time::{Duration, Instant};

use super::packet::{self, BLOCK_SIZE_DEFAULT, Incoming, Options};
use super::round_trip::RoundTrip;
use super::transfer::{Outcome, STALL_MAX};

/// Octets of a block: an Ethernet frame's worth. A client that asks for more is given this.
pub const UPLOAD_BLOCK_SIZE_MAX: u16 = 1_468;
/// After the last ACK, repetitions of the last block are acknowledged for so long: the ACK may have been lost.
pub const LINGER: Duration = Duration::from_secs(3);

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// The next octets of the file, to be kept; then comes [`Upload::kept`]. `last`: the file is whole with them.
    Octets {
        /// Perhaps none.
        octets: &'a [u8],
        /// Whether nothing follows.
        last: bool,
    },
    /// Nothing to keep: a repetition, the end, or no DATA at all.
    Nothing,
}

/// One file on its way in.
#[derive(Debug)]
pub struct Upload {
    block_size: u16,
    bytes_max: u64,
    /// Octets taken.
    bytes: u64,
    /// Number of the last block that was acknowledged; 0 stands for the request.
    acknowledged: u64,
    /// A block has been taken that is not kept yet, and whether it is the last.
    taken: Option<bool>,
    /// The last answer, and whether it is due.
    answer: Vec<u8>,
    due: bool,
    answered_at: Instant,
    progress_at: Instant,
    round_trip: RoundTrip,
    /// Answers sent again.
    repeated: u64,
    /// The whole file is acknowledged.
    complete: bool,
    outcome: Option<Outcome>,
}

impl Upload {
    /// The upload that answers a request with these options, of `bytes_said` octets where the client said so, and at most `bytes_max`.
    pub fn new(now: Instant, asked: &Options, bytes_said: Option<u64>, bytes_max: u64) -> Self {
        let accepted = Options {
            block_size: asked.block_size.map(|asked| asked.min(UPLOAD_BLOCK_SIZE_MAX)),
            window_blocks: None,
            ..*asked
        };
        let answer = if accepted == Options::NONE {
            packet::write_ack(0)
        } else {
            packet::write_option_ack(&accepted, bytes_said.unwrap_or(0))
        };
        Self {
            block_size: accepted.block_size.unwrap_or(BLOCK_SIZE_DEFAULT),
            bytes_max,
            bytes: 0,
            acknowledged: 0,
            taken: None,
            answer,
            due: true,
            answered_at: now,
            progress_at: now,
            round_trip: RoundTrip::new(accepted.timeout_secs),
            repeated: 0,
            complete: false,
            outcome: bytes_said.filter(|bytes| *bytes > bytes_max).map(|_| Outcome::Aborted("too large")),
        }
    }

    /// A datagram from the client has come.
    pub fn handle_datagram<'a>(&mut self, now: Instant, datagram: &'a [u8]) -> Taken<'a> {
        if self.outcome.is_some() {
            return Taken::Nothing;
        }
        let Some((block, octets)) = packet::read_data(datagram) else {
            if let Incoming::Error { code } = packet::read(datagram)
                && !self.complete
            {
                self.outcome = Some(Outcome::ClientError(code));
            }
            return Taken::Nothing;
        };
        if block == self.acknowledged as u16 && self.taken.is_none() && self.acknowledged > 0 {
            // The client has not had the ACK. It is the one that repeats, so the answer cannot multiply (RFC 1123 section 4.2.3.1).
            self.due = true;
            self.repeated += 1;
            return Taken::Nothing;
        }
        let is_next = block == (self.acknowledged + 1) as u16 && self.taken.is_none() && !self.complete;
        if !is_next || octets.len() > usize::from(self.block_size) {
            return Taken::Nothing;
        }
        if self.bytes + octets.len() as u64 > self.bytes_max {
            self.outcome = Some(Outcome::Aborted("too large"));
            return Taken::Nothing;
        }
        let last = octets.len() < usize::from(self.block_size);
        self.round_trip.end_back_off();
        self.progress_at = now;
        self.bytes += octets.len() as u64;
        self.taken = Some(last);
        Taken::Octets { octets, last }
    }

    /// What was taken is kept; the last block: the file is durable.
    pub fn kept(&mut self, now: Instant) {
        let Some(last) = self.taken.take() else { return };
        self.acknowledged += 1;
        self.answer = packet::write_ack(self.acknowledged as u16);
        self.due = true;
        self.complete = last;
        self.progress_at = now;
    }

    /// What to send now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&[u8]> {
        if self.outcome.is_some() || !std::mem::take(&mut self.due) {
            return None;
        }
        self.answered_at = now;
        Some(&self.answer)
    }

    /// When [`Self::handle_timeout`] is due; none at the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.outcome {
            Some(_) => None,
            None if self.complete => Some(self.progress_at + LINGER),
            None => Some(self.answered_at + self.round_trip.timeout()),
        }
    }

    /// Time has passed. Repeats the answer, or ends; early calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        if self.complete {
            self.outcome = Some(Outcome::Complete);
        } else if now.saturating_duration_since(self.progress_at) >= STALL_MAX {
            self.outcome = Some(Outcome::TimedOut);
        } else {
            self.round_trip.back_off();
            self.repeated += 1;
            self.due = true;
        }
    }

    /// The shell cannot go on (the disk is full, the server stops).
    pub fn abort(&mut self, reason: &'static str) {
        self.outcome.get_or_insert(Outcome::Aborted(reason));
    }

    /// How it ended; none while it goes on.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether the file is whole and kept; what follows are repetitions.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Octets taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Answers sent again.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(block: u16, octets: &[u8]) -> Vec<u8> {
        [&[0, 3], &block.to_be_bytes()[..], octets].concat()
    }

    fn upload(options: Options, bytes_max: u64) -> (Upload, Instant) {
        let now = Instant::now();
        (Upload::new(now, &options, None, bytes_max), now)
    }

    #[test]
    fn a_block_is_acknowledged_once_it_is_kept_and_the_last_lingers() {
        let (mut upload, now) = upload(Options { block_size: Some(8), window_blocks: Some(9), ..Options::NONE }, 100);
        assert_eq!(upload.poll_transmit(now).map(<[u8]>::to_vec), Some(b"\0\x06blksize\08\0".to_vec()), "no windows");
        assert_eq!(upload.poll_transmit(now), None);
        let first = data(1, b"01234567");
        assert_eq!(upload.handle_datagram(now, &first), Taken::Octets { octets: b"01234567", last: false });
        assert_eq!(upload.handle_datagram(now, &first), Taken::Nothing, "not kept yet: no answer");
        assert_eq!(upload.poll_transmit(now), None);
        upload.kept(now);
        assert_eq!(upload.poll_transmit(now), Some(&[0, 4, 0, 1][..]));
        assert_eq!(upload.handle_datagram(now, &first), Taken::Nothing);
        assert_eq!(upload.poll_transmit(now), Some(&[0, 4, 0, 1][..]), "the ACK was lost");
        assert_eq!(upload.handle_datagram(now, &data(3, b"x")), Taken::Nothing, "from the future");
        assert_eq!(upload.handle_datagram(now, &data(2, b"012345678")), Taken::Nothing, "longer than a block");
        assert_eq!(upload.handle_datagram(now, &data(2, b"")), Taken::Octets { octets: b"", last: true });
        upload.kept(now);
        assert_eq!(upload.poll_transmit(now), Some(&[0, 4, 0, 2][..]));
        assert_eq!(upload.bytes(), 8);
        assert_eq!(upload.handle_datagram(now, &data(2, b"")), Taken::Nothing);
        assert_eq!(upload.poll_transmit(now), Some(&[0, 4, 0, 2][..]), "the last ACK was lost");
        upload.handle_timeout(now + LINGER);
        assert_eq!(upload.outcome(), Some(&Outcome::Complete));
    }

    #[test]
    fn a_client_that_goes_silent_or_sends_too_much_is_given_up() {
        let (mut silent, start) = upload(Options::NONE, 100);
        let (mut now, mut sent) = (start, 0);
        while silent.outcome().is_none() {
            sent += usize::from(silent.poll_transmit(now).is_some());
            now = silent.poll_timeout().expect("a timer runs");
            silent.handle_timeout(now);
        }
        assert_eq!(silent.outcome(), Some(&Outcome::TimedOut));
        assert!(now - start <= STALL_MAX * 3 / 2 && (2..12).contains(&sent), "{sent} in {:?}", now - start);

        let (mut large, now) = upload(Options::NONE, 600);
        for block in [1, 2] {
            large.handle_datagram(now, &data(block, &[0; 512]));
            large.kept(now);
        }
        assert_eq!((large.outcome(), large.bytes()), (Some(&Outcome::Aborted("too large")), 512));
        let said = Upload::new(now, &Options::NONE, Some(601), 600);
        assert_eq!(said.outcome(), Some(&Outcome::Aborted("too large")));
        let (mut broken_off, now) = upload(Options::NONE, 600);
        broken_off.handle_datagram(now, b"\0\x05\0\x03full\0");
        assert_eq!(broken_off.outcome(), Some(&Outcome::ClientError(3)));
    }
}

//! [`Transfer`]: one download as a state machine, from the first answer to the last ACK.
//!
//! It holds no payload: [`Transfer::poll_transmit`] says which octets of the file make up which blocks, and the shell puts them into
//! datagrams (in one system call, if it can). Invariants: at most one window is outstanding; an ACK that acknowledges nothing new
//! never by itself makes a block go out twice (RFC 1123 section 4.2.3.1, the Sorcerer's Apprentice); every transfer ends, at the
//! latest one timeout after [`STALL_MAX`] without progress.
//!
//! A gap in a window shows as an ACK inside it, or as an ACK of the block before it (RFC 7440 section 4). A link or a client that
//! doubles datagrams makes the same ACKs. What tells them apart is what follows: after a gap nothing, otherwise the ACK of the whole
//! window. So such an ACK starts a wait of a fraction of the round trip, and only then does the window begin again.

use std::time::{Duration, Instant};

use super::DropReason;
use super::packet::{self, BLOCK_SIZE_DEFAULT, Incoming, Options, WINDOW_BLOCKS_MAX};
use super::round_trip::RoundTrip;

/// Without progress for so long, a transfer ends.
pub const STALL_MAX: Duration = Duration::from_secs(30);
/// Without any answer to the first message for so long, it ends: most often the request was not in earnest, or forged.
pub const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);
/// The last window is repeated for so long; a client that has all it wanted often loses interest before its last ACK arrives.
pub const LAST_ACK_MAX: Duration = Duration::from_secs(10);
/// Bounds of the wait for an ACK that shows a gap to be none: half a round trip, within these.
const GAP_WAIT_MIN: Duration = Duration::from_millis(1);
const GAP_WAIT_MAX: Duration = Duration::from_millis(50);
/// Octets of payload of one [`BlockRun`], one block aside: what one UDP segmentation-offload send can carry.
pub const RUN_BYTES_MAX: usize = 60_000;

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is acknowledged.
    Complete,
    /// The client asked for the size and went (UEFI and iPXE do this before each download).
    SizeOnly,
    /// All of it was sent, but the last ACK did not come.
    LastAckMissing,
    /// The client sent ERROR.
    ClientError(u16),
    /// Nothing was heard for [`STALL_MAX`], or for [`FIRST_ANSWER_MAX`] at the beginning.
    TimedOut,
    /// The shell stopped it, for this reason.
    Aborted(&'static str),
}

/// What to send next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// This datagram.
    Datagram(Vec<u8>),
    /// These blocks, one datagram each.
    Blocks(BlockRun),
}

/// Consecutive blocks: all of `block_size` octets but perhaps the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRun {
    /// Number of the first block as it goes over the wire; the others follow, 0 after 65,535.
    pub first_block: u16,
    /// How many datagrams.
    pub blocks: u16,
    /// Payload octets of each block but perhaps the last.
    pub block_size: u16,
    /// Where the first block's payload begins.
    pub offset: u64,
    /// Payload octets of all of them; less than `blocks * block_size` where the transfer's last block is among them.
    pub bytes: usize,
    /// Whether the transfer's last block is among them.
    pub last: bool,
}

impl BlockRun {
    /// The run without its first `blocks` blocks.
    pub fn skip(self, blocks: u16) -> Self {
        let skipped = usize::from(blocks) * usize::from(self.block_size);
        Self {
            first_block: self.first_block.wrapping_add(blocks),
            blocks: self.blocks - blocks,
            offset: self.offset + skipped as u64,
            bytes: self.bytes.saturating_sub(skipped),
            ..self
        }
    }
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It acknowledged something new, asked for a repetition or ended the transfer.
    Progress,
    /// It changed nothing.
    Dropped(DropReason),
}

/// One download.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// What was accepted: the OACK's contents.
    accepted: Options,
    block_size: u16,
    window_blocks: u16,
    bytes_total: u64,
    /// Number of the last block. Blocks count from 1; 0 stands for the OACK.
    last_block: u64,
    /// The lowest block that is not acknowledged.
    base: u64,
    /// The block to send next.
    next: u64,
    /// One past the highest block ever sent.
    highest: u64,
    /// An ACK has shown what may be a gap: unless one follows that shows there is none, the window begins again then.
    gap_due: Option<Instant>,
    /// The one early repetition that an ACK of the block before `base` may cause has been used up.
    repeated_early: bool,
    /// The window that is out was sent for the first time: its ACK is a sample of the round trip.
    measurable: bool,
    /// When the window's last block went out.
    sent_at: Option<Instant>,
    /// When something new was last acknowledged, or the transfer began.
    progress_at: Instant,
    blocks_repeated: u64,
    round_trip: RoundTrip,
    outcome: Option<Outcome>,
}

impl Transfer {
    /// The transfer that answers a request with these options for `bytes_total` octets (as they go over the wire).
    pub fn new(now: Instant, asked: &Options, bytes_total: u64) -> Self {
        let accepted = Options { window_blocks: asked.window_blocks.map(|n| n.min(WINDOW_BLOCKS_MAX)), ..*asked };
        let block_size = accepted.block_size.unwrap_or(BLOCK_SIZE_DEFAULT);
        let first = if accepted == Options::NONE { 1 } else { 0 };
        Self {
            accepted,
            block_size,
            window_blocks: accepted.window_blocks.unwrap_or(1),
            bytes_total,
            // A last block that is full would not end the transfer: an empty one follows it (RFC 1350 section 6).
            last_block: bytes_total / u64::from(block_size) + 1,
            base: first,
            next: first,
            highest: first,
            gap_due: None,
            repeated_early: false,
            measurable: true,
            sent_at: None,
            progress_at: now,
            blocks_repeated: 0,
            round_trip: RoundTrip::new(accepted.timeout_secs),
            outcome: None,
        }
    }

    /// A datagram from the client has come.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Handled {
        if self.outcome.is_some() {
            return Handled::Dropped(DropReason::UnknownPeer);
        }
        match packet::read(datagram) {
            Incoming::Acknowledge(block) => self.handle_ack(now, block),
            Incoming::Error { code } => {
                let only_asked = self.accepted.transfer_size && self.base <= 1;
                self.outcome = Some(if only_asked { Outcome::SizeOnly } else { Outcome::ClientError(code) });
                Handled::Progress
            }
            Incoming::Dropped(reason) => Handled::Dropped(reason),
            Incoming::Read(_) | Incoming::UnknownMode | Incoming::Write(_) => Handled::Dropped(DropReason::Unexpected),
        }
    }

    fn handle_ack(&mut self, now: Instant, block: u16) -> Handled {
        // The number is 16 bits wide and rolls over; the window, far narrower, tells which block is meant. Position 0 is the block
        // before the window.
        let position = u64::from(block.wrapping_sub(self.base.wrapping_sub(1) as u16));
        if position > self.highest - self.base {
            return Handled::Dropped(DropReason::StaleAck);
        }
        if position == 0 {
            return self.handle_repeated_ack(now);
        }
        let acknowledged = self.base + position - 1;
        let all = acknowledged + 1 == self.highest;
        match self.sent_at {
            Some(sent_at) if self.measurable => self.round_trip.sample(now.saturating_duration_since(sent_at)),
            _ => self.round_trip.end_back_off(),
        }
        // A second ACK of the same window would measure how the client counts, not the way.
        self.measurable = false;
        self.base = acknowledged + 1;
        self.next = self.base;
        self.progress_at = now;
        self.repeated_early = false;
        self.sent_at = None;
        self.gap_due = if all { None } else { Some(now + self.gap_wait()) };
        if acknowledged == self.last_block {
            self.outcome = Some(Outcome::Complete);
        }
        Handled::Progress
    }

    /// An ACK of the block before the window: either the window's beginning was lost, or the ACK was doubled on its way.
    fn handle_repeated_ack(&mut self, now: Instant) -> Handled {
        // What the client says of this window takes a round trip; what comes sooner it said of the one before.
        let about_this_window =
            self.sent_at.is_some_and(|at| now.saturating_duration_since(at) >= self.round_trip.expected() * 3 / 4);
        if self.base == 0 || self.window_blocks == 1 || self.repeated_early || !about_this_window {
            return Handled::Dropped(DropReason::StaleAck);
        }
        self.repeated_early = true;
        self.gap_due = Some(now + self.gap_wait());
        Handled::Progress
    }

    fn gap_wait(&self) -> Duration {
        (self.round_trip.expected() / 2).clamp(GAP_WAIT_MIN, GAP_WAIT_MAX)
    }

    /// What to send now; call until it returns none. The timer starts with the window's last block.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.outcome.is_some() || self.gap_due.is_some() || self.next >= self.window_end() {
            return None;
        }
        if self.next == 0 {
            self.sent(now, 1);
            return Some(Transmit::Datagram(packet::write_option_ack(&self.accepted, self.bytes_total)));
        }
        let run_max = (RUN_BYTES_MAX / usize::from(self.block_size)).max(1) as u64;
        let blocks = (self.window_end() - self.next).min(run_max);
        let offset = (self.next - 1) * u64::from(self.block_size);
        let bytes = (blocks * u64::from(self.block_size)).min(self.bytes_total - offset);
        let run = BlockRun {
            first_block: self.next as u16,
            blocks: blocks as u16,
            block_size: self.block_size,
            offset,
            bytes: bytes as usize,
            last: self.next + blocks > self.last_block,
        };
        self.sent(now, blocks);
        Some(Transmit::Blocks(run))
    }

    /// One past the last block that may be out now.
    fn window_end(&self) -> u64 {
        match self.base {
            0 => 1,
            base => (base + u64::from(self.window_blocks)).min(self.last_block + 1),
        }
    }

    fn sent(&mut self, now: Instant, blocks: u64) {
        let again = self.highest.saturating_sub(self.next).min(blocks);
        self.blocks_repeated += again;
        if self.next == self.base {
            self.measurable = again == 0;
        }
        self.next += blocks;
        self.highest = self.highest.max(self.next);
        if self.next >= self.window_end() {
            self.sent_at = Some(now);
        }
    }

    /// When [`Self::handle_timeout`] is due; none while there is something to transmit, and at the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.outcome {
            Some(_) => None,
            None => self.gap_due.or_else(|| self.sent_at.map(|at| at + self.round_trip.timeout())),
        }
    }

    /// Time has passed. Repeats the window, or gives up; early calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        if self.gap_due.take().is_some() {
            self.next = self.base;
            self.sent_at = None;
            return;
        }
        let in_last_window = self.base > 0 && self.window_end() > self.last_block;
        let (patience, outcome) = match (self.is_unanswered(), in_last_window) {
            (true, _) => (FIRST_ANSWER_MAX, Outcome::TimedOut),
            (false, true) => (LAST_ACK_MAX, Outcome::LastAckMissing),
            (false, false) => (STALL_MAX, Outcome::TimedOut),
        };
        if now.saturating_duration_since(self.progress_at) >= patience {
            self.outcome = Some(outcome);
        } else {
            self.round_trip.back_off();
            self.next = self.base;
            self.repeated_early = false;
            self.sent_at = None;
        }
    }

    /// The shell cannot go on (the file has changed or cannot be read, the server stops).
    pub fn abort(&mut self, reason: &'static str) {
        self.outcome.get_or_insert(Outcome::Aborted(reason));
    }

    /// How it ended; none while it goes on.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether the client has not answered anything yet, so that the same request again is only a repetition.
    pub fn is_unanswered(&self) -> bool {
        self.outcome.is_none() && self.base == if self.accepted == Options::NONE { 1 } else { 0 }
    }

    /// Octets acknowledged.
    pub fn bytes_acknowledged(&self) -> u64 {
        (self.base.saturating_sub(1) * u64::from(self.block_size)).min(self.bytes_total)
    }

    /// Blocks sent again.
    pub fn blocks_repeated(&self) -> u64 {
        self.blocks_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options =
        Options { block_size: Some(1_000), window_blocks: Some(4), timeout_secs: None, transfer_size: true };

    /// A conversation, step by step: what comes in, and which blocks (`first..=last`; 0 is the OACK) go out.
    enum Step {
        Ack(u16, &'static [(u16, u16)]),
        Stale(u16),
        Wait(u64, &'static [(u16, u16)]),
        Error(u16),
        Ends(Outcome),
    }
    use Step::*;

    fn out(transfer: &mut Transfer, now: Instant) -> Vec<(u16, u16)> {
        std::iter::from_fn(|| transfer.poll_transmit(now))
            .map(|transmit| match transmit {
                Transmit::Datagram(_) => (0, 0),
                Transmit::Blocks(run) => (run.first_block, run.first_block.wrapping_add(run.blocks - 1)),
            })
            .collect()
    }

    fn converse(name: &str, options: Options, bytes: u64, opening: &[(u16, u16)], steps: &[Step]) {
        let mut now = Instant::now();
        let mut transfer = Transfer::new(now, &options, bytes);
        assert_eq!(out(&mut transfer, now), opening, "{name}: opening");
        for (i, step) in steps.iter().enumerate() {
            now += Duration::from_millis(10);
            let ack = |block: u16| [&[0, 4], block.to_be_bytes().as_slice()].concat();
            match step {
                Ack(block, expected) => {
                    assert_eq!(transfer.handle_datagram(now, &ack(*block)), Handled::Progress, "{name}: step {i}");
                    assert_eq!(out(&mut transfer, now), *expected, "{name}: step {i}");
                }
                Stale(block) => {
                    let handled = transfer.handle_datagram(now, &ack(*block));
                    assert_eq!(handled, Handled::Dropped(DropReason::StaleAck), "{name}: step {i}");
                    assert_eq!(out(&mut transfer, now), [], "{name}: step {i}");
                }
                Wait(millis, expected) => {
                    now += Duration::from_millis(*millis);
                    transfer.handle_timeout(now);
                    assert_eq!(out(&mut transfer, now), *expected, "{name}: step {i}");
                }
                Error(code) => {
                    let datagram = [&[0, 5], code.to_be_bytes().as_slice(), b"x\0"].concat();
                    assert_eq!(transfer.handle_datagram(now, &datagram), Handled::Progress, "{name}: step {i}");
                }
                Ends(outcome) => assert_eq!(transfer.outcome(), Some(outcome), "{name}: step {i}"),
            }
        }
    }

    #[test]
    fn conversations() {
        let none = Options::NONE;
        let size = Options { transfer_size: true, ..none };
        converse("without options", none, 1_000, &[(1, 1)], &[Ack(1, &[(2, 2)]), Ack(2, &[]), Ends(Outcome::Complete)]);
        converse("a full last block", none, 512, &[(1, 1)], &[Ack(1, &[(2, 2)]), Ack(2, &[]), Ends(Outcome::Complete)]);
        converse("an empty file", none, 0, &[(1, 1)], &[Ack(1, &[]), Ends(Outcome::Complete)]);
        converse(
            "doubled ACKs",
            none,
            5_000,
            &[(1, 1)],
            &[Ack(1, &[(2, 2)]), Stale(1), Stale(1), Ack(2, &[(3, 3)]), Stale(1)],
        );
        converse(
            "an ACK of what was not sent",
            none,
            5_000,
            &[(1, 1)],
            &[Stale(2), Stale(9), Stale(60_000), Ack(1, &[(2, 2)])],
        );
        converse("a lost block", none, 5_000, &[(1, 1)], &[Wait(900, &[]), Wait(100, &[(1, 1)]), Ack(1, &[(2, 2)])]);
        converse("the size only", size, 5_000, &[(0, 0)], &[Error(8), Ends(Outcome::SizeOnly)]);
        converse(
            "the size, then the first block",
            size,
            5_000,
            &[(0, 0)],
            &[Ack(0, &[(1, 1)]), Error(0), Ends(Outcome::SizeOnly)],
        );
        converse(
            "an ERROR in the middle",
            none,
            5_000,
            &[(1, 1)],
            &[Ack(1, &[(2, 2)]), Error(3), Ends(Outcome::ClientError(3))],
        );
        converse(
            "windows",
            OPTIONS,
            9_500,
            &[(0, 0)],
            &[
                Stale(65_535),
                Ack(0, &[(1, 4)]),
                Ack(4, &[(5, 8)]),
                Stale(4),
                Stale(3),
                Ack(8, &[(9, 10)]),
                Ack(10, &[]),
                Ends(Outcome::Complete),
            ],
        );
        converse(
            "a gap in a window",
            OPTIONS,
            9_500,
            &[(0, 0)],
            &[Ack(0, &[(1, 4)]), Ack(2, &[]), Wait(0, &[(3, 6)]), Stale(1), Ack(6, &[(7, 10)])],
        );
        converse(
            "a window's first block lost",
            OPTIONS,
            9_500,
            &[(0, 0)],
            &[
                // The round trip is 10 ms, as the first ACK has shown.
                Ack(0, &[(1, 4)]),
                Ack(4, &[(5, 8)]),
                Ack(4, &[]),
                Wait(0, &[(5, 8)]),
                Stale(4),
                Stale(4),
                Wait(1_000, &[(5, 8)]),
                Ack(8, &[(9, 10)]),
            ],
        );
        converse(
            "no answer at all",
            none,
            5_000,
            &[(1, 1)],
            &[
                Wait(1_000, &[(1, 1)]),
                Wait(2_000, &[(1, 1)]),
                Wait(4_000, &[(1, 1)]),
                Wait(8_000, &[]),
                Ends(Outcome::TimedOut),
            ],
        );
        converse("the last ACK lost", none, 100, &[(1, 1)], &[Wait(20_000, &[]), Ends(Outcome::TimedOut)]);
        converse(
            "the last ACK lost, after others",
            none,
            600,
            &[(1, 1)],
            &[
                Ack(1, &[(2, 2)]),
                Wait(4_000, &[(2, 2)]),
                Wait(4_000, &[(2, 2)]),
                Wait(4_000, &[]),
                Ends(Outcome::LastAckMissing),
            ],
        );
    }

    #[test]
    fn ends_when_a_client_stalls() {
        let start = Instant::now();
        let mut transfer = Transfer::new(start, &Options::NONE, 1 << 30);
        out(&mut transfer, start);
        transfer.handle_datagram(start, &[0, 4, 0, 1]);
        let mut sends = 0;
        let mut now = start;
        while transfer.outcome().is_none() {
            sends += out(&mut transfer, now).len();
            now = transfer.poll_timeout().expect("a timer runs while the client is waited for");
            transfer.handle_timeout(now);
        }
        assert_eq!(transfer.outcome(), Some(&Outcome::TimedOut));
        assert!(now - start <= STALL_MAX * 3 / 2, "{:?}", now - start);
        assert!(sends <= 12, "{sends} datagrams to a peer that is silent");
    }

    #[test]
    fn rolls_over_past_65535_blocks() {
        let mut now = Instant::now();
        let bytes = 512 * 200_000 + 7;
        let mut transfer = Transfer::new(now, &Options::NONE, bytes);
        let (mut received, mut block) = (0u64, 0u16);
        while transfer.outcome().is_none() {
            let Some(Transmit::Blocks(run)) = transfer.poll_transmit(now) else { panic!("stuck at {received}") };
            block = block.wrapping_add(1);
            assert_eq!((run.first_block, run.offset), (block, received));
            received += run.bytes as u64;
            now += Duration::from_micros(100);
            transfer.handle_datagram(now, &[&[0, 4], block.to_be_bytes().as_slice()].concat());
        }
        assert_eq!((transfer.outcome(), received), (Some(&Outcome::Complete), bytes));
    }

    #[test]
    fn large_windows_come_in_runs() {
        let now = Instant::now();
        let options = Options { block_size: Some(1_468), window_blocks: Some(65_535), ..Options::NONE };
        let mut transfer = Transfer::new(now, &options, 1 << 20);
        out(&mut transfer, now);
        transfer.handle_datagram(now, &[0, 4, 0, 0]);
        assert_eq!(out(&mut transfer, now), [(1, 40), (41, 64)]);
        let run = BlockRun { first_block: 65_535, blocks: 3, block_size: 10, offset: 5, bytes: 25, last: true };
        assert_eq!(
            run.skip(2),
            BlockRun { first_block: 1, blocks: 1, block_size: 10, offset: 25, bytes: 5, last: true }
        );
    }
}

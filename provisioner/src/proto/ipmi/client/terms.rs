//! What goes into a [`super::Client`] beside credentials and datagrams, and what comes out of it.

use std::time::Duration;

use crate::proto::ipmi::pace::Pace;
use crate::proto::ipmi::reason::{DropReason, Failure, Guid};
use crate::proto::ipmi::suite::CipherSuite;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Wait after the first, second and third time that a step is sent; its sum is what a dead BMC costs. A BMC that is known to
    /// be slow is waited for longer ([`Pace`]).
    pub waits: [Duration; 3],
    /// A command ends within this time, session included, whatever happens.
    pub command_max: Duration,
    /// What becomes of a session that is not used.
    pub idle: Idle,
    /// A session not heard from for longer is tried with a harmless command before one that must not be sent twice.
    pub fresh_max: Duration,
}

/// What becomes of a session that is not used. Both times are to stay below the 60 s after which the BMC drops it (6.12.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Its slot, of which a BMC has few, is given back after this time.
    CloseAfter(Duration),
    /// It is kept: after this time without use something harmless is asked.
    KeepAliveEvery(Duration),
}

impl Idle {
    pub(super) fn time(self) -> Duration {
        match self {
            Self::CloseAfter(time) | Self::KeepAliveEvery(time) => time,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            waits: [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)],
            command_max: Duration::from_secs(30),
            idle: Idle::CloseAfter(Duration::from_secs(45)),
            fresh_max: Duration::from_secs(3),
        }
    }
}

/// What is known of a BMC beyond one session. Worth keeping when its [`super::Client`] is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The best suite it offers that may be spoken; only where it had to be asked. Found out again after a refusal.
    pub suite: Option<CipherSuite>,
    /// Its GUID, proved by a session.
    pub guid: Option<Guid>,
    /// It has been found to speak IPMI 2.0.
    pub speaks: bool,
    /// How long it takes to answer.
    pub pace: Pace,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// It was what was awaited, and moved the conversation on.
    Accepted,
    /// It changed nothing.
    Dropped(DropReason),
}

/// What happened, for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session was opened.
    Opened,
    /// The command was carried out; this is what followed the completion code.
    Done(Vec<u8>),
    /// The command failed.
    Failed(Failure),
    /// An authentic payload of the serial line; only of a client that takes them.
    Sol(Vec<u8>),
}

/// What [`super::Client::poll_transmit`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The same step was sent before.
    pub again: bool,
}

//! [`Console`]: a machine's serial line over a session of its own, as a value.
//!
//! It is a [`Client`] that attaches the line (Activate Payload), keeps its session alive, and gives the line and the session back; what
//! goes over the line is [`Line`]'s. It holds no socket, reads no clock and draws no random octets.
//!
//! ```text
//! Attaching ──► (Taking over) ──► Attached ──► Letting go ──► Ended
//!     └── refused, no answer ─────────┴── let go by the BMC, session lost ──┘
//! ```

use std::time::{Duration, Instant};

use super::client::{Action, Client, Event, Idle, RANDOM_BYTES, Timing};
use super::command::{ActivateSol, Command, DeactivateSol};
use super::completion::CompletionCode;
use super::credentials::Credentials;
use super::reason::{Cause, DropReason, Failure, Step};
use super::sol::Line;
use super::suite::CipherSuite;

/// How often a session is kept alive that only listens (a BMC drops it after 60 s, 6.12.15).
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The line is another session's already, or nobody's (24.1, 24.2).
const HELD: CompletionCode = CompletionCode(0x80);

/// Why a console came to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleEnd {
    /// As it was asked to.
    #[error("the console was closed")]
    Closed,
    /// The line was not to be had.
    #[error("another session holds the console: end that one, or take it over")]
    Held,
    /// The session or the line could not be opened.
    #[error("{0}")]
    Failed(Failure),
    /// Somebody has taken the line over, or the BMC ends it.
    #[error("the BMC let the console go: somebody has taken it over, or the BMC restarts")]
    LetGo,
    /// Nothing is heard of the BMC any more.
    #[error("the BMC does not answer any more")]
    Silent,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleEvent {
    /// The line is attached.
    Attached,
    /// What the machine said.
    Output(Vec<u8>),
    /// The BMC lost something that the machine said.
    Overrun,
    /// It is over; nothing comes after it.
    Ended(ConsoleEnd),
}

#[derive(Debug)]
enum Stage {
    TakingOver,
    Attaching,
    Attached(Line),
    LettingGo,
    Ended,
}

/// A machine's serial line. See the module's head.
#[derive(Debug)]
pub struct Console {
    client: Client,
    stage: Stage,
    end: Option<ConsoleEnd>,
    events: std::collections::VecDeque<ConsoleEvent>,
    payload: Vec<u8>,
}

impl Console {
    /// Begins to attach to the line. `take_over`: whoever holds it loses it.
    pub fn new(now: Instant, credentials: Credentials, timing: Timing, take_over: bool) -> Self {
        let timing = Timing { idle: Idle::KeepAliveEvery(KEEP_ALIVE), ..timing };
        let mut client = Client::new(credentials, timing);
        client.take_sol();
        let mut own =
            Self { client, stage: Stage::Attaching, end: None, events: Default::default(), payload: Vec::new() };
        if take_over {
            own.stage = Stage::TakingOver;
            own.client.start(now, DeactivateSol.request());
        } else {
            own.attach(now);
        }
        own
    }

    fn attach(&mut self, now: Instant) {
        self.stage = Stage::Attaching;
        let protected = self.client.credentials().suites.fixed() != Some(CipherSuite::Zero);
        self.client.start(now, ActivateSol { protected }.request());
    }

    /// Queues characters for the machine; how many were taken. None before the line is attached.
    pub fn write(&mut self, characters: &[u8]) -> usize {
        match &mut self.stage {
            Stage::Attached(line) => line.write(characters),
            _ => 0,
        }
    }

    /// Holds a break on the line.
    pub fn send_break(&mut self) {
        if let Stage::Attached(line) = &mut self.stage {
            line.send_break();
        }
    }

    /// Lets the line go and gives the session back. Goes on until [`ConsoleEvent::Ended`].
    pub fn close(&mut self, now: Instant) {
        self.let_go(now, ConsoleEnd::Closed);
    }

    fn let_go(&mut self, now: Instant, end: ConsoleEnd) {
        if matches!(self.stage, Stage::LettingGo | Stage::Ended) {
            return;
        }
        let deactivates = matches!(self.stage, Stage::Attached(_)) && end != ConsoleEnd::LetGo;
        self.end = Some(end);
        self.stage = Stage::LettingGo;
        // A command at hand that attaches is waited for: its line would stay ours.
        if self.client.is_busy() {
            return;
        }
        if deactivates {
            self.client.start(now, DeactivateSol.request());
        } else {
            self.client.close(now);
        }
    }

    /// A datagram from the BMC's address.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Action {
        let action = self.client.handle_datagram(now, datagram);
        let outcome = self.follow(now);
        match outcome {
            Ok(()) => action,
            Err(reason) => Action::Dropped(reason),
        }
    }

    /// Time has passed; call it at [`Console::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(&self.stage, Stage::Attached(line) if line.is_dead(now)) {
            self.let_go(now, ConsoleEnd::Silent);
        }
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        // The client's own events only: nothing to drop.
        let _ = self.follow(now);
    }

    /// When [`Console::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let line = match &self.stage {
            Stage::Attached(line) => line.poll_timeout(),
            _ => None,
        };
        [self.client.poll_timeout(), line].into_iter().flatten().min()
    }

    /// Writes the next datagram to send into `out` (cleared first); false if there is none. `random` must be fresh every time.
    pub fn poll_transmit(&mut self, now: Instant, random: &[u8; RANDOM_BYTES], out: &mut Vec<u8>) -> bool {
        if self.client.poll_transmit(now, random, out).is_some() {
            return true;
        }
        let Stage::Attached(line) = &mut self.stage else { return false };
        line.poll_payload(now, &mut self.payload) && self.client.seal_sol(random, &self.payload, out)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ConsoleEvent> {
        self.events.pop_front()
    }

    /// What follows from the client's events.
    fn follow(&mut self, now: Instant) -> Result<(), DropReason> {
        let mut outcome = Ok(());
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Opened => {}
                Event::Done(data) => self.on_done(now, &data),
                Event::Failed(failure) => self.on_failed(now, failure),
                Event::Sol(payload) => outcome = self.on_sol(now, &payload),
            }
        }
        let has_ended = match self.stage {
            Stage::Attached(_) if !self.client.has_session() => {
                self.end = Some(ConsoleEnd::Silent);
                true
            }
            Stage::LettingGo => self.client.is_closed() && !self.client.is_busy(),
            _ => false,
        };
        if has_ended {
            self.stage = Stage::Ended;
            self.events.push_back(ConsoleEvent::Ended(self.end.take().unwrap_or(ConsoleEnd::Closed)));
        }
        outcome
    }

    fn on_done(&mut self, now: Instant, data: &[u8]) {
        match self.stage {
            Stage::TakingOver => self.attach(now),
            Stage::Attaching => match ActivateSol::decode(data) {
                Ok(terms) => {
                    self.stage = Stage::Attached(Line::new(terms.inbound_bytes));
                    self.events.push_back(ConsoleEvent::Attached);
                }
                Err(_) => {
                    let step = Step::Command(ActivateSol::NAME);
                    let failure = Failure { step, cause: Cause::Nonsense, waited: Duration::ZERO };
                    self.let_go(now, ConsoleEnd::Failed(failure));
                }
            },
            _ => _ = self.client.close(now),
        }
    }

    fn on_failed(&mut self, now: Instant, failure: Failure) {
        let is_held = matches!(failure.cause, Cause::Completion { code: HELD, .. });
        match self.stage {
            // Nobody held it.
            Stage::TakingOver if is_held => self.attach(now),
            Stage::Attaching if is_held => self.let_go(now, ConsoleEnd::Held),
            Stage::TakingOver | Stage::Attaching => self.let_go(now, ConsoleEnd::Failed(failure)),
            _ => _ = self.client.close(now),
        }
    }

    fn on_sol(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Stage::Attached(line) = &mut self.stage else { return Err(DropReason::Unexpected) };
        let mut characters = Vec::new();
        let heard = line.handle_payload(now, payload, &mut characters)?;
        if !characters.is_empty() {
            self.events.push_back(ConsoleEvent::Output(characters));
        }
        if heard.overrun {
            self.events.push_back(ConsoleEvent::Overrun);
        }
        if heard.deactivating {
            self.let_go(now, ConsoleEnd::LetGo);
        }
        Ok(())
    }
}

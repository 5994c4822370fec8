//! One BMC's conversation as a machine: [`Client`].
//!
//! ```text
//! Closed ─start─► Probe ─► Suites ─► Open ─► RAKP 1 ─► RAKP 3 ─► session: Raise ─► Command ─► Idle ─start─► Command …
//!    ▲            (what is known already is left out)       │ no answer, session was old: once more from the start
//!    └────────── refused · no answer · closed when idle ◄───┘
//! ```
//!
//! One command at a time; queues are the shell's. A session is kept between commands, and given back or kept alive
//! ([`Idle`]) before the BMC would drop it (60 s, 6.12.15). A command that finds its session dead (the BMC was restarted)
//! opens another one, unless it is one that must not be carried out twice.

mod receive;
mod terms;

use std::collections::VecDeque;
use std::time::Instant;

use zeroize::Zeroize;

pub use terms::{Action, Event, Idle, Known, Timing, Transmit};

use super::command::{
    CloseSession, Command, GetChannelAuthenticationCapabilities, GetChannelCipherSuites, GetDeviceId, Request,
    SetSessionPrivilegeLevel,
};
use super::completion::CompletionCode;
use super::credentials::{Credentials, Privilege};
use super::handshake::{self, Exchange, SessionKeys};
use super::message;
use super::packet::{self, PayloadType};
use super::reason::{Cause, DropReason, Failure, Step};
use super::session::Session;
use super::suite::CipherSuite;

/// Octets of randomness that one transmission can need: a session id and R_M, or an initialisation vector.
pub const RANDOM_BYTES: usize = 20;

/// Sessions that one command may open: the first, and one more if the BMC lost track of it.
const HANDSHAKES_MAX: u8 = 2;

/// One BMC's conversation. See the module's head.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    timing: Timing,
    known: Known,
    phase: Phase,
    job: Option<Job>,
    flight: Option<Flight>,
    events: VecDeque<Event>,
    /// A last word to the BMC that nobody waits for an answer to.
    parting: Option<Vec<u8>>,
    tag: u8,
    rq_seq: u8,
    /// The BMC says that it has a K_g.
    kg_set: bool,
    /// Somebody wants what comes over the serial line.
    takes_sol: bool,
    last_drop: LastDrop,
    scratch: Vec<u8>,
}

/// Why the last datagram since the step at hand began was dropped. Nothing is decided by it, so it does not show.
struct LastDrop(Option<DropReason>);

impl std::fmt::Debug for LastDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastDrop")
    }
}

/// Where the conversation stands.
#[derive(Debug)]
enum Phase {
    Closed,
    Probe,
    /// The list of suites so far.
    Suites(Vec<u8>),
    /// Our session id and R_M are drawn when the request is first written.
    Open(Option<Hello>),
    Rakp1(Box<Exchange>),
    Rakp3(Box<Exchange>, SessionKeys),
    Session {
        session: Box<Session>,
        doing: Doing,
        heard: Instant,
    },
}

#[derive(Debug, Clone, Copy)]
struct Hello {
    console_id: u32,
    console_random: [u8; 16],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Raise,
    Check,
    Command,
    Idle,
    KeepAlive,
    Close,
}

/// The command at hand.
#[derive(Debug)]
struct Job {
    request: Request,
    deadline: Instant,
    handshakes: u8,
}

/// The step at hand: sent how often, and when again.
#[derive(Debug)]
struct Flight {
    since: Instant,
    next: Instant,
    tries: u8,
    due: bool,
    /// The BMC did answer, but only that it is busy.
    busy: Option<CompletionCode>,
}

impl Client {
    /// A conversation that has not begun.
    pub fn new(credentials: Credentials, timing: Timing) -> Self {
        Self {
            credentials,
            timing,
            known: Known::default(),
            phase: Phase::Closed,
            job: None,
            flight: None,
            events: VecDeque::new(),
            parting: None,
            tag: 0,
            rq_seq: 0,
            kg_set: false,
            takes_sol: false,
            last_drop: LastDrop(None),
            scratch: Vec::new(),
        }
    }

    /// The same with what an earlier conversation found out.
    pub fn with_known(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// From now on what comes over the serial line is an [`Event`], and not dropped.
    pub(super) fn take_sol(&mut self) {
        self.takes_sol = true;
    }

    /// Writes a datagram with a payload of the serial line into `out` (cleared first); false if there is no session, or if so much is
    /// unanswered that the BMC might take no more.
    pub(super) fn seal_sol(&mut self, random: &[u8; RANDOM_BYTES], payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Phase::Session { session, .. } = &mut self.phase else { return false };
        if !session.may_send() {
            return false;
        }
        let (iv, _) = random.split_first_chunk::<16>().expect("20 octets");
        session.seal_payload(PayloadType::Sol, iv, payload, out);
        true
    }

    /// Forgets what was found out: the BMC may be another one now.
    pub fn forget(&mut self) {
        self.known = Known::default();
    }

    /// What this conversation and those before it have found out.
    pub fn known(&self) -> Known {
        self.known
    }

    /// True while there is a session.
    pub fn has_session(&self) -> bool {
        matches!(self.phase, Phase::Session { .. })
    }

    /// Whom sessions are opened as.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// True while a command is at hand.
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// True if there is neither a session nor an attempt at one: nothing is lost by forgetting this value.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.parting.is_none() && self.events.is_empty()
    }

    /// Begins a command; false, and nothing happens, if one is at hand. Its end is an [`Event`].
    pub fn start(&mut self, now: Instant, request: Request) -> bool {
        if self.job.is_some() {
            return false;
        }
        let repeatable = request.repeatable;
        self.job = Some(Job { request, deadline: now + self.timing.command_max, handshakes: 0 });
        match &mut self.phase {
            Phase::Session { session, doing: doing @ Doing::Idle, heard } if session.may_send() => {
                let fresh = now.saturating_duration_since(*heard) <= self.timing.fresh_max;
                *doing = if repeatable || fresh { Doing::Command } else { Doing::Check };
                self.next_step(now);
            }
            // What is asked to keep the session also tells whether it lives.
            Phase::Session { doing: doing @ Doing::KeepAlive, .. } => *doing = Doing::Check,
            _ => self.open(now),
        }
        true
    }

    /// Gives the session back if there is one and it is not in use (being kept alive is no use); false if there was nothing to do. A
    /// command at hand goes on.
    pub fn close(&mut self, now: Instant) -> bool {
        let Phase::Session { doing: doing @ (Doing::Idle | Doing::KeepAlive), .. } = &mut self.phase else {
            return false;
        };
        *doing = Doing::Close;
        self.next_step(now);
        true
    }

    /// A datagram from the BMC's address.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Action {
        match self.receive(now, datagram) {
            Ok(()) => Action::Accepted,
            Err(reason) => {
                self.last_drop = LastDrop(Some(reason));
                Action::Dropped(reason)
            }
        }
    }

    /// Time has passed; call it at [`Client::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.job.as_ref().is_some_and(|job| now >= job.deadline) {
            return self.give_up(now);
        }
        if self.idle_until().is_some_and(|until| now >= until) {
            match self.timing.idle {
                Idle::CloseAfter(_) => _ = self.close(now),
                Idle::KeepAliveEvery(_) => {
                    self.now_do(Doing::KeepAlive);
                    self.next_step(now);
                }
            }
            return;
        }
        let tries_max = self.tries_max();
        match &mut self.flight {
            Some(flight) if flight.due || now < flight.next => {}
            Some(flight) if flight.tries < tries_max => {
                flight.due = true;
                // An answer to the busy BMC's first hearing must not be taken for one to the second.
                if flight.busy.take().is_some() {
                    self.rq_seq = (self.rq_seq + 1) & 0x3f;
                }
            }
            Some(_) => self.exhausted(now),
            None => {}
        }
    }

    /// When [`Client::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let flight = self.flight.as_ref().filter(|flight| !flight.due).map(|flight| flight.next);
        let deadline = self.job.as_ref().map(|job| job.deadline);
        let idle = self.idle_until();
        [flight, deadline, idle].into_iter().flatten().min()
    }

    /// True if [`Client::poll_transmit`] has something to send (and needs random octets for it).
    pub fn has_transmit(&self) -> bool {
        self.parting.is_some() || self.flight.as_ref().is_some_and(|flight| flight.due)
    }

    /// Writes the next datagram to send into `out` (cleared first). `random` must be fresh and unpredictable every time.
    pub fn poll_transmit(&mut self, now: Instant, random: &[u8; RANDOM_BYTES], out: &mut Vec<u8>) -> Option<Transmit> {
        out.clear();
        if let Some(parting) = self.parting.take() {
            out.extend_from_slice(&parting);
            return Some(Transmit { again: false });
        }
        if !self.flight.as_ref()?.due {
            return None;
        }
        self.encode(random, out);
        let flight = self.flight.as_mut()?;
        if flight.tries == 0 {
            flight.since = now;
        }
        let wait = self.timing.waits[usize::from(flight.tries).min(self.timing.waits.len() - 1)];
        let wait = self.known.pace.wait(wait);
        flight.tries += 1;
        flight.due = false;
        flight.next = now + wait;
        Some(Transmit { again: flight.tries > 1 })
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn encode(&mut self, random: &[u8; RANDOM_BYTES], out: &mut Vec<u8>) {
        let (id, rest) = random.split_first_chunk::<4>().expect("20 octets");
        let suite = self.suite().unwrap_or_default();
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Probe => {
                let request = GetChannelAuthenticationCapabilities(self.credentials.privilege).request();
                encode_request(&mut self.scratch, &request, self.rq_seq);
                packet::encode_sessionless(out, &self.scratch);
            }
            Phase::Suites(list) => {
                let index = list.len() / GetChannelCipherSuites::PART_BYTES;
                encode_request(&mut self.scratch, &GetChannelCipherSuites(index as u8).request(), self.rq_seq);
                packet::encode_sessionless(out, &self.scratch);
            }
            Phase::Open(hello) => {
                let console_random = std::array::from_fn(|i| rest[i]);
                // Zero would mean "no session".
                let Hello { console_id, .. } =
                    *hello.get_or_insert(Hello { console_id: u32::from_le_bytes(*id).max(1), console_random });
                let privilege = self.credentials.privilege;
                handshake::encode_open_session(&mut self.scratch, self.tag, privilege, console_id, suite);
                packet::encode_setup(out, PayloadType::OpenSessionRequest, &self.scratch);
            }
            Phase::Rakp1(exchange) => {
                exchange.encode_rakp1(&mut self.scratch, self.tag);
                packet::encode_setup(out, PayloadType::Rakp1, &self.scratch);
            }
            Phase::Rakp3(exchange, _) => {
                exchange.encode_rakp3(&mut self.scratch, self.tag, self.credentials.password.key());
                packet::encode_setup(out, PayloadType::Rakp3, &self.scratch);
            }
            Phase::Session { session, doing, .. } => {
                let own = match doing {
                    Doing::Raise => Some(SetSessionPrivilegeLevel(self.credentials.privilege).request()),
                    Doing::Check | Doing::KeepAlive => Some(GetDeviceId.request()),
                    Doing::Close => Some(CloseSession(session.bmc_id()).request()),
                    Doing::Command | Doing::Idle => None,
                };
                if let Some(request) = own.as_ref().or(self.job.as_ref().map(|job| &job.request)) {
                    encode_request(&mut self.scratch, request, self.rq_seq);
                    let (iv, _) = random.split_first_chunk::<16>().expect("20 octets");
                    session.seal(iv, &self.scratch, out);
                }
            }
        }
        // It may hold a password in the clear.
        self.scratch.zeroize();
    }

    /// Begins a session from the start.
    fn open(&mut self, now: Instant) {
        if let Some(job) = &mut self.job {
            job.handshakes += 1;
        }
        self.enter(now, if self.known.speaks { self.after_probe() } else { Phase::Probe });
    }

    fn after_probe(&self) -> Phase {
        if self.suite().is_some() { Phase::Open(None) } else { Phase::Suites(Vec::new()) }
    }

    /// The suite to ask for, unless the BMC has yet to say what it offers.
    fn suite(&self) -> Option<CipherSuite> {
        self.credentials.suites.fixed().or(self.known.suite)
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.next_step(now);
    }

    /// What the phase says is to be sent now, for the first time.
    fn next_step(&mut self, now: Instant) {
        self.tag = self.tag.wrapping_add(1);
        self.rq_seq = (self.rq_seq + 1) & 0x3f;
        self.last_drop = LastDrop(None);
        self.note_pace(now);
        self.flight = Some(Flight { since: now, next: now, tries: 0, due: true, busy: None });
    }

    fn step(&self) -> Step {
        match &self.phase {
            Phase::Closed | Phase::Probe => Step::Probe,
            Phase::Suites(_) => Step::CipherSuites,
            Phase::Open(_) => Step::OpenSession,
            Phase::Rakp1(_) => Step::Rakp1,
            Phase::Rakp3(..) => Step::Rakp3,
            Phase::Session { doing, .. } => match doing {
                Doing::Raise => Step::SetPrivilege,
                Doing::Check => Step::CheckSession,
                Doing::KeepAlive => Step::KeepAlive,
                Doing::Close => Step::CloseSession,
                Doing::Command | Doing::Idle => {
                    Step::Command(self.job.as_ref().map_or("no command", |job| job.request.name))
                }
            },
        }
    }

    /// True if silence may only mean that the BMC is elsewhere in the conversation than we: it has forgotten an old
    /// session, or has taken our RAKP 3, its RAKP 4 was lost and it answers no second one (`ipmi_sim` is such a BMC).
    fn may_reopen(&self) -> bool {
        let Some(job) = &self.job else { return false };
        match &self.phase {
            Phase::Rakp3(..) => job.handshakes < HANDSHAKES_MAX,
            Phase::Session { doing, .. } => job.handshakes == 0 && (job.request.repeatable || *doing != Doing::Command),
            _ => false,
        }
    }

    /// Goes on with this suite.
    fn take_suite(&mut self, now: Instant, suite: CipherSuite) {
        self.known.suite = Some(suite);
        self.enter(now, Phase::Open(None));
    }

    /// What follows RAKP 4: a session begins with the privilege of a user, and is raised where more is wanted.
    fn first_doing(&self) -> Doing {
        if self.credentials.privilege == Privilege::User { Doing::Command } else { Doing::Raise }
    }

    fn tries_max(&self) -> u8 {
        match &self.phase {
            Phase::Session { doing: Doing::Close, .. } => 1,
            Phase::Suites(_) => 2,
            _ if self.may_reopen() => 2,
            _ => self.timing.waits.len() as u8,
        }
    }

    fn idle_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Session { doing: Doing::Idle, heard, .. } => Some(*heard + self.timing.idle.time()),
            _ => None,
        }
    }

    /// The step at hand was sent as often as it may be.
    fn exhausted(&mut self, now: Instant) {
        let busy = self.flight.as_ref().is_some_and(|flight| flight.busy.is_some());
        if !busy && self.may_reopen() {
            self.open(now);
        } else if matches!(self.phase, Phase::Suites(_)) {
            // It may not know the question; suite 3 is what it must speak.
            self.take_suite(now, CipherSuite::Three);
        } else {
            self.give_up(now);
        }
    }

    fn give_up(&mut self, now: Instant) {
        let Some(flight) = &self.flight else { return };
        let (tries, busy) = (flight.tries, flight.busy);
        match busy {
            Some(code) => self.fail_with_code(now, code),
            None => self.fail(now, Cause::NoAnswer { tries, dropped: self.last_drop.0 }),
        }
    }

    /// Ends the command, if there is one, and the session.
    fn fail(&mut self, now: Instant, cause: Cause) {
        // Whatever it was, it may be another BMC, or another firmware, next time. The GUID alone stays.
        if !self.has_session() {
            (self.known.speaks, self.known.suite) = (false, None);
        }
        self.report(now, cause);
        self.phase = Phase::Closed;
        self.flight = None;
    }

    fn fail_with_code(&mut self, now: Instant, code: CompletionCode) {
        self.fail_with_code_of(now, code, self.asked());
    }

    fn fail_with_code_of(&mut self, now: Instant, code: CompletionCode, (netfn, command): (u8, u8)) {
        let meaning = code.describe(netfn, command);
        let level = self.credentials.privilege;
        let cause = match code.is_privilege(netfn, command) {
            true => Cause::PrivilegeTooLow { code, meaning, level },
            false => Cause::Completion { code, meaning },
        };
        self.report(now, cause);
        self.flight = None;
        match &mut self.phase {
            Phase::Session { doing: doing @ Doing::Command, .. } => *doing = Doing::Idle,
            Phase::Session { doing: doing @ (Doing::Raise | Doing::Check), .. } => {
                *doing = Doing::Close;
                self.next_step(now);
            }
            _ => self.phase = Phase::Closed,
        }
    }

    fn report(&mut self, now: Instant, cause: Cause) {
        let step = self.step();
        let since = self.flight.as_ref().map_or(now, |flight| flight.since);
        if self.job.take().is_some() {
            let waited = now.saturating_duration_since(since);
            self.events.push_back(Event::Failed(Failure { step, cause, waited }));
        }
    }

    /// Network function and number of the request at hand.
    fn asked(&self) -> (u8, u8) {
        fn of<C: Command>() -> (u8, u8) {
            (C::NETFN, C::COMMAND)
        }
        match &self.phase {
            Phase::Session { doing: Doing::Raise, .. } => of::<SetSessionPrivilegeLevel>(),
            Phase::Session { doing: Doing::Check | Doing::KeepAlive, .. } => of::<GetDeviceId>(),
            Phase::Session { doing: Doing::Close, .. } => of::<CloseSession>(),
            Phase::Session { .. } => {
                self.job.as_ref().map_or((0xff, 0xff), |job| (job.request.netfn, job.request.command))
            }
            Phase::Suites(_) => of::<GetChannelCipherSuites>(),
            _ => of::<GetChannelAuthenticationCapabilities>(),
        }
    }
}

fn encode_request(out: &mut Vec<u8>, request: &Request, rq_seq: u8) {
    message::encode_routed(out, &request.route, request.netfn, request.command, rq_seq, &request.data);
}

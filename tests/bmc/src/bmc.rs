//! [`Bmc`]: one BMC as a value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypt::Suite;
use crate::fault::Random;
use crate::machine::Machine;
use crate::session::Session;
use crate::{command, setup};

/// RMCP 1.0, no acknowledgement wanted, class IPMI.
pub(crate) const RMCP: [u8; 4] = [6, 0, 0xff, 7];
/// A session without traffic is dropped after this time (6.12.15).
const SESSION_IDLE: Duration = Duration::from_secs(60);

/// What kind of BMC it is; shared by a fleet.
#[derive(Debug, Clone)]
pub struct Personality {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Vec<u8>,
    /// K_g, 20 octets, where it has one.
    pub kg: Option<[u8; 20]>,
    /// The highest privilege the user may have: 2 user, 3 operator, 4 administrator.
    pub privilege_max: u8,
    /// The suites it speaks.
    pub suites: Vec<Suite>,
    /// Whether it answers Get Channel Cipher Suites.
    pub lists_suites: bool,
    /// Sessions at a time.
    pub slots: usize,
    /// Only IPMI 1.5.
    pub only_ipmi_1_5: bool,
    /// Whether a soft power-off is obeyed.
    pub obeys_soft_off: bool,
    /// From Chassis Control until the power reads so.
    pub power_takes: Duration,
}

impl Default for Personality {
    fn default() -> Self {
        Self {
            user: "admin".to_owned(),
            password: b"secret".to_vec(),
            kg: None,
            privilege_max: 4,
            suites: vec![Suite::Three, Suite::Seventeen],
            lists_suites: true,
            slots: 4,
            only_ipmi_1_5: false,
            obeys_soft_off: true,
            power_takes: Duration::ZERO,
        }
    }
}

/// What was done to it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions opened.
    pub opened: u64,
    /// Sessions closed on request.
    pub closed: u64,
    /// Open Session requests refused because every slot is taken.
    pub full: u64,
    /// Commands carried out inside sessions.
    pub commands: u64,
    /// Chassis Control commands carried out.
    pub controls: u64,
    /// Datagrams that were not answered because something about them was wrong.
    pub ignored: u64,
}

/// One BMC.
#[derive(Debug)]
pub struct Bmc {
    /// What kind it is.
    pub personality: Arc<Personality>,
    /// Its GUID.
    pub guid: [u8; 16],
    /// What is behind it.
    pub machine: Machine,
    /// What was done to it.
    pub counts: Counts,
    /// Answer so many commands with "BMC busy" first.
    pub busy: u32,
    /// Answer this network function and command with this completion code.
    pub refuse: Option<(u8, u8, u8)>,
    /// The UDP port that it says it speaks serial over LAN on.
    pub port: u16,
    pub(crate) sessions: Vec<Session>,
    pub(crate) random: Random,
}

impl Bmc {
    /// A BMC whose GUID and random numbers follow from `number`; its machine is off.
    pub fn new(personality: Arc<Personality>, number: u64) -> Self {
        let mut random = Random::new(number);
        Self {
            personality,
            guid: random.octets(),
            machine: Machine::default(),
            counts: Counts::default(),
            busy: 0,
            refuse: None,
            port: 623,
            sessions: Vec::new(),
            random,
        }
    }

    /// Its sessions are gone; the machine stays as it is.
    pub fn restart(&mut self) {
        self.sessions.clear();
    }

    /// Sessions that are open now.
    pub fn open_sessions(&self) -> usize {
        self.sessions.iter().filter(|session| session.is_active).count()
    }

    /// One datagram in, at most one out.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let answer = self.answer(now, datagram);
        self.counts.ignored += u64::from(answer.is_none());
        answer
    }

    fn answer(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let (rmcp, rest) = datagram.split_at_checked(4)?;
        if rmcp[0] != 6 || rmcp[3] != 7 {
            return None;
        }
        self.sessions.retain(|session| now.saturating_duration_since(session.heard) < SESSION_IDLE);
        match *rest {
            [0, _, _, _, _, _, _, _, _, len, ref message @ ..] if usize::from(len) == message.len() => {
                let answer = command::outside_session(self, message)?;
                let mut out = [&RMCP[..], &[0; 9], &[answer.len() as u8]].concat();
                out.extend(answer);
                Some(out)
            }
            [6, kind @ 0x10..=0x14, _, _, _, _, _, _, _, _, low, high, ref payload @ ..]
                if payload.len() == usize::from(u16::from_le_bytes([low, high])) =>
            {
                let answer = setup::handle(self, now, kind, payload)?;
                let mut out = [&RMCP[..], &[6, kind + 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
                out.extend((answer.len() as u16).to_le_bytes());
                out.extend(answer);
                Some(out)
            }
            // As ipmitool asks before a session: the same in the newer format.
            [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high, ref message @ ..]
                if message.len() == usize::from(u16::from_le_bytes([low, high])) =>
            {
                let answer = command::outside_session(self, message)?;
                let mut out = [&RMCP[..], &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
                out.extend((answer.len() as u16).to_le_bytes());
                out.extend(answer);
                Some(out)
            }
            [6, ..] => self.in_session(now, rest),
            _ => None,
        }
    }

    fn in_session(&mut self, now: Instant, rest: &[u8]) -> Option<Vec<u8>> {
        let id = u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?);
        let at = self.sessions.iter().position(|session| session.is_active && session.bmc_id == id)?;
        let message = self.sessions[at].open(rest)?;
        self.sessions[at].heard = now;
        if rest[1] & 0x3f == 1 {
            self.has_serial(id).then(|| self.machine.serial.handle(&message))??;
            return self.poll_serial(now).map(|(_, datagram)| datagram);
        }
        let answer = command::in_session(self, now, at, &message)?;
        let iv = self.random.octets();
        let datagram = self.sessions[at].seal(iv, 0, &answer);
        self.sessions.retain(|session| !session.is_closing);
        Some(datagram)
    }

    /// What is to be sent over the serial line now, and in which session.
    pub fn poll_serial(&mut self, now: Instant) -> Option<(u32, Vec<u8>)> {
        let (id, payload) = self.machine.serial.poll(now)?;
        let iv = self.random.octets();
        let Some(session) = self.sessions.iter_mut().find(|session| session.bmc_id == id) else {
            self.machine.serial.line = None;
            return None;
        };
        Some((id, session.seal(iv, 1, &payload)))
    }

    /// Whether a session holds the serial line.
    pub(crate) fn has_serial(&self, session: u32) -> bool {
        self.machine.serial.line.as_ref().is_some_and(|line| line.session == session)
    }
}

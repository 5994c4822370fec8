//! The receiving half of [`Client`]: which datagram is the answer to the step at hand, and what follows from it.
//!
//! Each `on_*` first finds every reason to drop, and only then changes anything. One exception, on purpose: a RAKP 2 that
//! answers our tag and our random session id but not our password ends the command at once, since that is what a BMC with
//! another password sends.

use std::time::Instant;

use super::{Client, Doing, Event, Phase};
use crate::proto::ipmi::command::{Command, GetChannelAuthenticationCapabilities, GetChannelCipherSuites};
use crate::proto::ipmi::completion::{CompletionCode, RmcpStatus};
use crate::proto::ipmi::handshake::{self, Answer, Exchange};
use crate::proto::ipmi::message::{self, Response, Route, SEND_MESSAGE};
use crate::proto::ipmi::packet::{self, Packet, PayloadType, SessionPacket};
use crate::proto::ipmi::reason::{Cause, DropReason, Guid};
use crate::proto::ipmi::session::Session;
use crate::proto::ipmi::suite::CipherSuite;

/// "Invalid data field": what a BMC of IPMI 1.5 says to the bit that asks for 2.0's capabilities.
const INVALID_DATA_FIELD: CompletionCode = CompletionCode(0xcc);

impl Client {
    pub(super) fn receive(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DropReason> {
        let packet = packet::decode(datagram)?;
        if let Packet::Session(packet) = packet {
            return self.on_session(now, &packet);
        }
        if !self.was_sent() {
            return Err(DropReason::Unexpected);
        }
        match packet {
            Packet::Sessionless { payload } if matches!(self.phase, Phase::Suites(_)) => self.on_suites(now, payload),
            Packet::Sessionless { payload } => self.on_probe_answer(now, payload),
            Packet::Setup { payload_type: PayloadType::OpenSessionResponse, payload } => {
                self.on_open_session(now, payload)
            }
            Packet::Setup { payload_type: PayloadType::Rakp2, payload } => self.on_rakp2(now, payload),
            Packet::Setup { payload_type: PayloadType::Rakp4, payload } => self.on_rakp4(now, payload),
            Packet::Setup { .. } | Packet::Session(_) => Err(DropReason::PayloadType),
        }
    }

    fn on_probe_answer(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        if !matches!(self.phase, Phase::Probe) {
            return Err(DropReason::Unexpected);
        }
        let response = message::decode_response(payload)?;
        self.check_asked(&response)?;
        let code = CompletionCode(response.completion);
        match GetChannelAuthenticationCapabilities::decode(response.data) {
            _ if code.is_transient() => self.busy(code),
            _ if code == INVALID_DATA_FIELD => self.fail(now, Cause::NotIpmi2),
            _ if code != CompletionCode::OK => self.fail_with_code(now, code),
            Err(_) => self.fail(now, Cause::Nonsense),
            Ok(capabilities) if !capabilities.ipmi_2_0 => self.fail(now, Cause::NotIpmi2),
            Ok(capabilities) => {
                self.kg_set = capabilities.kg_required;
                self.known.speaks = true;
                self.enter(now, self.after_probe());
            }
        }
        Ok(())
    }

    fn on_suites(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Phase::Suites(list) = &self.phase else { return Err(DropReason::Unexpected) };
        let response = message::decode_response(payload)?;
        self.check_asked(&response)?;
        let code = CompletionCode(response.completion);
        if code.is_transient() {
            self.busy(code);
            return Ok(());
        }
        let part = GetChannelCipherSuites::decode(response.data).ok().filter(|_| code == CompletionCode::OK);
        let mut list = list.clone();
        list.extend(part.iter().flatten());
        let is_whole = part.is_none_or(|part| part.len() < GetChannelCipherSuites::PART_BYTES);
        let parts_max = usize::from(GetChannelCipherSuites::INDEX_MAX) + 1;
        if !is_whole && list.len() < parts_max * GetChannelCipherSuites::PART_BYTES {
            self.enter(now, Phase::Suites(list));
            return Ok(());
        }
        let offered = GetChannelCipherSuites::offered(&list);
        match self.credentials.suites.best(&offered) {
            Some(suite) => self.take_suite(now, suite),
            // Older firmware does not know the question, or its answer; suite 3 is what it must speak.
            None if offered.is_empty() => self.take_suite(now, CipherSuite::Three),
            None => self.fail(now, Cause::NoSuite { offered }),
        }
        Ok(())
    }

    fn on_open_session(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Phase::Open(Some(hello)) = self.phase else { return Err(DropReason::Unexpected) };
        let answer = handshake::decode_open_session(payload)?;
        self.check_answer(&answer, hello.console_id)?;
        let open = match answer.body {
            Ok(open) => open,
            Err(status) => {
                self.fail(now, Cause::Refused(status));
                return Ok(());
            }
        };
        let suite = self.suite().unwrap_or_default();
        let asked = suite.algorithms();
        if open.algorithms != [asked.authentication, asked.integrity, asked.confidentiality] {
            self.fail(now, Cause::OtherAlgorithms);
        } else if open.bmc_id == 0 {
            self.fail(now, Cause::Nonsense);
        } else {
            let exchange = Exchange {
                suite,
                console_id: hello.console_id,
                bmc_id: open.bmc_id,
                console_random: hello.console_random,
                bmc_random: [0; 16],
                bmc_guid: [0; 16],
                privilege: self.credentials.privilege,
                user: self.credentials.user.clone(),
            };
            self.enter(now, Phase::Rakp1(Box::new(exchange)));
        }
        Ok(())
    }

    fn on_rakp2(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Phase::Rakp1(exchange) = &self.phase else { return Err(DropReason::Unexpected) };
        let answer = handshake::decode_rakp2(payload, exchange.suite)?;
        self.check_answer(&answer, exchange.console_id)?;
        let rakp2 = match answer.body {
            Ok(rakp2) => rakp2,
            Err(RmcpStatus::INVALID_SESSION | RmcpStatus::INACTIVE_SESSION) if self.may_start_over() => {
                self.open(now);
                return Ok(());
            }
            Err(status) => {
                self.fail(now, Cause::Refused(status));
                return Ok(());
            }
        };
        let mut exchange = exchange.clone();
        exchange.bmc_random = rakp2.bmc_random;
        exchange.bmc_guid = rakp2.bmc_guid;
        let guid = Guid(rakp2.bmc_guid);
        if !exchange.verify_rakp2(self.credentials.password.key(), rakp2.code) {
            self.abort(now, &exchange, Cause::WrongPassword);
        } else if let Some(was) = self.known.guid.filter(|was| *was != guid && !guid.is_nil()) {
            self.abort(now, &exchange, Cause::GuidChanged { was, is: guid });
        } else {
            let keys = exchange.keys(self.credentials.session_key());
            self.enter(now, Phase::Rakp3(exchange, keys));
        }
        Ok(())
    }

    /// Ends the key exchange. The BMC holds a slot for us: it is told not to wait.
    fn abort(&mut self, now: Instant, exchange: &Exchange, cause: Cause) {
        let (mut payload, mut parting) = (Vec::new(), Vec::new());
        exchange.encode_rakp3_abort(&mut payload, self.tag.wrapping_add(1));
        packet::encode_setup(&mut parting, PayloadType::Rakp3, &payload);
        self.parting = Some(parting);
        self.fail(now, cause);
    }

    fn on_rakp4(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Phase::Rakp3(exchange, keys) = &self.phase else { return Err(DropReason::Unexpected) };
        let answer = handshake::decode_rakp4(payload, exchange.suite)?;
        self.check_answer(&answer, exchange.console_id)?;
        match answer.body {
            // RAKP 2 has proved that the passwords are equal: a BMC that now says they are not has mixed up two of
            // our attempts (a repeated RAKP 1 makes some draw a new random number).
            Err(RmcpStatus::INVALID_SESSION | RmcpStatus::INACTIVE_SESSION | RmcpStatus::INVALID_CHECK)
                if self.may_start_over() =>
            {
                self.open(now);
            }
            Err(status) => self.fail(now, Cause::Refused(status)),
            Ok(rakp4) if !exchange.verify_rakp4(keys, rakp4.check) => {
                let configured = self.credentials.kg.is_some();
                self.fail(now, Cause::BadRakp4 { configured, set: self.kg_set });
            }
            Ok(_) => {
                let session = Session::new(exchange.suite, exchange.console_id, exchange.bmc_id, keys.clone());
                self.known.guid = Some(Guid(exchange.bmc_guid)).filter(|guid| !guid.is_nil()).or(self.known.guid);
                self.events.push_back(Event::Opened);
                let doing = self.first_doing();
                self.enter(now, Phase::Session { session: Box::new(session), doing, heard: now });
            }
        }
        Ok(())
    }

    fn on_session(&mut self, now: Instant, packet: &SessionPacket<'_>) -> Result<(), DropReason> {
        let mut message = Vec::new();
        let was_sent = self.was_sent();
        let takes_sol = self.takes_sol;
        let Phase::Session { session, doing, heard } = &mut self.phase else {
            return Err(DropReason::ForeignSession);
        };
        if packet.payload_type == PayloadType::Sol && !takes_sol {
            return Err(DropReason::PayloadType);
        }
        session.open(packet, &mut message)?;
        if packet.payload_type == PayloadType::Sol {
            self.events.push_back(Event::Sol(message));
            return Ok(());
        }
        let doing = *doing;
        if doing == Doing::Idle || !was_sent {
            return Err(DropReason::Unexpected);
        }
        let route = match doing {
            Doing::Command => self.job.as_ref().map_or(Route::BMC, |job| job.request.route),
            _ => Route::BMC,
        };
        let response = message::decode_routed(&message, &route)?;
        *heard = now;
        let response = response.innermost(&route)?;
        if route.is_bridged() && (response.netfn, response.command) == (SEND_MESSAGE.0 | 1, SEND_MESSAGE.1) {
            return self.on_forwarded(now, &response);
        }
        self.check_asked(&response)?;
        let code = CompletionCode(response.completion);
        match doing {
            Doing::Raise | Doing::Command if code.is_transient() => self.busy(code),
            Doing::Raise | Doing::Command if code != CompletionCode::OK => self.fail_with_code(now, code),
            Doing::Raise | Doing::Check => {
                self.now_do(Doing::Command);
                self.next_step(now);
            }
            Doing::Command => {
                self.events.push_back(Event::Done(response.data.to_vec()));
                self.job = None;
                self.note_pace(now);
                self.flight = None;
                self.now_do(Doing::Idle);
            }
            Doing::KeepAlive => {
                self.note_pace(now);
                self.flight = None;
                self.now_do(Doing::Idle);
            }
            Doing::Close | Doing::Idle => {
                self.phase = Phase::Closed;
                self.flight = None;
            }
        }
        Ok(())
    }

    /// The BMC says what became of the envelope: the answer itself comes later, unless it could not be sent on.
    fn on_forwarded(&mut self, now: Instant, response: &Response<'_>) -> Result<(), DropReason> {
        if response.rq_seq != self.rq_seq {
            return Err(DropReason::WrongRequestSequence);
        }
        let code = CompletionCode(response.completion);
        if code.is_transient() {
            self.busy(code);
        } else if code != CompletionCode::OK {
            self.fail_with_code_of(now, code, SEND_MESSAGE);
        }
        Ok(())
    }

    /// The step at hand has been answered; what was sent once tells how quick this BMC is.
    pub(super) fn note_pace(&mut self, now: Instant) {
        if let Some(flight) = self.flight.as_ref().filter(|flight| flight.tries == 1) {
            self.known.pace.heard_after(now.saturating_duration_since(flight.since));
        }
    }

    pub(super) fn now_do(&mut self, next: Doing) {
        if let Phase::Session { doing, .. } = &mut self.phase {
            *doing = next;
        }
    }

    /// The BMC hears us but cannot answer yet: the next try comes at its time.
    fn busy(&mut self, code: CompletionCode) {
        if let Some(flight) = &mut self.flight {
            flight.busy = Some(code);
        }
    }

    /// The step at hand has been sent, so that an answer to it can exist.
    fn was_sent(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.tries > 0)
    }

    fn may_start_over(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.handshakes < super::HANDSHAKES_MAX)
    }

    fn check_answer<T>(&self, answer: &Answer<T>, console_id: u32) -> Result<(), DropReason> {
        if answer.tag != self.tag {
            return Err(DropReason::WrongTag);
        }
        if answer.console_id != console_id && !(answer.console_id == 0 && answer.body.is_err()) {
            return Err(DropReason::ForeignSession);
        }
        Ok(())
    }

    fn check_asked(&self, response: &Response<'_>) -> Result<(), DropReason> {
        let (netfn, command) = self.asked();
        if (response.netfn, response.command) != (netfn | 1, command) {
            return Err(DropReason::WrongCommand);
        }
        if response.rq_seq != self.rq_seq {
            return Err(DropReason::WrongRequestSequence);
        }
        Ok(())
    }
}

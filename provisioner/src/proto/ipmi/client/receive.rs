//! The receiving half of [`Client`]: which datagram is the answer to the step at hand, and what follows from it.
//!
//! Each `on_*` first finds every reason to drop, and only then changes anything. One exception, on purpose: a RAKP 2 that
//! answers our tag and our random session id but not our password ends the command at once, since that is what a BMC with
//! another password sends.

use std::time::Instant;

use super::{Client, Doing, Event, Phase};
use crate::proto::ipmi::command::{Command, GetChannelAuthenticationCapabilities};
use crate::proto::ipmi::completion::{CompletionCode, RmcpStatus};
use crate::proto::ipmi::handshake::{self, Answer, Exchange};
use crate::proto::ipmi::message::{self, Response};
use crate::proto::ipmi::packet::{self, Packet, PayloadType, SessionPacket};
use crate::proto::ipmi::reason::{Cause, DropReason};
use crate::proto::ipmi::session::Session;

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
            Ok(_) => self.enter(now, Phase::Open(None)),
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
        let asked = self.suite.algorithms();
        if open.algorithms != [asked.authentication, asked.integrity, asked.confidentiality] {
            self.fail(now, Cause::OtherAlgorithms);
        } else if open.bmc_id == 0 {
            self.fail(now, Cause::Nonsense);
        } else {
            let exchange = Exchange {
                suite: self.suite,
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
        let answer = handshake::decode_rakp2(payload, self.suite)?;
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
        let user_key = self.credentials.password.key();
        if exchange.verify_rakp2(user_key, rakp2.code) {
            let keys = exchange.keys(user_key);
            self.enter(now, Phase::Rakp3(exchange, keys));
        } else {
            // The BMC holds a slot for us; tell it not to wait.
            let (mut payload, mut parting) = (Vec::new(), Vec::new());
            exchange.encode_rakp3_abort(&mut payload, self.tag.wrapping_add(1));
            packet::encode_setup(&mut parting, PayloadType::Rakp3, &payload);
            self.parting = Some(parting);
            self.fail(now, Cause::WrongPassword);
        }
        Ok(())
    }

    fn on_rakp4(&mut self, now: Instant, payload: &[u8]) -> Result<(), DropReason> {
        let Phase::Rakp3(exchange, keys) = &self.phase else { return Err(DropReason::Unexpected) };
        let answer = handshake::decode_rakp4(payload, self.suite)?;
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
            Ok(rakp4) if !exchange.verify_rakp4(keys, rakp4.check) => self.fail(now, Cause::BadRakp4),
            Ok(_) => {
                let session = Session::new(self.suite, exchange.console_id, exchange.bmc_id, keys.clone());
                self.events.push_back(Event::Opened);
                self.enter(now, Phase::Session { session: Box::new(session), doing: Doing::Raise, heard: now });
            }
        }
        Ok(())
    }

    fn on_session(&mut self, now: Instant, packet: &SessionPacket<'_>) -> Result<(), DropReason> {
        let mut message = Vec::new();
        let was_sent = self.was_sent();
        let Phase::Session { session, doing, heard } = &mut self.phase else {
            return Err(DropReason::ForeignSession);
        };
        session.open(packet, &mut message)?;
        let doing = *doing;
        if doing == Doing::Idle || !was_sent {
            return Err(DropReason::Unexpected);
        }
        let response = message::decode_response(&message)?;
        *heard = now;
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

    fn now_do(&mut self, next: Doing) {
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

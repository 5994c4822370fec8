//! Why a datagram was dropped, and why a command failed: both are data, counted and shown.

use std::fmt;
use std::time::Duration;

use super::completion::{CompletionCode, RmcpStatus};
use super::credentials::Privilege;

/// A BMC's globally unique id, as its 16 octets come over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// True for the GUID of those who have none.
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16] || self.0 == [0xff; 16]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// Why a datagram changed nothing. One value per way to be wrong, so that counters tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Shorter than its headers say or need.
    Truncated,
    /// Longer than its headers say.
    TrailingOctets,
    /// Not RMCP version 1.0 (octet 06h).
    NotRmcp,
    /// RMCP, but not of the IPMI message class (ASF presence, OEM, an acknowledgement).
    NotIpmiClass,
    /// An authentication type other than none (outside a session) and RMCP+.
    AuthenticationType,
    /// A payload type this client never asks for.
    PayloadType,
    /// For a session that is not ours.
    ForeignSession,
    /// Inside the session, but without an authentication code.
    NotAuthenticated,
    /// Inside the session, but in the clear.
    NotEncrypted,
    /// Signed or encrypted in a session of cipher suite 0, which has no keys.
    Protected,
    /// The authentication code does not match.
    BadAuthCode,
    /// Pad, pad length or next-header octet before the authentication code are not as they must be.
    BadIntegrityPadding,
    /// A session sequence number that was seen before.
    Replayed,
    /// A session sequence number too far from the highest one seen.
    OutOfWindow,
    /// The decrypted pad is not 1, 2, 3 … or the payload is not whole blocks.
    BadConfidentialityPadding,
    /// A checksum of the IPMI message does not match.
    BadChecksum,
    /// Not from the BMC's logical unit 0 to remote software.
    WrongAddress,
    /// An answer to another command.
    WrongCommand,
    /// An answer to an earlier request (rqSeq).
    WrongRequestSequence,
    /// A key exchange message for an earlier request (message tag).
    WrongTag,
    /// Well-formed, but nothing like it is awaited now.
    Unexpected,
    /// From an address that no command was sent to.
    UnknownPeer,
}

impl DropReason {
    /// Every reason, so that counters can be announced at zero.
    pub const ALL: [Self; 22] = [
        Self::Truncated,
        Self::TrailingOctets,
        Self::NotRmcp,
        Self::NotIpmiClass,
        Self::AuthenticationType,
        Self::PayloadType,
        Self::ForeignSession,
        Self::NotAuthenticated,
        Self::NotEncrypted,
        Self::Protected,
        Self::BadAuthCode,
        Self::BadIntegrityPadding,
        Self::Replayed,
        Self::OutOfWindow,
        Self::BadConfidentialityPadding,
        Self::BadChecksum,
        Self::WrongAddress,
        Self::WrongCommand,
        Self::WrongRequestSequence,
        Self::WrongTag,
        Self::Unexpected,
        Self::UnknownPeer,
    ];

    /// The name used as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TrailingOctets => "trailing_octets",
            Self::NotRmcp => "not_rmcp",
            Self::NotIpmiClass => "not_ipmi_class",
            Self::AuthenticationType => "authentication_type",
            Self::PayloadType => "payload_type",
            Self::ForeignSession => "foreign_session",
            Self::NotAuthenticated => "not_authenticated",
            Self::NotEncrypted => "not_encrypted",
            Self::Protected => "protected",
            Self::BadAuthCode => "bad_auth_code",
            Self::BadIntegrityPadding => "bad_integrity_padding",
            Self::Replayed => "replayed",
            Self::OutOfWindow => "out_of_window",
            Self::BadConfidentialityPadding => "bad_confidentiality_padding",
            Self::BadChecksum => "bad_checksum",
            Self::WrongAddress => "wrong_address",
            Self::WrongCommand => "wrong_command",
            Self::WrongRequestSequence => "wrong_request_sequence",
            Self::WrongTag => "wrong_tag",
            Self::Unexpected => "unexpected",
            Self::UnknownPeer => "unknown_peer",
        }
    }

    /// What was wrong with it, to follow "the last datagram".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Truncated => "was cut short",
            Self::TrailingOctets => "was longer than its headers say",
            Self::NotRmcp => "was not RMCP",
            Self::NotIpmiClass => "was RMCP, but not IPMI",
            Self::AuthenticationType => "was of an IPMI 1.5 session",
            Self::PayloadType => "had a payload type that was not asked for",
            Self::ForeignSession => "was of another session",
            Self::NotAuthenticated => "was not signed",
            Self::NotEncrypted => "was not encrypted",
            Self::Protected => "was signed or encrypted in a session without keys",
            Self::BadAuthCode => "was wrongly signed",
            Self::BadIntegrityPadding => "was wrongly padded before its signature",
            Self::Replayed => "was replayed: its sequence number had come before",
            Self::OutOfWindow => "had a sequence number out of the window",
            Self::BadConfidentialityPadding => "was wrongly padded inside its encryption",
            Self::BadChecksum => "had a wrong checksum",
            Self::WrongAddress => "was from another controller or logical unit",
            Self::WrongCommand => "answered another command",
            Self::WrongRequestSequence => "answered an earlier request",
            Self::WrongTag => "answered an earlier message of the key exchange",
            Self::Unexpected => "came when nothing like it was awaited",
            Self::UnknownPeer => "came from an address that was not asked",
        }
    }
}

/// What was sent when the conversation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Asking whether the BMC speaks IPMI 2.0 at all.
    Probe,
    /// Asking which cipher suites it offers.
    CipherSuites,
    /// Asking for a session.
    OpenSession,
    /// User and random number; the BMC answers with RAKP 2.
    Rakp1,
    /// Proof that we know the password; the BMC answers with RAKP 4.
    Rakp3,
    /// Raising the session to the privilege the user was configured with.
    SetPrivilege,
    /// Making sure that an old session still lives before a command that must not be sent twice.
    CheckSession,
    /// The command itself, by name.
    Command(&'static str),
    /// Keeping an unused session alive.
    KeepAlive,
    /// Giving the session slot back.
    CloseSession,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Probe => "Get Channel Authentication Capabilities",
            Self::CipherSuites => "Get Channel Cipher Suites",
            Self::OpenSession => "Open Session",
            Self::Rakp1 => "RAKP 1",
            Self::Rakp3 => "RAKP 3",
            Self::SetPrivilege => "Set Session Privilege Level",
            Self::CheckSession => "Get Device ID (is the session alive?)",
            Self::Command(name) => name,
            Self::KeepAlive => "Get Device ID (to keep the session)",
            Self::CloseSession => "Close Session",
        })
    }
}

/// What went wrong at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing acceptable came back.
    NoAnswer {
        /// How often the step was sent.
        tries: u8,
        /// Why the last datagram that did come was not an answer.
        dropped: Option<DropReason>,
    },
    /// The BMC's proof in RAKP 2 was made with another password than ours.
    WrongPassword,
    /// The BMC's proof in RAKP 4 does not match although RAKP 2's did: it was made with another K_g than ours.
    BadRakp4 {
        /// We have a K_g for it.
        configured: bool,
        /// The BMC says that it has one.
        set: bool,
    },
    /// The BMC has another GUID than when it was first talked to: it may be another machine.
    GuidChanged {
        /// The GUID it had.
        was: Guid,
        /// The GUID it has.
        is: Guid,
    },
    /// The BMC offers none of the cipher suites that may be spoken with it.
    NoSuite {
        /// What it offers.
        offered: Vec<u8>,
    },
    /// The user or the session may not do this.
    PrivilegeTooLow {
        /// The code.
        code: CompletionCode,
        /// Its meaning for this command.
        meaning: &'static str,
        /// The privilege that was asked for.
        level: Privilege,
    },
    /// The BMC refused a step of the key exchange.
    Refused(RmcpStatus),
    /// The BMC carried out or understood something else than the command asked for.
    Completion {
        /// The code.
        code: CompletionCode,
        /// Its meaning for this command.
        meaning: &'static str,
    },
    /// The BMC speaks only IPMI 1.5 on this channel.
    NotIpmi2,
    /// The BMC answered Open Session with algorithms that were not asked for.
    OtherAlgorithms,
    /// The answer is authentic but too short or outside the command's values.
    Nonsense,
}

impl Cause {
    /// The name used as a metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoAnswer { dropped: None, .. } => "no_answer",
            Self::NoAnswer { dropped: Some(_), .. } => "no_good_answer",
            Self::WrongPassword => "wrong_password",
            Self::BadRakp4 { .. } => "bad_rakp4",
            Self::GuidChanged { .. } => "guid_changed",
            Self::NoSuite { .. } => "no_suite",
            Self::PrivilegeTooLow { .. } => "privilege_too_low",
            Self::Refused(_) => "refused",
            Self::Completion { .. } => "completion_code",
            Self::NotIpmi2 => "not_ipmi2",
            Self::OtherAlgorithms => "other_algorithms",
            Self::Nonsense => "nonsense",
        }
    }
}

/// Why a command was not carried out (or, for `NoAnswer` to the command itself, why we cannot know).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// Why.
    pub cause: Cause,
    /// From the first time this step was sent to the failure.
    pub waited: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step;
        let secs = self.waited.as_secs_f64();
        match &self.cause {
            Cause::NoAnswer { tries, dropped } => {
                match tries {
                    1 => write!(f, "no answer to {step} after one try in {secs:.1} s")?,
                    tries => write!(f, "no answer to {step} after {tries} tries in {secs:.1} s")?,
                }
                dropped.map_or(Ok(()), |reason| write!(f, "; the last datagram {}", reason.words()))
            }
            Cause::WrongPassword => {
                write!(f, "wrong password (RAKP 2 authentication code does not match), {secs:.1} s after {step}")
            }
            Cause::BadRakp4 { configured, set } => {
                write!(f, "RAKP 4 check value does not match, {secs:.1} s after {step}: ")?;
                f.write_str(match (configured, set) {
                    (true, _) => "the K_g configured here is not the BMC's",
                    (false, true) => "the BMC has a K_g, and none is configured here",
                    (false, false) => "the BMC may have a K_g, and none is configured here",
                })
            }
            Cause::GuidChanged { was, is } => {
                write!(
                    f,
                    "the BMC's GUID was {was} and now is {is}, says its answer to {step} after {secs:.1} s: is it another machine?"
                )
            }
            Cause::NoSuite { offered } => {
                write!(
                    f,
                    "the BMC offers the cipher suites {offered:?}, none of which may be spoken with it, says its answer to {step} after {secs:.1} s"
                )
            }
            Cause::PrivilegeTooLow { code, meaning, level } => {
                write!(
                    f,
                    "{step} failed after {secs:.1} s: completion code {code}, {meaning} (it was asked for as {level})"
                )
            }
            Cause::Refused(status) => write!(f, "{step} refused after {secs:.1} s: {status}"),
            Cause::Completion { code, meaning } => {
                write!(f, "{step} failed after {secs:.1} s: completion code {code}, {meaning}")
            }
            Cause::NotIpmi2 => {
                write!(f, "the BMC does not speak IPMI 2.0, says its answer to {step} after {secs:.1} s")
            }
            Cause::OtherAlgorithms => {
                write!(f, "the BMC answered {step} after {secs:.1} s with other algorithms than asked for")
            }
            Cause::Nonsense => write!(f, "the answer to {step} after {secs:.1} s makes no sense"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_step_cause_and_time() {
        let failure = |step, cause| Failure { step, cause, waited: Duration::from_millis(8040) }.to_string();
        let code = CompletionCode(0xd5);
        let cases = [
            (
                failure(Step::OpenSession, Cause::NoAnswer { tries: 3, dropped: None }),
                "no answer to Open Session after 3 tries in 8.0 s",
            ),
            (
                failure(Step::Rakp1, Cause::WrongPassword),
                "wrong password (RAKP 2 authentication code does not match), 8.0 s after RAKP 1",
            ),
            (
                failure(Step::Rakp1, Cause::Refused(RmcpStatus(0x0d))),
                "RAKP 1 refused after 8.0 s: status 0x0d, unknown user or user not allowed",
            ),
            (
                failure(
                    Step::Command("Chassis Control"),
                    Cause::Completion { code, meaning: code.describe(0x00, 0x02) },
                ),
                "Chassis Control failed after 8.0 s: completion code 0xd5, not possible in the machine's present state",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::HashSet<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }
}

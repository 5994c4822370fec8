//! TFTP without sockets: the messages ([`packet`]) and one download ([`transfer`]).
//!
//! RFC 1350 (protocol), 2347 (options), 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize). A file that a
//! client writes is an [`upload`]. What a peer sends ends as a value: a [`DropReason`] or an [`Outcome`].

pub mod netascii;
pub mod packet;
mod round_trip;
pub mod transfer;
pub mod upload;

#[cfg(test)]
mod simulation;

pub use packet::{ErrorCode, Incoming, Mode, Options, Request};
pub use transfer::{BlockRun, Handled, Outcome, Transfer, Transmit};
pub use upload::{Taken, Upload};

/// Why a datagram changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Shorter than its kind needs.
    Truncated,
    /// An opcode that no RFC here knows.
    UnknownOpcode,
    /// A request's text is not NUL-terminated.
    NotTerminated,
    /// A request without a file name.
    NoFileName,
    /// A request's text is not UTF-8 or has control characters.
    NotText,
    /// A request longer than [`packet::REQUEST_BYTES_MAX`] or with more than [`packet::OPTIONS_MAX`] options.
    Oversized,
    /// DATA, OACK or ACK where only requests are taken, or a request, DATA or OACK where only ACK and ERROR are.
    Unexpected,
    /// From nobody we send to: a transfer that has ended, or never was (RFC 1350's "unknown transfer ID").
    UnknownPeer,
    /// An ACK of a block acknowledged before. Answering it would double all that follows (Sorcerer's Apprentice).
    StaleAck,
    /// The same request again while its first answer is under way.
    DuplicateRequest,
    /// Another request while the file of the peer's first is still being opened.
    OpeningAnother,
}

impl DropReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::Truncated,
        Self::UnknownOpcode,
        Self::NotTerminated,
        Self::NoFileName,
        Self::NotText,
        Self::Oversized,
        Self::Unexpected,
        Self::UnknownPeer,
        Self::StaleAck,
        Self::DuplicateRequest,
        Self::OpeningAnother,
    ];

    /// Whether healthy clients and networks make such datagrams: repetitions, and what comes after the end.
    pub const fn is_usual(self) -> bool {
        matches!(self, Self::UnknownPeer | Self::StaleAck | Self::DuplicateRequest | Self::OpeningAnother)
    }

    /// The word that metrics count it under.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnknownOpcode => "unknown-opcode",
            Self::NotTerminated => "not-terminated",
            Self::NoFileName => "no-file-name",
            Self::NotText => "not-text",
            Self::Oversized => "oversized",
            Self::Unexpected => "unexpected",
            Self::UnknownPeer => "unknown-peer",
            Self::StaleAck => "stale-ack",
            Self::DuplicateRequest => "duplicate-request",
            Self::OpeningAnother => "opening-another",
        }
    }
}

//! IPMI 2.0 over LAN (RMCP+), client side, as a value.
//!
//! [`Client`] is one BMC's conversation: datagrams and time go in (`handle_*`), datagrams, deadlines and outcomes come
//! out (`poll_*`). It holds no socket, reads no clock and draws no random bytes: all three are the shell's,
//! [`crate::io::bmc`]. It deliberately does not speak IPMI 1.5 sessions or OEM payloads, nor cipher suite 0 unless that is allowed.
//!
//! Invariant: a datagram that is not the authentic answer to what was asked is a [`DropReason`], and apart from that
//! count nothing changes.
//!
//! Follows *IPMI Specification Second Generation v2.0, revision 1.1*; section numbers in this folder are of that text.
//!
//! | file | holds |
//! |---|---|
//! | `client` | the machine: steps, retries, session reuse and re-opening |
//! | `handshake` | Open Session and RAKP 1–4 payloads (13.17–13.24), session keys (13.31, 13.32) |
//! | `session` | sealing and opening of packets inside a session (13.28, 13.29), the receive window (6.12.13) |
//! | `suite` | cipher suites and their algorithms, as data |
//! | `sol` | serial over LAN (15): packets, acknowledgements, repeats of one line |
//! | `console` | the machine that attaches such a line over a session of its own |
//! | `pace` | how long to wait for this BMC |
//! | `packet` | RMCP and session headers (13.1–13.6) |
//! | `message` | the IPMI message, its checksums (13.8) and envelopes (bridging) |
//! | `command/` | typed commands: pure encoding and decoding |
//! | `ipmitool` | the arguments and answers of the program, for BMCs that only it gets along with |
//! | `completion` | completion and RMCP+ status codes, in words |
//! | `reason` | why a datagram was dropped, why a command failed |

mod client;
pub mod command;
mod completion;
mod console;
mod credentials;
pub mod handshake;
pub mod ipmitool;
pub mod message;
mod pace;
pub mod packet;
mod reason;
pub mod session;
pub mod sol;
mod suite;

pub use client::{Action, Client, Event, Idle, Known, RANDOM_BYTES, Timing, Transmit};
pub use command::{Command, Request};
pub use completion::{CompletionCode, RmcpStatus};
pub use console::{Console, ConsoleEnd, ConsoleEvent};
pub use credentials::{Credentials, CredentialsError, Kg, Password, Privilege, User};
pub use message::{Hop, Route};
pub use pace::Pace;
pub use reason::{Cause, DropReason, Failure, Guid, Step};
pub use suite::{CipherSuite, Suites};

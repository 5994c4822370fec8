//! System calls and structures that no crate wraps: batched receiving and sending with segmentation, filter programs, packet addresses. One idea a file.
//!
//! Here alone is `unsafe` allowed; what goes out of here is safe to call with any arguments. No decisions.
#![allow(unsafe_code)]

mod filter;
mod option;
mod packet;
mod receive;
mod schedule;
mod send;

pub use filter::{Instruction, attach_reuseport_program, attach_socket_filter, detach_socket_filter};
#[cfg(test)]
pub use option::send_without_checksums;
pub use option::{ignore_outgoing, kernel_drops, receive_coalesced};
pub use packet::{EVERY_PROTOCOL, hardware_address, interface_address, listening_address};
pub use receive::Arena;
pub use schedule::{run_first, take_short_turns};
pub use send::{Datagram, SEGMENTS_MAX, SendScratch, send};

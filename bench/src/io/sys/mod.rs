//! What needs `unsafe`: batched system calls, and an allocator that counts.

mod addressed;
mod allocator;
mod datagrams;

pub use addressed::{Arrivals, Departures, tell_destinations};
pub use allocator::{CountingAllocator, live_bytes};
pub use datagrams::{Inbox, Outbox, SEGMENTS_MAX, gather, ignore_outgoing, interface_address, segment};

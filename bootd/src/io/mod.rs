//! Sockets, timers, system calls and counters. What to answer is decided in [`crate::proto`]; what there is to answer with is in
//! [`crate::store`].

pub mod http;
pub mod listen;
pub mod tftp;

mod counters;
mod descriptors;

pub use counters::Counters;
pub use descriptors::raise_descriptors;

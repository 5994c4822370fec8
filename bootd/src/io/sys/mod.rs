//! System calls that no crate wraps: many datagrams at once, segmented, and parts of files that are sent without being looked at. One idea a file.
//!
//! Here alone is `unsafe` allowed; what goes out of here is safe to call with any arguments. No decisions.
#![allow(unsafe_code)]

mod mapping;
mod receive;
mod send;

pub use mapping::Mapping;
pub use receive::Arena;
pub use send::{Message, Part, SEGMENTS_MAX, SendScratch, send};

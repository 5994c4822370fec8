//! Readers that take nothing: whoever reads slowly is served for as long as it reads at all, and what waits for somebody who does not is let go, with its connection.
//!
//! | file | holds |
//! |---|---|
//! | `stream` | [`Stalled`]: a stream that fails when what is written to it is not taken; enough for HTTP/1.1 |
//! | `answers` | [`Answers`]: the answers of an HTTP/2 connection, whose reader can shut its windows while it takes everything off the wire |
//!
//! It knows no requests and counts nothing: what to do with such a connection is its owner's.

mod answers;
mod stream;

use std::time::Duration;

pub use answers::{Answers, Watched};
pub use stream::Stalled;

/// How long a reader may take nothing.
pub const STALL_MAX: Duration = Duration::from_secs(60);

//! How a daemon tells what happens, in the form of [`reveille_config::dto::event`]: the same code in every daemon.
//!
//! | file | holds |
//! |---|---|
//! | `log` | [`Log`]: events with sequences, which readers page through; a long poll of it |
//! | `ring` | [`Ring`]: such a log, the last events in memory |
//! | `answer` | [`answer`]: a request for events, and what it is answered |
//! | `webhook` | [`Hooks`](webhook::Hooks): events posted to receivers that cannot hold a stream |
//! | `stream` | [`Streams`]: server-sent events for as long as a reader stays |
//!
//! It does not know what happens in a daemon, nor its routes and errors. Invariants: whoever tells never waits for a reader; each reader costs a bounded amount of
//! memory; one that lags, or that comes with a sequence of another log, is told from where to where it lost.

mod answer;
mod log;
mod ring;
mod stream;
pub mod webhook;

pub use answer::{Refusal, answer, read};
pub use log::{Log, new_epoch, page};
pub use ring::Ring;
pub use stream::{EVENTS_AT_ONCE, Feed, LogFeed, PAUSE, Streams, TooMany};

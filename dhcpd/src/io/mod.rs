//! Sockets, timers, batching, system calls and counters. No protocol decisions: those are `proto`'s, what is remembered is `store`'s.
//!
//! [`engine::Engine`] is the conversation without sockets and clocks, so that tests can drive it; [`worker`] is the thread round it.

mod backlog;
pub mod boot_server;
mod clock;
pub mod counters;
pub mod engine;
pub mod foreign_watch;
mod intake;
pub mod link;
mod outbox;
pub mod prober;
pub mod proxy;
pub mod router_solicitation;
mod senders;
mod shedding;
mod steering;
mod sys;
mod waker;
pub mod worker;

pub use clock::Clock;
pub use sys::run_first;
pub use waker::Waker;

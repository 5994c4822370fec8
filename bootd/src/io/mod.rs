//! Sockets, timers, system calls and counters. What to answer is decided in [`crate::proto`]; what there is to answer with is in
//! [`crate::store`].

pub mod fetch;
pub mod http;
pub mod listen;
pub mod pull;
pub mod tftp;

mod certificate;
mod counters;
mod descriptors;
mod said;
mod sys;
mod waker;

pub use certificate::{CertificateError, Certificates};
pub use counters::Counters;
pub use descriptors::raise_descriptors;

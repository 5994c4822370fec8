//! What goes over the daemons' HTTP APIs, as JSON.
//!
//! Servers and typed clients share these types, so that they cannot drift apart. Times are RFC 3339 in UTC or Unix seconds where the name ends in `_unix`.

pub mod bootd;
pub mod dhcpd;
pub mod event;
mod number;
mod problem;
pub mod reload;
pub mod token;

pub use problem::{Problem, RowProblem};

//! The provisioner: node life cycle, IPMI, and Ironic's API.
//!
//! [`start`] brings it up; [`Running`] is what is up. `proto` decides, `store` remembers, `io` acts, `api` talks.

pub mod api;
pub mod io;
pub mod proto;
mod run;
pub mod store;

pub use run::{Addresses, ReloadError, RunError, Running, StartError, start, start_with};

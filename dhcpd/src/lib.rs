//! The DHCP server: static BMC and dynamic provisioning scopes with durable leases.
//!
//! [`start`] replays the journal, opens the sockets, starts one thread per worker and serves the lease API. The folders: `proto` decides, `store` remembers,
//! `io` moves packets, `api` speaks HTTP.

pub mod api;
pub mod io;
pub mod proto;
pub mod store;

mod running;

pub use running::{ReloadError, RunError, Running, StartError, start, start_on};

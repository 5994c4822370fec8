//! Typed clients of the daemons' HTTP APIs: dhcpd's lease API, bootd's intents and transfers, and Ironic's API as far as Reveille speaks it.
//!
//! For the provisioner, the command line, tests and other conductors. A client holds no connection between calls, and retries nothing by itself
//! but requests to a node that Ironic's API says is locked: every route is idempotent, so its caller decides. Answers are read up to [`ANSWER_BYTES_MAX`].

mod access;
mod bootd;
mod dhcpd;
mod error;
mod events;
mod http;
mod ironic;
mod leases;
mod query;

pub use access::{Access, AccessError};
pub use bootd::Bootd;
pub use dhcpd::Dhcpd;
pub use error::ClientError;
pub use events::EventStream;
pub use http::ANSWER_BYTES_MAX;
pub use ironic::{Ironic, NewNode, Node, NodePatch, Port};
pub use leases::{ExportFormat, LeaseExport, LeaseQuery};

//! The provisioner: node life cycle, IPMI, and Ironic's API.

pub mod io;
pub mod proto;
pub mod store;

//! What the provisioner decides, from `(now, input, snapshot)`.
//!
//! Nothing here opens a socket or a file, reads a clock, draws random bytes, logs or counts.

pub mod access;
pub mod agent;
pub mod inrush;
pub mod ipmi;
pub mod node;
pub mod redfish;
pub mod schedule;

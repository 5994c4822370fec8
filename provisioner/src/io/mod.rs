//! What the provisioner does to the world: sockets, timers, counters.
//!
//! Nothing here decides what a protocol means; that is [`crate::proto`].

pub mod bmc;

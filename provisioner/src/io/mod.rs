//! What the provisioner does to the world: sockets, timers, counters.
//!
//! Nothing here decides what a protocol means; that is [`crate::proto`].
//!
//! | file | holds |
//! |---|---|
//! | `runner` | carries out pending effects, one at a time per node, and watches deadlines |
//! | `world` | which driver carries out which effect |
//! | `bmc/`, `power` | IPMI: the socket, and power changes that are read back |
//! | `poll` | the fleet's power, asked in turn |
//! | `boot` | bootd's and dhcpd's APIs |
//! | `agent` | commands to the agent |
//! | `listen` | HTTP listeners |
//! | `clock` | the wall clock |

pub mod agent;
pub mod bmc;
pub mod boot;
pub mod clock;
pub mod listen;
pub mod poll;
pub mod power;
pub mod runner;
pub mod world;

//! What the provisioner does to the world: sockets, timers, counters.
//!
//! Nothing here decides what a protocol means; that is [`crate::proto`].
//!
//! | file | holds |
//! |---|---|
//! | `runner` | carries out pending effects, one at a time per node, and watches deadlines |
//! | `world` | which driver carries out which effect |
//! | `driver` | the seam that all drivers of BMCs stand behind |
//! | `bmc/`, `ipmitool`, `redfish/` | those drivers |
//! | `acquaintance` | whether a node's BMC may be another one now |
//! | `turns` | one conversation at a time with each BMC |
//! | `power` | power changes that are read back, boot device, virtual media |
//! | `poll` | the fleet's power, asked in turn |
//! | `watch` | BMCs that report changes by themselves |
//! | `boot` | bootd's and dhcpd's APIs |
//! | `agent` | commands to the agent |
//! | `listen` | HTTP listeners |
//! | `clock` | the wall clock |

mod acquaintance;
pub mod agent;
pub mod bmc;
pub mod boot;
pub mod clock;
pub mod driver;
pub mod ipmitool;
pub mod listen;
pub mod poll;
pub mod power;
pub mod redfish;
pub mod runner;
pub mod turns;
mod watch;
pub mod world;

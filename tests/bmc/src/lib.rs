//! BMCs for tests, thousands in one process: IPMI 2.0 over LAN, cipher suites 0, 3 and 17, and every fault of wire and BMC.
//!
//! Written against *IPMI Specification Second Generation v2.0, revision 1.1* and sharing nothing with Reveille's client but the wire. Real
//! ipmitool and ipmipower talk to it in its tests, so that it cannot share our mistakes either.
//!
//! | file | holds |
//! |---|---|
//! | `bmc` | [`Bmc`]: one BMC as a value; datagrams in, at most one out, and what its serial line says |
//! | `setup` | Open Session and RAKP 1–4 |
//! | `session` | packets inside a session |
//! | `crypt` | HMAC and AES of the suites |
//! | `command` | what the BMC does |
//! | `machine` | the machine behind it: power, boot options, events |
//! | `sol` | its serial line over the network |
//! | `records` | its sensors' records and its inventory, as octets |
//! | `fault` | what goes wrong, by chance or on request |
//! | `server` | [`Server`]: many BMCs on sockets |

mod bmc;
mod command;
mod crypt;
mod fault;
mod machine;
mod records;
mod server;
mod session;
mod setup;
mod sol;

pub use bmc::{Bmc, Counts, Personality};
pub use crypt::Suite;
pub use fault::{Faults, Random};
pub use machine::{Event, Machine};
pub use server::{Fleet, Server};
pub use sol::Serial;

//! A lab of real parts: namespaces, QEMU machines, BMC simulators.
//!
//! The demo and the end-to-end tests build their world from it. Everything comes from Debian's packages ([`packages`]),
//! everything lives inside network namespaces of one [`Run`], and everything a run made is gone when it ends, however
//! it ends.
//!
//! What it deliberately does not do: it never touches the network of the machine it runs on (no interface, address,
//! route or firewall rule outside its own namespaces), and it never runs a disk-writing program outside a QEMU guest.
//!
//! Invariant: whatever a run makes is either below the run's directory, in a namespace that carries the run's prefix,
//! or a process that bears the run's mark in its environment. The clean-up needs no other list.

pub mod ask;
pub mod bmc;
pub mod clients;
pub mod dhcp_server;
mod error;
pub mod images;
pub mod lab;
pub mod life;
mod log;
pub mod machine;
pub mod net;
pub mod packages;
pub mod process;
pub mod qmp;
pub mod run;
pub mod served;
pub mod wait;

pub use bmc::{Bmc, BmcSpec};
pub use clients::Client;
pub use dhcp_server::{DhcpServer, Product};
pub use error::LabError;
pub use lab::{Lab, LabOptions};
pub use log::Log;
pub use machine::{BootDevice, Firmware, Machine, MachineSpec};
pub use net::{Namespace, TwoNetworks};
pub use process::{Process, Program};
pub use run::{Run, leftovers};
pub use served::{OptionValue, Served, ServedScope};
pub use wait::Deadline;

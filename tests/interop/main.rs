//! dhcpd against the programs that people use, each in network namespaces of its own.
//!
//! It needs root and the packages of the lab; a test says so where one is missing. What takes longer stands in the long matrix.

mod clients;
mod conflict;
mod foreign;
mod leases;
mod peers;
mod proxy;
mod relays;
mod router;
mod stage;
mod vlans;
mod wire;

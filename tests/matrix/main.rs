//! The long matrix: every firmware and every stock DHCP client against the real daemons, and what asks the lease API everything.
//!
//! It needs root and the packages of the lab and of `packages.txt`. `cargo test` leaves it out; `make test-all` runs it.

mod arm64;
mod boot_loaders;
mod dhcp_clients;
mod elsewhere;
mod firmware;
mod guest;
mod ironic;
mod killed;
mod openapi;
mod proxy;

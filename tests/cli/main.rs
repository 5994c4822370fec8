//! The command line as people and systemd use it: the built binary, its words and exit codes, its daemons' signals.
//!
//! What needs daemons runs them in network namespaces of the lab, and so needs root.

mod bmc;
mod boot;
mod boot_files;
mod check;
mod daemons;
mod elsewhere;
mod errors;
mod help;
mod images;
mod leases;
mod nodes;
mod repair;
mod site;
mod tokens;
mod webhook;

//! Decisions of the boot server, as pure functions and state machines.
//!
//! Absent by design: sockets, files, clocks, randomness, logs, metrics. Time comes in as a parameter; file contents never come in
//! at all, only their sizes: the shell fills payloads.

pub mod boot_path;
pub mod built_in;
pub mod digest;
pub mod http;
pub mod language;
pub mod machine_id;
pub mod path;
pub mod script;
pub mod temp_url;
pub mod template;
pub mod tftp;

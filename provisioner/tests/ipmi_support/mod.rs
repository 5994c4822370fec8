//! What the IPMI tests share: a real BMC simulator, a real ipmitool, and a wire between them and us that misbehaves.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod bmc;
pub mod sim;
pub mod step;
pub mod wire;

//! The DHCP server: static BMC and dynamic provisioning scopes with durable leases.

pub mod proto;
pub mod store;

//! The decisions: a packet, the time and a snapshot in; an action or a reply's octets out.
//!
//! What is absent here: sockets, files, clocks, randomness, logs, metrics, async. Time is a parameter, buffers are the caller's, and every
//! outcome is data with its reason. Whoever can build a [`scope::Scope`] can ask the decision core offline.

pub mod answer;
pub mod arp;
pub mod boot;
pub mod circuit;
pub mod class;
pub mod conflict;
pub mod decide;
pub mod foreign;
pub mod fqdn;
pub mod frame;
pub mod icmp;
pub mod identity;
pub mod leasequery;
pub mod option;
pub mod owner;
pub mod peek;
pub mod pool;
pub mod rate;
pub mod reason;
pub mod relay_agent;
pub mod renewal;
pub mod reply;
pub mod rules;
pub mod scope;
pub mod time;
pub mod view;

#[cfg(test)]
pub(crate) mod testing;

//! Owns durable and shared state and its concurrency; does not parse packets.

pub mod journal;

//! The atomics of the lock-free parts, imported from here alone, so that a model checker can take their place.

pub use std::sync::atomic::{AtomicU64, Ordering};

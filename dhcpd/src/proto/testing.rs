//! Packets and scopes for the tests of this crate.

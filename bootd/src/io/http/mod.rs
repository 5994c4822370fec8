//! HTTP: connections ([`serve`]), the machines' side ([`machine`]), bodies from files ([`body`]).

pub mod body;
pub mod connection;
pub mod machine;
mod patient;

pub use connection::{Accept, ConnectionError, serve};

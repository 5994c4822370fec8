//! HTTP: connections ([`serve`]), the machines' side ([`machine`]), bodies from files ([`body`]) and their way past user space ([`lane`]).

pub mod body;
pub mod connection;
pub mod lane;
pub mod machine;
mod patient;
mod report;

pub use connection::{Accept, ConnectionError, serve};
pub use lane::{Lane, Sendfile};

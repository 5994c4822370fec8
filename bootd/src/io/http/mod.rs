//! HTTP: connections ([`serve`]), their two versions ([`speak`]), the machines' side ([`machine`]), bodies from files ([`body`]) and their way past user space ([`lane`]).

mod arriving;
pub mod body;
pub mod connection;
pub mod lane;
pub mod machine;
mod parts;
mod report;
mod speak;

pub use connection::{Accept, ConnectionError, Door, serve};
pub use lane::{Lane, Sendfile};
pub use speak::Version;

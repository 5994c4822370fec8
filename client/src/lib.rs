//! Typed clients of the daemons' HTTP APIs.

//! The typed clients against a server that says what the test wants: what goes out, and what becomes of whatever comes back.

mod export;
mod failures;
mod fake;
mod pages;
mod routes;

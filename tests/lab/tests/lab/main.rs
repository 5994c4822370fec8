//! The lab by itself, with stand-ins for our daemons. It needs root and the packages of `packages.txt`.

mod chain;
mod cleanup;
mod clients;
mod networks;
mod stand_in;

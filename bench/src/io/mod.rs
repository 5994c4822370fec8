//! System calls of the load: many datagrams in one call, segmentation offload, and the two ways a client reaches a server.

pub mod cpu;
pub mod packet_socket;
pub mod sys;
pub mod wire;

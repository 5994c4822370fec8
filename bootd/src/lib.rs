//! The boot server: TFTP and HTTP for iPXE, kernels and agent images.

pub mod proto;

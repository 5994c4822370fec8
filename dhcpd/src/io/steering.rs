//! Steering: programs that let the kernel bring a client's packets to the worker that owns the client, by `chaddr`.
//!
//! Classic BPF, as [`worker_of`](crate::proto::owner::worker_of) computes it. A group of sockets that share an address (SO_REUSEPORT) spreads only unicasts, so that each
//! gets one by the group's program; a broadcast goes to all of them, and a filter on each lets through what is its own. The two agree, so one client's
//! packets all reach one worker.
//!
//! A filter also leaves a share of the DHCPDISCOVERs while there are far more than can be served ([`super::shedding`]): what it leaves costs the worker nothing.
//!
//! Steering is a hint: a packet that gets to another worker all the same (its scope knows clients by another identity, or the kernel had put several datagrams
//! together) is handed over. What is too short to have a `chaddr` goes to worker 0, which counts it.

use std::io;
use std::os::fd::AsFd;

use super::sys::{Instruction, attach_reuseport_program, attach_socket_filter, detach_socket_filter};
use crate::proto::owner::{WORKER_MULTIPLIER, WORKER_SHIFT};
use crate::proto::view::{FIXED_BYTES, code};

/// Where the last four octets of `chaddr` lie in a DHCP message (RFC 2131 §2).
const CHADDR_WORD_AT: u32 = 30;
const UDP_HEADER_BYTES: u32 = 8;
/// A random number in place of octets of the packet (SKF_AD_RANDOM of <linux/filter.h>).
const RANDOM_AT: u32 = 0xffff_f038;
/// The return value of a filter that keeps the whole packet.
const KEEP: u32 = u32::MAX;

// <linux/bpf_common.h>: class, size or operation, and mode or source together.
const LOAD_WORD: u16 = 0x20;
const LOAD_LENGTH: u16 = 0x80;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const MODULO: u16 = 0x94;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN_ACCUMULATOR: u16 = 0x16;
const RETURN: u16 = 0x06;

const fn step(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

/// Leaves the owner's number in the accumulator; `message_at` is where the DHCP message begins.
const fn owner(message_at: u32, workers: u32) -> [Instruction; 4] {
    [
        step(LOAD_WORD, message_at + CHADDR_WORD_AT),
        step(MULTIPLY, WORKER_MULTIPLIER),
        step(SHIFT_RIGHT, WORKER_SHIFT),
        step(MODULO, workers),
    ]
}

/// Returns the owner's number; the packet begins with the DHCP message. Loading behind its end ends the program with 0.
fn group_program(workers: u32) -> [Instruction; 5] {
    let [a, b, c, d] = owner(0, workers);
    [a, b, c, d, step(RETURN_ACCUMULATOR, 0)]
}

/// Keeps what `worker` owns; the packet begins with the UDP header.
fn filter_program(worker: u32, workers: u32) -> [Instruction; 10] {
    let [a, b, c, d] = owner(UDP_HEADER_BYTES, workers);
    let bytes_min = UDP_HEADER_BYTES + CHADDR_WORD_AT + 4;
    let if_long_enough = Instruction { code: JUMP_IF_AT_LEAST, jump_true: 0, jump_false: 7, operand: bytes_min };
    let if_own = Instruction { code: JUMP_IF_EQUAL, jump_true: 0, jump_false: 1, operand: worker };
    let of_short = if worker == 0 { KEEP } else { 0 };
    let (keep, leave, short) = (step(RETURN, KEEP), step(RETURN, 0), step(RETURN, of_short));
    [step(LOAD_LENGTH, 0), if_long_enough, a, b, c, d, if_own, keep, leave, short]
}

/// Has the kernel bring each unicast to the socket, of the group that `socket` is in, whose worker owns it. The group's sockets must be bound in the workers'
/// order.
///
/// # Errors
/// The kernel takes no such program.
pub fn steer_unicasts(socket: &impl AsFd, workers: usize) -> io::Result<()> {
    if workers > 1 {
        // At most `limit::DHCPD_WORKERS_MAX`.
        attach_reuseport_program(socket, &group_program(workers as u32))?;
    }
    Ok(())
}

/// What the kernel is to keep from a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose packets alone come through: which worker of how many; `None`: everybody's.
    pub own: Option<(usize, usize)>,
    /// How many of 2³² DHCPDISCOVERs are left, by chance. Where the message type is not the first option, as nearly all clients write it, none is.
    pub shed: u32,
}

impl Filter {
    /// Lets through what `worker` of `workers` owns.
    pub fn own(worker: usize, workers: usize) -> Self {
        Self { own: (workers > 1).then_some((worker, workers)), shed: 0 }
    }

    /// Has the kernel filter what reaches `socket`, in place of what it did before.
    ///
    /// # Errors
    /// The kernel takes no such program.
    pub fn attach(self, socket: &impl AsFd) -> io::Result<()> {
        match self {
            Self { own: None, shed: 0 } => detach_socket_filter(socket),
            _ => attach_socket_filter(socket, &self.program()),
        }
    }

    /// The packet begins with the UDP header.
    fn program(self) -> Vec<Instruction> {
        let mut program = Vec::new();
        if self.shed > 0 {
            let type_at = UDP_HEADER_BYTES + FIXED_BYTES as u32;
            let discover = u32::from_be_bytes([0, code::MESSAGE_TYPE, 1, 1]);
            program = vec![
                step(LOAD_LENGTH, 0),
                Instruction { code: JUMP_IF_AT_LEAST, jump_true: 0, jump_false: 6, operand: type_at + 4 },
                step(LOAD_WORD, type_at),
                step(SHIFT_RIGHT, 8),
                Instruction { code: JUMP_IF_EQUAL, jump_true: 0, jump_false: 3, operand: discover },
                step(LOAD_WORD, RANDOM_AT),
                Instruction { code: JUMP_IF_AT_LEAST, jump_true: 1, jump_false: 0, operand: self.shed },
                step(RETURN, 0),
            ];
        }
        match self.own {
            // At most `limit::DHCPD_WORKERS_MAX`.
            Some((worker, workers)) => program.extend(filter_program(worker as u32, workers as u32)),
            None => program.push(step(RETURN, KEEP)),
        }
        program
    }
}

#[cfg(test)]
mod tests;

//! Steering: programs that let the kernel bring a client's packets to the worker that owns the client, by `chaddr`.
//!
//! Classic BPF, as [`worker_of`](crate::proto::owner::worker_of) computes it. A group of sockets that share an address (SO_REUSEPORT) spreads only unicasts, so that each
//! gets one by the group's program; a broadcast goes to all of them, and a filter on each lets through what is its own. The two agree, so one client's
//! packets all reach one worker.
//!
//! It is a hint: a packet that gets to another worker all the same (its scope knows clients by another identity, or the kernel had put several datagrams
//! together) is handed over. What is too short to have a `chaddr` goes to worker 0, which counts it.

use std::io;
use std::os::fd::AsFd;

use super::sys::{Instruction, attach_reuseport_program, attach_socket_filter};
use crate::proto::owner::{WORKER_MULTIPLIER, WORKER_SHIFT};

/// Where the last four octets of `chaddr` lie in a DHCP message (RFC 2131 §2).
const CHADDR_WORD_AT: u32 = 30;
const UDP_HEADER_BYTES: u32 = 8;
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

/// Has the kernel keep from `socket`, the one of `worker`, the broadcasts that other workers own.
///
/// # Errors
/// The kernel takes no such program.
pub fn filter_broadcasts(socket: &impl AsFd, worker: usize, workers: usize) -> io::Result<()> {
    if workers > 1 {
        attach_socket_filter(socket, &filter_program(worker as u32, workers as u32))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

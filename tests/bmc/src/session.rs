//! Packets inside a session: opening what comes, sealing what goes.

use std::time::Instant;

use crate::bmc::RMCP;
use crate::crypt::{Suite, decrypt, encrypt};

/// How far from the highest sequence number heard another may be (6.12.13).
const WINDOW: u32 = 16;

#[derive(Debug)]
pub(crate) struct Session {
    pub suite: Suite,
    pub console_id: u32,
    pub bmc_id: u32,
    pub console_random: [u8; 16],
    pub bmc_random: [u8; 16],
    pub role_and_name: Vec<u8>,
    pub k1: Vec<u8>,
    pub k2: Vec<u8>,
    pub is_active: bool,
    pub is_closing: bool,
    /// The privilege it may be raised to, and the one it has.
    pub privilege_max: u8,
    pub privilege: u8,
    pub heard: Instant,
    sent: u32,
    highest: u32,
    seen: u32,
}

impl Session {
    pub fn new(suite: Suite, console_id: u32, bmc_id: u32, privilege_max: u8, now: Instant) -> Self {
        Self {
            suite,
            console_id,
            bmc_id,
            console_random: [0; 16],
            bmc_random: [0; 16],
            role_and_name: Vec::new(),
            k1: Vec::new(),
            k2: Vec::new(),
            is_active: false,
            is_closing: false,
            privilege_max,
            privilege: 2,
            heard: now,
            sent: 0,
            highest: 0,
            seen: 1,
        }
    }

    /// The message in a packet that is this session's, unharmed and new.
    pub fn open(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let expected = if self.suite == Suite::Zero { 0x00 } else { 0xc0 };
        // Messages and serial over LAN.
        if rest[1] & !1 != expected {
            return None;
        }
        let sequence = u32::from_le_bytes(rest.get(6..10)?.try_into().ok()?);
        let len = usize::from(u16::from_le_bytes(rest.get(10..12)?.try_into().ok()?));
        let payload = rest.get(12..12 + len)?;
        if self.suite == Suite::Zero {
            return (self.accept(sequence) && rest.len() == 12 + len).then(|| payload.to_vec());
        }
        let (covered, code) = rest.split_at_checked(rest.len().checked_sub(self.suite.short())?)?;
        if self.suite.hmac(&self.k1, &[covered])[..code.len()] != *code || covered.len() % 4 != 0 {
            return None;
        }
        let (pad, lengths) = covered.get(12 + len..)?.split_last_chunk::<2>()?;
        if usize::from(lengths[0]) != pad.len() || lengths[1] != 7 || !self.accept(sequence) {
            return None;
        }
        let (iv, blocks) = payload.split_first_chunk::<16>()?;
        let mut plain = blocks.to_vec();
        if plain.is_empty() || !decrypt(&self.k2[..16], iv, &mut plain) {
            return None;
        }
        let pad = usize::from(plain.pop()?);
        let len = plain.len().checked_sub(pad)?;
        plain[len..].iter().zip(1..).all(|(octet, count): (&u8, u8)| *octet == count).then_some(())?;
        plain.truncate(len);
        Some(plain)
    }

    fn accept(&mut self, sequence: u32) -> bool {
        let (ahead, behind) = (sequence.wrapping_sub(self.highest), self.highest.wrapping_sub(sequence));
        if sequence == 0 {
            false
        } else if ahead > 0 && ahead < WINDOW {
            (self.highest, self.seen) = (sequence, self.seen << ahead | 1);
            true
        } else if behind < WINDOW && self.seen >> behind & 1 == 0 {
            self.seen |= 1 << behind;
            true
        } else {
            false
        }
    }

    /// A datagram with this payload: a message (type 0) or serial over LAN (1).
    pub fn seal(&mut self, iv: [u8; 16], payload_type: u8, message: &[u8]) -> Vec<u8> {
        self.sent += 1;
        let payload = if self.suite == Suite::Zero {
            message.to_vec()
        } else {
            let mut plain = message.to_vec();
            let pad = (16 - (plain.len() + 1) % 16) % 16;
            plain.extend(1..=pad as u8);
            plain.push(pad as u8);
            encrypt(&self.k2[..16], &iv, &mut plain);
            [&iv[..], &plain].concat()
        };
        let types = payload_type | if self.suite == Suite::Zero { 0x00 } else { 0xc0 };
        let mut out = [&RMCP[..], &[6, types], &self.console_id.to_le_bytes(), &self.sent.to_le_bytes()].concat();
        out.extend((payload.len() as u16).to_le_bytes());
        out.extend(payload);
        if self.suite != Suite::Zero {
            let pad = (4 - (out.len() - 4 + 2) % 4) % 4;
            out.extend(std::iter::repeat_n(0xff, pad));
            out.extend([pad as u8, 7]);
            let code = self.suite.hmac(&self.k1, &[&out[4..]]);
            out.extend(&code[..self.suite.short()]);
        }
        out
    }
}

//! Packets inside a session: sealing and opening (13.28, 13.29), sequence numbers (6.12.13).
//!
//! It does not know what a message means or which answer is awaited.
//!
//! Invariant: [`Session::open`] changes nothing unless the packet's authentication code matches (suite 0 has none).

use super::handshake::SessionKeys;
use super::packet::{self, PLUS_HEADER_BYTES, PayloadType, RMCP_BYTES, SessionPacket};
use super::reason::DropReason;
use super::suite::{AES_BLOCK_BYTES, CipherSuite, decrypt, encrypt};

/// Octet before the authentication code (13.28.4).
const NEXT_HEADER: u8 = 0x07;
/// How far ahead of the highest sequence number a packet may be, and how far behind (6.12.13).
const WINDOW: u32 = 16;
/// Packets that may be sent in a row without an answer: one more would be beyond the BMC's window, should all have been lost.
pub const UNANSWERED_MAX: u32 = WINDOW - 1;

/// An open session: ids, keys, counters.
#[derive(Debug)]
pub struct Session {
    suite: CipherSuite,
    console_id: u32,
    bmc_id: u32,
    keys: SessionKeys,
    last_sent: u32,
    unanswered: u32,
    window: Window,
}

impl Session {
    /// A session that has just been agreed upon: nothing sent, nothing received.
    pub fn new(suite: CipherSuite, console_id: u32, bmc_id: u32, keys: SessionKeys) -> Self {
        Self { suite, console_id, bmc_id, keys, last_sent: 0, unanswered: 0, window: Window::default() }
    }

    /// The BMC's id of this session, as Close Session wants it.
    pub fn bmc_id(&self) -> u32 {
        self.bmc_id
    }

    /// Whether the BMC would still take the next packet if it had heard none of those it has not answered.
    pub fn may_send(&self) -> bool {
        self.unanswered < UNANSWERED_MAX
    }

    /// Appends the whole datagram that carries an IPMI message, encrypted with the initialisation vector `iv` and signed (but for
    /// suite 0), under the next sequence number.
    pub fn seal(&mut self, iv: &[u8; AES_BLOCK_BYTES], message: &[u8], out: &mut Vec<u8>) {
        self.seal_payload(PayloadType::Ipmi, iv, message, out);
    }

    /// [`Session::seal`] for any type of payload.
    pub fn seal_payload(
        &mut self,
        payload_type: PayloadType,
        iv: &[u8; AES_BLOCK_BYTES],
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        // Zero is for packets outside a session.
        self.last_sent = self.last_sent.checked_add(1).unwrap_or(1);
        self.unanswered += 1;
        if !self.is_protected() {
            packet::encode_session_header(out, (payload_type, false), self.bmc_id, self.last_sent, message.len());
            out.extend_from_slice(message);
            return;
        }
        let pad = (AES_BLOCK_BYTES - (message.len() + 1) % AES_BLOCK_BYTES) % AES_BLOCK_BYTES;
        let len = AES_BLOCK_BYTES + message.len() + pad + 1;
        let start = out.len();
        packet::encode_session_header(out, (payload_type, true), self.bmc_id, self.last_sent, len);
        out.extend_from_slice(iv);
        let payload = out.len();
        out.extend_from_slice(message);
        out.extend(1..=pad as u8);
        out.push(pad as u8);
        encrypt(&self.keys.aes_key, iv, &mut out[payload..]);
        // From authentication type to next header: a multiple of four octets.
        let covered = start + RMCP_BYTES;
        let pad = (4 - (out.len() - covered + 2) % 4) % 4;
        out.extend(std::iter::repeat_n(0xff, pad));
        out.extend_from_slice(&[pad as u8, NEXT_HEADER]);
        let algorithms = self.suite.algorithms();
        let code = algorithms.digest.code(self.keys.k1.as_bytes(), &[&out[covered..]]);
        out.extend_from_slice(&code.as_bytes()[..algorithms.packet_code_bytes]);
    }

    fn is_protected(&self) -> bool {
        self.suite.algorithms().packet_code_bytes > 0
    }

    /// Authenticates and decrypts a packet into `message` (cleared first); the reason to drop it if that fails.
    pub fn open(&mut self, packet: &SessionPacket<'_>, message: &mut Vec<u8>) -> Result<(), DropReason> {
        message.clear();
        if packet.session_id != self.console_id {
            return Err(DropReason::ForeignSession);
        }
        if !self.is_protected() {
            return self.open_plain(packet, message);
        }
        if !packet.authenticated {
            return Err(DropReason::NotAuthenticated);
        }
        if !packet.encrypted {
            return Err(DropReason::NotEncrypted);
        }
        self.authenticate(packet)?;
        self.window.accept(packet.sequence)?;
        self.unanswered = 0;
        self.decrypt(packet.payload, message)
    }

    /// Suite 0: what comes is what is read.
    fn open_plain(&mut self, packet: &SessionPacket<'_>, message: &mut Vec<u8>) -> Result<(), DropReason> {
        if packet.authenticated || packet.encrypted {
            return Err(DropReason::Protected);
        }
        if packet.covered.len() != PLUS_HEADER_BYTES + packet.payload.len() {
            return Err(DropReason::TrailingOctets);
        }
        self.window.accept(packet.sequence)?;
        self.unanswered = 0;
        message.extend_from_slice(packet.payload);
        Ok(())
    }

    /// Trailer: pad of FFh, pad length, next header, authentication code.
    fn authenticate(&self, packet: &SessionPacket<'_>) -> Result<(), DropReason> {
        let algorithms = self.suite.algorithms();
        let trailer = packet.covered.len() - PLUS_HEADER_BYTES - packet.payload.len();
        let Some(pad_and_lengths) = trailer.checked_sub(algorithms.packet_code_bytes).filter(|len| *len >= 2) else {
            return Err(DropReason::Truncated);
        };
        let (covered, code) = packet.covered.split_at(packet.covered.len() - algorithms.packet_code_bytes);
        if !algorithms.digest.verify(self.keys.k1.as_bytes(), &[covered], code) {
            return Err(DropReason::BadAuthCode);
        }
        let trailer = &covered[covered.len() - pad_and_lengths..];
        let (pad, lengths) = trailer.split_at(pad_and_lengths - 2);
        if lengths != [pad.len() as u8, NEXT_HEADER] || pad.len() > 3 || pad.iter().any(|octet| *octet != 0xff) {
            return Err(DropReason::BadIntegrityPadding);
        }
        Ok(())
    }

    /// Payload: initialisation vector, then blocks that end in pad 1, 2, 3 … and the pad's length.
    fn decrypt(&self, payload: &[u8], message: &mut Vec<u8>) -> Result<(), DropReason> {
        let bad = DropReason::BadConfidentialityPadding;
        let (iv, blocks) = payload.split_first_chunk::<AES_BLOCK_BYTES>().ok_or(bad)?;
        message.extend_from_slice(blocks);
        if blocks.is_empty() || !decrypt(&self.keys.aes_key, iv, message) {
            message.clear();
            return Err(bad);
        }
        let pad = usize::from(message.pop().expect("at least one block was decrypted"));
        let len = message.len().checked_sub(pad).filter(|_| pad < AES_BLOCK_BYTES);
        let whole = len.filter(|len| message[*len..].iter().zip(1..).all(|(octet, count)| *octet == count));
        message.truncate(whole.unwrap_or(0));
        whole.map(|_| ()).ok_or(bad)
    }
}

/// The sequence numbers received: the highest, and which of the `WINDOW` before it. The first authentic packet
/// places it, because some BMCs do not begin at 1 and an old session's packets have other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    highest: u32,
    /// Bit n: `highest - n` was received.
    seen: u32,
}

impl Window {
    /// Marks a number as received; the reason to drop its packet if it was before or is too far away.
    pub fn accept(&mut self, sequence: u32) -> Result<(), DropReason> {
        if sequence == 0 {
            return Err(DropReason::OutOfWindow);
        }
        if self.seen == 0 {
            *self = Self { highest: sequence, seen: 1 };
            return Ok(());
        }
        let ahead = sequence.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(sequence);
        if ahead == 0 {
            Err(DropReason::Replayed)
        } else if ahead <= WINDOW {
            *self = Self { highest: sequence, seen: self.seen << ahead | 1 };
            Ok(())
        } else if behind > WINDOW {
            Err(DropReason::OutOfWindow)
        } else if self.seen >> behind & 1 == 1 {
            Err(DropReason::Replayed)
        } else {
            self.seen |= 1 << behind;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_accepts_each_number_once_and_only_nearby_ones() {
        type Step = (u32, Result<(), DropReason>);
        let (replayed, out) = (Err(DropReason::Replayed), Err(DropReason::OutOfWindow));
        let cases: [(&str, &[Step]); 5] = [
            ("in order", &[(1, Ok(())), (2, Ok(())), (3, Ok(()))]),
            ("out of order", &[(1, Ok(())), (4, Ok(())), (2, Ok(())), (3, Ok(())), (2, replayed), (4, replayed)]),
            ("far ahead", &[(1, Ok(())), (17, Ok(())), (34, out), (33, Ok(()))]),
            ("far behind", &[(100, Ok(())), (84, Ok(())), (83, out), (84, replayed), (0, out)]),
            ("round the end", &[(u32::MAX, Ok(())), (2, Ok(())), (u32::MAX, replayed), (1, Ok(())), (0, out)]),
        ];
        for (name, steps) in cases {
            let mut window = Window::default();
            for (sequence, expected) in steps {
                let before = window;
                assert_eq!(window.accept(*sequence), *expected, "{name}: {sequence}");
                assert!(expected.is_ok() || window == before, "{name}: a refused number changes nothing");
            }
        }
    }
}

//! A BMC as a value: enough of IPMI 2.0, cipher suite 3, to step every fault through it without a socket.
//!
//! Written against the specification and sharing nothing with the client but the wire; `ipmi_sim.rs` has ipmitool
//! talk to it, so that it cannot share the client's mistakes.

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

const GUID: [u8; 16] = *b"reveille-bmc-001";

/// What the BMC does, and what was done to it.
#[derive(Debug, Default)]
pub struct FakeBmc {
    pub user: String,
    pub password: Vec<u8>,
    pub power: bool,
    /// Requests inside a session that were carried out: network function, command, data.
    pub carried_out: Vec<(u8, u8, Vec<u8>)>,
    /// Sessions opened so far.
    pub opened: u32,
    /// Sessions closed by request so far.
    pub closed: u32,
    /// Answer so many requests with "BMC busy" before carrying one out.
    pub busy: u32,
    /// Answer these commands with this completion code.
    pub refuse: Option<(u8, u8, u8)>,
    /// Say that IPMI 2.0 is not spoken here.
    pub only_ipmi_1_5: bool,
    /// Answer this payload type's request with this status.
    pub refuse_setup: Option<(u8, u8)>,
    /// Ignore a RAKP 3 for a session that is active already, as `ipmi_sim` does.
    pub answers_rakp3_once: bool,
    /// RAKP 3 messages that told us to give up.
    pub aborts: u32,
    pub session: Option<FakeSession>,
    randoms: u8,
}

#[derive(Debug, Clone)]
pub struct FakeSession {
    pub console_id: u32,
    pub bmc_id: u32,
    console_random: [u8; 16],
    bmc_random: [u8; 16],
    role_and_name: Vec<u8>,
    pub k1: [u8; 20],
    pub k2: [u8; 20],
    pub sent: u32,
    pub active: bool,
}

/// HMAC-SHA1 over the parts.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

fn le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

/// Two's complement checksum.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, octet| sum.wrapping_sub(*octet))
}

/// A whole IPMI response to remote software.
pub fn response(netfn: u8, rq_seq_lun: u8, command: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0x81, netfn << 2];
    message.push(checksum(&message));
    let start = message.len();
    message.extend([0x20, rq_seq_lun, command]);
    message.extend(body);
    message.push(checksum(&message[start..]));
    message
}

impl FakeSession {
    /// A datagram of this session from the BMC: every part can be wrong on purpose.
    pub fn seal(&self, sequence: u32, message: &[u8], damage: Damage) -> Vec<u8> {
        let mut plain = message.to_vec();
        let pad = (16 - (plain.len() + 1) % 16) % 16;
        plain.extend(1..=pad as u8);
        plain.push(pad as u8);
        if damage == Damage::Pad {
            let at = plain.len() - 2;
            plain[at] ^= 0x80;
        }
        if damage == Damage::PadLength {
            *plain.last_mut().unwrap() = 200;
        }
        let iv = [0xa5; 16];
        let len = plain.len();
        cbc::Encryptor::<aes::Aes128>::new(self.k2[..16].try_into().unwrap(), &iv.into())
            .encrypt_padded::<NoPadding>(&mut plain, len)
            .unwrap();
        let mut payload = [&iv[..], &plain].concat();
        if damage == Damage::HalfBlock {
            payload.truncate(payload.len() - 8);
        }
        let types = match damage {
            Damage::NotAuthenticated => 0x80,
            Damage::NotEncrypted => 0x40,
            _ => 0xc0,
        };
        let id = if damage == Damage::ForeignSession { !self.console_id } else { self.console_id };
        let mut covered = vec![0x06, types];
        covered.extend(id.to_le_bytes());
        covered.extend(sequence.to_le_bytes());
        covered.extend((payload.len() as u16).to_le_bytes());
        covered.extend(&payload);
        let pad = (4 - (covered.len() + 2) % 4) % 4;
        covered.extend(std::iter::repeat_n(if damage == Damage::IntegrityPad { 0 } else { 0xff }, pad));
        covered.extend([pad as u8, if damage == Damage::NextHeader { 6 } else { 7 }]);
        let mut code = hmac(&self.k1, &[&covered]);
        if damage == Damage::AuthCode {
            code[11] ^= 1;
        }
        [&[0x06, 0x00, 0xff, 0x07], &covered[..], &code[..12]].concat()
    }
}

/// What is wrong with a sealed datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    None,
    AuthCode,
    NotAuthenticated,
    NotEncrypted,
    ForeignSession,
    Pad,
    PadLength,
    HalfBlock,
    IntegrityPad,
    NextHeader,
}

impl FakeBmc {
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.as_bytes().to_vec(), ..Self::default() }
    }

    /// Loses power for a moment: sessions are gone, the machine stays as it is.
    pub fn restart(&mut self) {
        self.session = None;
    }

    /// One datagram in, at most one out.
    pub fn handle(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        assert_eq!(datagram[..4], [0x06, 0x00, 0xff, 0x07], "RMCP");
        let rest = &datagram[4..];
        match (rest[0], rest[1]) {
            (0x00, _) => {
                let message = &rest[10..];
                assert_eq!(usize::from(rest[9]), message.len());
                let body = if self.only_ipmi_1_5 { vec![0xcc] } else { vec![0, 1, 0x97, 0x06, 0x03, 0, 0, 0, 0] };
                let answer = response(0x07, message[4], message[5], &body);
                Some([&[6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, answer.len() as u8], &answer[..]].concat())
            }
            (0x06, kind @ 0x10..=0x14) => {
                let payload = &rest[12..];
                assert_eq!(usize::from(u16::from_le_bytes([rest[10], rest[11]])), payload.len());
                let answer = self.setup(kind, payload)?;
                let mut out = vec![6, 0, 0xff, 7, 6, kind + 1, 0, 0, 0, 0, 0, 0, 0, 0];
                out.extend((answer.len() as u16).to_le_bytes());
                out.extend(answer);
                Some(out)
            }
            (0x06, 0xc0) => self.command(rest),
            other => panic!("a client should not send this: {other:02x?}"),
        }
    }

    fn setup(&mut self, kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
        let tag = payload[0];
        if let Some((_, status)) = self.refuse_setup.filter(|(refused, _)| *refused == kind) {
            let id = self.session.as_ref().map_or(0, |session| session.console_id);
            return Some([&[tag, status, 0, 0], &id.to_le_bytes()[..]].concat());
        }
        match kind {
            0x10 => {
                self.opened += 1;
                let console_id = le(&payload[4..]);
                let bmc_id = 0x1000 + self.opened;
                self.session = Some(FakeSession {
                    console_id,
                    bmc_id,
                    console_random: [0; 16],
                    bmc_random: [0; 16],
                    role_and_name: Vec::new(),
                    k1: [0; 20],
                    k2: [0; 20],
                    sent: 0,
                    active: false,
                });
                let head = [tag, 0, 4, 0];
                Some([&head, &console_id.to_le_bytes(), &bmc_id.to_le_bytes(), &payload[8..32]].concat())
            }
            0x12 => {
                let Some(session) = self.session.as_mut().filter(|session| session.bmc_id == le(&payload[4..])) else {
                    return Some(vec![tag, 0x02, 0, 0, 0, 0, 0, 0]);
                };
                self.randoms += 1;
                session.console_random = payload[8..24].try_into().unwrap();
                session.bmc_random = [self.randoms; 16];
                session.role_and_name = [&payload[24..25], &payload[27..]].concat();
                let head = [&[tag, 0, 0, 0], &session.console_id.to_le_bytes()[..]].concat();
                if payload[28..] != *self.user.as_bytes() {
                    return Some([&[tag, 0x0d], &head[2..]].concat());
                }
                let code = hmac(
                    &self.password,
                    &[
                        &session.console_id.to_le_bytes(),
                        &session.bmc_id.to_le_bytes(),
                        &session.console_random,
                        &session.bmc_random,
                        &GUID,
                        &session.role_and_name,
                    ],
                );
                Some([&head[..], &session.bmc_random, &GUID, &code].concat())
            }
            0x14 => {
                if payload[1] != 0 {
                    self.aborts += 1;
                    self.session = None;
                    return None;
                }
                let session = self.session.as_mut().filter(|session| session.bmc_id == le(&payload[4..]))?;
                if session.active && self.answers_rakp3_once {
                    return None;
                }
                let console_id = session.console_id.to_le_bytes();
                let proof = hmac(&self.password, &[&session.bmc_random, &console_id, &session.role_and_name]);
                if payload[8..] != proof {
                    return Some([&[tag, 0x0f, 0, 0], &console_id[..]].concat());
                }
                let parts: [&[u8]; 3] = [&session.console_random, &session.bmc_random, &session.role_and_name];
                let sik = hmac(&self.password, &parts);
                session.k1 = hmac(&sik, &[&[1; 20]]);
                session.k2 = hmac(&sik, &[&[2; 20]]);
                session.active = true;
                let check = hmac(&sik, &[&session.console_random, &session.bmc_id.to_le_bytes(), &GUID]);
                Some([&[tag, 0, 0, 0], &console_id[..], &check[..12]].concat())
            }
            _ => None,
        }
    }

    fn command(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let session = self.session.as_mut().filter(|session| session.active && session.bmc_id == le(&rest[2..]))?;
        let (covered, code) = rest.split_at(rest.len() - 12);
        assert_eq!(hmac(&session.k1, &[covered])[..12], *code, "the client's authentication code");
        assert_eq!(covered.len() % 4, 0, "the signed part is whole words");
        let len = usize::from(u16::from_le_bytes([rest[10], rest[11]]));
        let (iv, blocks) = rest[12..12 + len].split_at(16);
        let mut plain = blocks.to_vec();
        cbc::Decryptor::<aes::Aes128>::new(session.k2[..16].try_into().unwrap(), iv.try_into().unwrap())
            .decrypt_padded::<NoPadding>(&mut plain)
            .unwrap();
        let pad = usize::from(plain.pop().unwrap());
        let message = &plain[..plain.len() - pad];
        assert_eq!((checksum(&message[..2]), checksum(&message[3..message.len() - 1])), (message[2], *message.last()?));
        let (netfn, rq_seq, command) = (message[1] >> 2, message[4], message[5]);
        let data = message[6..message.len() - 1].to_vec();
        let body = self.carry_out(netfn, command, data);
        let session = self.session.as_mut()?;
        session.sent += 1;
        let datagram = session.seal(session.sent, &response(netfn | 1, rq_seq, command, &body), Damage::None);
        if (netfn, command) == (0x06, 0x3c) {
            self.closed += 1;
            self.session = None;
        }
        Some(datagram)
    }

    fn carry_out(&mut self, netfn: u8, command: u8, data: Vec<u8>) -> Vec<u8> {
        if let Some((.., code)) = self.refuse.filter(|(n, c, _)| (*n, *c) == (netfn, command)) {
            return vec![code];
        }
        if netfn == 0x00 && self.busy > 0 {
            self.busy -= 1;
            return vec![0xc0];
        }
        let body = match (netfn, command) {
            (0x06, 0x3b) => vec![0, data[0]],
            (0x06, 0x01) => vec![0, 0x23, 1, 9, 0x48, 2, 0x9f, 0x91, 0x12, 0, 2, 0x0f],
            (0x06, 0x3c) | (0x00, 0x08) => vec![0],
            (0x00, 0x01) => vec![0, 0x20 | u8::from(self.power), 0, 0x40],
            (0x00, 0x02) => {
                self.power = data[0] != 0;
                vec![0]
            }
            _ => return vec![0xc1],
        };
        self.carried_out.push((netfn, command, data));
        body
    }
}

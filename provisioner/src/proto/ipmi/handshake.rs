//! Open Session and RAKP 1–4: payloads (13.17–13.24), authentication codes and session keys (13.31, 13.32).
//!
//! It keeps no state and no retries: [`super::Client`] does. [`Exchange::keys`] takes K_g, in whose place the user's key stands
//! where a BMC has none.

use zeroize::Zeroizing;

use super::completion::RmcpStatus;
use super::credentials::{Privilege, User};
use super::reason::DropReason;
use super::suite::{Algorithms, CipherSuite, Code};

/// RAKP 1, role octet: look the user up by name alone, not by name and privilege.
const NAME_ONLY_LOOKUP: u8 = 0x10;

/// A message of the BMC in the key exchange: the part every one begins with, and the rest if the status is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<T> {
    /// Message tag of the request.
    pub tag: u8,
    /// Our session id; some BMCs leave it zero when they refuse.
    pub console_id: u32,
    /// The rest, or why the BMC refused.
    pub body: Result<T, RmcpStatus>,
}

/// Open Session response, the part after our session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSession {
    /// The BMC's session id.
    pub bmc_id: u32,
    /// Authentication, integrity and confidentiality algorithms that the BMC chose.
    pub algorithms: [u8; 3],
}

/// RAKP 2, the part after our session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rakp2<'a> {
    /// The BMC's random number.
    pub bmc_random: [u8; 16],
    /// The BMC's GUID.
    pub bmc_guid: [u8; 16],
    /// Key exchange authentication code.
    pub code: &'a [u8],
}

/// RAKP 4, the part after our session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rakp4<'a> {
    /// Integrity check value.
    pub check: &'a [u8],
}

/// Writes an Open Session request.
pub fn encode_open_session(out: &mut Vec<u8>, tag: u8, privilege: Privilege, console_id: u32, suite: CipherSuite) {
    let Algorithms { authentication, integrity, confidentiality, .. } = suite.algorithms();
    out.extend_from_slice(&[tag, privilege as u8, 0, 0]);
    out.extend_from_slice(&console_id.to_le_bytes());
    for (kind, algorithm) in [(0, authentication), (1, integrity), (2, confidentiality)] {
        out.extend_from_slice(&[kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
}

/// Reads an Open Session response.
pub fn decode_open_session(payload: &[u8]) -> Result<Answer<OpenSession>, DropReason> {
    answer(payload, |rest| {
        let rest: &[u8; 28] = rest.try_into().map_err(|_| length(rest, 28))?;
        Ok(OpenSession {
            bmc_id: u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]),
            algorithms: [rest[8] & 0x3f, rest[16] & 0x3f, rest[24] & 0x3f],
        })
    })
}

/// Reads RAKP 2.
pub fn decode_rakp2(payload: &[u8], suite: CipherSuite) -> Result<Answer<Rakp2<'_>>, DropReason> {
    let code_bytes = suite.algorithms().digest_bytes;
    answer(payload, |rest| {
        if rest.len() != 32 + code_bytes {
            return Err(length(rest, 32 + code_bytes));
        }
        let array = |at: usize| std::array::from_fn(|i| rest[at + i]);
        Ok(Rakp2 { bmc_random: array(0), bmc_guid: array(16), code: &rest[32..] })
    })
}

/// Reads RAKP 4.
pub fn decode_rakp4(payload: &[u8], suite: CipherSuite) -> Result<Answer<Rakp4<'_>>, DropReason> {
    let check_bytes = suite.algorithms().rakp4_check_bytes;
    answer(payload, |rest| {
        if rest.len() != check_bytes {
            return Err(length(rest, check_bytes));
        }
        Ok(Rakp4 { check: rest })
    })
}

fn answer<'a, T>(
    payload: &'a [u8],
    body: impl FnOnce(&'a [u8]) -> Result<T, DropReason>,
) -> Result<Answer<T>, DropReason> {
    let (head, rest) = payload.split_at_checked(8).ok_or(DropReason::Truncated)?;
    let status = RmcpStatus(head[1]);
    let body = if status == RmcpStatus::OK { Ok(body(rest)?) } else { Err(status) };
    Ok(Answer { tag: head[0], console_id: u32::from_le_bytes([head[4], head[5], head[6], head[7]]), body })
}

fn length(rest: &[u8], wanted: usize) -> DropReason {
    if rest.len() < wanted { DropReason::Truncated } else { DropReason::TrailingOctets }
}

/// What both sides know once RAKP 2 has come; every code and key follows from it. 13.31 names the parts
/// SID_M, SID_C, R_M, R_C, GUID_C, Role_M, ULength_M and UName_M.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The suite asked for and granted.
    pub suite: CipherSuite,
    /// Our session id, SID_M.
    pub console_id: u32,
    /// The BMC's session id, SID_C.
    pub bmc_id: u32,
    /// Our random number, R_M.
    pub console_random: [u8; 16],
    /// The BMC's random number, R_C; zero before RAKP 2.
    pub bmc_random: [u8; 16],
    /// The BMC's GUID, GUID_C; zero before RAKP 2.
    pub bmc_guid: [u8; 16],
    /// The privilege asked for; with the lookup bit it is Role_M.
    pub privilege: Privilege,
    /// The user's name.
    pub user: User,
}

impl Exchange {
    fn role(&self) -> u8 {
        self.privilege as u8 | NAME_ONLY_LOOKUP
    }

    fn name(&self) -> ([u8; 2], &[u8]) {
        let user = self.user.as_bytes();
        ([self.role(), user.len() as u8], user)
    }

    /// Writes RAKP 1.
    pub fn encode_rakp1(&self, out: &mut Vec<u8>, tag: u8) {
        out.extend_from_slice(&[tag, 0, 0, 0]);
        out.extend_from_slice(&self.bmc_id.to_le_bytes());
        out.extend_from_slice(&self.console_random);
        let ([role, len], user) = self.name();
        out.extend_from_slice(&[role, 0, 0, len]);
        out.extend_from_slice(user);
    }

    /// True if the code in RAKP 2 was made with the same user key.
    pub fn verify_rakp2(&self, user_key: &[u8], code: &[u8]) -> bool {
        let (role, user) = self.name();
        let ids = [self.console_id.to_le_bytes(), self.bmc_id.to_le_bytes()].concat();
        let parts: [&[u8]; 6] = [&ids, &self.console_random, &self.bmc_random, &self.bmc_guid, &role, user];
        self.suite.algorithms().digest.verify(user_key, &parts, code)
    }

    /// Writes RAKP 3 with our proof.
    pub fn encode_rakp3(&self, out: &mut Vec<u8>, tag: u8, user_key: &[u8]) {
        let (role, user) = self.name();
        let parts: [&[u8]; 4] = [&self.bmc_random, &self.console_id.to_le_bytes(), &role, user];
        let code = self.suite.algorithms().digest.code(user_key, &parts);
        self.encode_rakp3_head(out, tag, RmcpStatus::OK);
        out.extend_from_slice(code.as_bytes());
    }

    /// Writes the RAKP 3 that tells the BMC to forget the exchange.
    pub fn encode_rakp3_abort(&self, out: &mut Vec<u8>, tag: u8) {
        self.encode_rakp3_head(out, tag, RmcpStatus::INVALID_CHECK);
    }

    fn encode_rakp3_head(&self, out: &mut Vec<u8>, tag: u8, status: RmcpStatus) {
        out.extend_from_slice(&[tag, status.0, 0, 0]);
        out.extend_from_slice(&self.bmc_id.to_le_bytes());
    }

    /// The session's keys, from the key that stands for K_g.
    pub fn keys(&self, kg: &[u8]) -> SessionKeys {
        let digest = self.suite.algorithms().digest;
        let (role, user) = self.name();
        let sik = digest.code(kg, &[&self.console_random, &self.bmc_random, &role, user]);
        // 13.32: constants of 20 octets, whatever the digest.
        let k1 = digest.code(sik.as_bytes(), &[&[0x01; 20]]);
        let k2 = digest.code(sik.as_bytes(), &[&[0x02; 20]]);
        let mut aes_key = Zeroizing::new([0; 16]);
        // Suite 0 has neither keys nor anything to encrypt.
        if let Some(key) = k2.as_bytes().first_chunk::<16>() {
            aes_key.copy_from_slice(key);
        }
        SessionKeys { sik, k1, aes_key }
    }

    /// True if the check value in RAKP 4 was made with the same session integrity key.
    pub fn verify_rakp4(&self, keys: &SessionKeys, check: &[u8]) -> bool {
        let algorithms = self.suite.algorithms();
        let parts: [&[u8]; 3] = [&self.console_random, &self.bmc_id.to_le_bytes(), &self.bmc_guid];
        check.len() == algorithms.rakp4_check_bytes && algorithms.digest.verify(keys.sik.as_bytes(), &parts, check)
    }
}

/// Keys of one session; wiped when dropped, never printed.
#[derive(Clone)]
pub struct SessionKeys {
    sik: Code,
    /// K1: signs packets.
    pub k1: Code,
    /// The first 16 octets of K2: encrypts payloads.
    pub aes_key: Zeroizing<[u8; 16]>,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys(…)")
    }
}

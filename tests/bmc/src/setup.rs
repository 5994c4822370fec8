//! Open Session and RAKP 1–4 (13.17–13.24), the BMC's side.

use std::time::Instant;

use crate::bmc::Bmc;
use crate::crypt::Suite;
use crate::session::Session;

const NO_SLOT: u8 = 0x01;
const INVALID_SESSION: u8 = 0x02;
const NO_PRIVILEGE: u8 = 0x0a;
const UNKNOWN_USER: u8 = 0x0d;
const BAD_CHECK: u8 = 0x0f;
const NO_SUITE: u8 = 0x11;

fn le(octets: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(..4)?.try_into().ok()?))
}

fn refusal(tag: u8, status: u8, console_id: u32) -> Option<Vec<u8>> {
    Some([&[tag, status, 0, 0], &console_id.to_le_bytes()[..]].concat())
}

/// The payload of the answer.
pub(crate) fn handle(bmc: &mut Bmc, now: Instant, kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
    match kind {
        0x10 => open_session(bmc, now, payload),
        0x12 => rakp1(bmc, now, payload),
        0x14 => rakp3(bmc, now, payload),
        _ => None,
    }
}

fn open_session(bmc: &mut Bmc, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
    let &[tag, privilege, _, _, ref rest @ ..] = payload else { return None };
    let console_id = le(rest)?;
    let algorithms = rest.get(4..28)?;
    let asked = [algorithms[4] & 0x3f, algorithms[12] & 0x3f, algorithms[20] & 0x3f];
    let Some(suite) = bmc.personality.suites.iter().copied().find(|suite| suite.algorithms() == asked) else {
        return refusal(tag, NO_SUITE, console_id);
    };
    if bmc.sessions.len() >= bmc.personality.slots {
        // A key exchange that was begun and left lying makes room; a session in use does not.
        match bmc.sessions.iter().position(|session| !session.is_active) {
            Some(at) => _ = bmc.sessions.remove(at),
            None => {
                bmc.counts.full += 1;
                return refusal(tag, NO_SLOT, console_id);
            }
        }
    }
    let bmc_id = loop {
        let id = bmc.random.bits() as u32;
        if id != 0 && bmc.sessions.iter().all(|session| session.bmc_id != id) {
            break id;
        }
    };
    let privilege = if privilege == 0 { bmc.personality.privilege_max } else { privilege };
    bmc.sessions.push(Session::new(suite, console_id, bmc_id, privilege, now));
    Some([&[tag, 0, privilege, 0], &console_id.to_le_bytes(), &bmc_id.to_le_bytes(), algorithms].concat())
}

fn rakp1(bmc: &mut Bmc, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
    let (&tag, id) = (payload.first()?, le(payload.get(4..)?)?);
    let random: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
    let (&role, &len, name) = (payload.get(24)?, payload.get(27)?, payload.get(28..)?);
    if name.len() != usize::from(len) {
        return None;
    }
    let Some(at) = bmc.sessions.iter().position(|session| session.bmc_id == id && !session.is_active) else {
        return refusal(tag, INVALID_SESSION, 0);
    };
    let console_id = bmc.sessions[at].console_id;
    let status = match () {
        () if name != bmc.personality.user.as_bytes() => UNKNOWN_USER,
        () if role & 0x0f > bmc.personality.privilege_max => NO_PRIVILEGE,
        () => 0,
    };
    if status != 0 {
        bmc.sessions.remove(at);
        return refusal(tag, status, console_id);
    }
    let bmc_random = bmc.random.octets();
    let session = &mut bmc.sessions[at];
    session.heard = now;
    session.console_random = random;
    session.bmc_random = bmc_random;
    session.role_and_name = [&[role, len], name].concat();
    let ids = [session.console_id.to_le_bytes(), session.bmc_id.to_le_bytes()].concat();
    let parts: [&[u8]; 5] = [&ids, &random, &bmc_random, &bmc.guid, &session.role_and_name];
    let code = session.suite.hmac(&user_key(&bmc.personality.password), &parts);
    Some([&[tag, 0, 0, 0], &console_id.to_le_bytes()[..], &bmc_random, &bmc.guid, &code].concat())
}

fn rakp3(bmc: &mut Bmc, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
    let &[tag, status, _, _, ref rest @ ..] = payload else { return None };
    let id = le(rest)?;
    let Some(at) = bmc.sessions.iter().position(|session| session.bmc_id == id) else {
        return refusal(tag, INVALID_SESSION, 0);
    };
    if status != 0 {
        bmc.sessions.remove(at);
        return None;
    }
    let personality = bmc.personality.clone();
    let session = &mut bmc.sessions[at];
    let console_id = session.console_id.to_le_bytes();
    let user_key = user_key(&personality.password);
    let proof = session.suite.hmac(&user_key, &[&session.bmc_random, &console_id, &session.role_and_name]);
    if rest[4..] != proof {
        let refused = refusal(tag, BAD_CHECK, session.console_id);
        bmc.sessions.remove(at);
        return refused;
    }
    let kg = personality.kg.unwrap_or(user_key);
    let sik = session.suite.hmac(&kg, &[&session.console_random, &session.bmc_random, &session.role_and_name]);
    if !session.is_active {
        session.k1 = session.suite.hmac(&sik, &[&[1; 20]]);
        session.k2 = session.suite.hmac(&sik, &[&[2; 20]]);
        session.is_active = true;
        session.heard = now;
        bmc.counts.opened += 1;
    }
    let check = session.suite.hmac(&sik, &[&session.console_random, &session.bmc_id.to_le_bytes(), &bmc.guid]);
    let short = if session.suite == Suite::Zero { 0 } else { session.suite.short() };
    Some([&[tag, 0, 0, 0], &console_id[..], &check[..short]].concat())
}

/// A user's key is the password padded to 20 octets.
fn user_key(password: &[u8]) -> [u8; 20] {
    let mut key = [0; 20];
    key[..password.len()].copy_from_slice(password);
    key
}

//! What the BMC does: commands outside and inside sessions.

use std::time::Instant;

use crate::bmc::Bmc;
use crate::records;

const OK: u8 = 0x00;
const BUSY: u8 = 0xc0;
const UNKNOWN: u8 = 0xc1;
const WRONG_LENGTH: u8 = 0xc7;
const ABSENT: u8 = 0xcb;
const INVALID: u8 = 0xcc;
const NO_PRIVILEGE: u8 = 0xd4;

/// A request, taken out of its message.
struct Request<'a> {
    netfn: u8,
    lun: u8,
    from: u8,
    rq_seq_lun: u8,
    command: u8,
    data: &'a [u8],
}

fn checksum(octets: &[u8]) -> u8 {
    octets.iter().fold(0u8, |sum, octet| sum.wrapping_sub(*octet))
}

fn decode(message: &[u8]) -> Option<Request<'_>> {
    let (head, rest) = message.split_first_chunk::<3>()?;
    let (body, [sum]) = rest.split_last_chunk::<1>()?;
    if head[0] != 0x20 || checksum(&head[..2]) != head[2] || checksum(body) != *sum {
        return None;
    }
    let &[from, rq_seq_lun, command, ref data @ ..] = body else { return None };
    Some(Request { netfn: head[1] >> 2, lun: head[1] & 3, from, rq_seq_lun, command, data })
}

fn encode(request: &Request<'_>, body: &[u8]) -> Vec<u8> {
    let mut message = vec![request.from, (request.netfn | 1) << 2];
    message.push(checksum(&message));
    message.extend([0x20, request.rq_seq_lun & 0xfc | request.lun, request.command]);
    message.extend(body);
    message.push(checksum(&message[3..]));
    message
}

/// What may be asked without a session.
pub(crate) fn outside_session(bmc: &mut Bmc, message: &[u8]) -> Option<Vec<u8>> {
    let request = decode(message)?;
    let body = match (request.netfn, request.command) {
        (0x06, 0x38) if bmc.personality.only_ipmi_1_5 => vec![INVALID],
        (0x06, 0x38) => {
            let kg = if bmc.personality.kg.is_some() { 0x20 } else { 0 };
            vec![OK, 1, 0x80, 0x04 | kg, 0x02, 0, 0, 0, 0]
        }
        (0x06, 0x54) if bmc.personality.lists_suites => cipher_suites(bmc, request.data),
        (0x06, 0x37) => [&[OK][..], &bmc.guid].concat(),
        _ => vec![UNKNOWN],
    };
    Some(encode(&request, &body))
}

fn cipher_suites(bmc: &Bmc, data: &[u8]) -> Vec<u8> {
    let &[_, _, index] = data else { return vec![WRONG_LENGTH] };
    let record = |suite: &crate::Suite| {
        let [authentication, integrity, confidentiality] = suite.algorithms();
        [0xc0, suite.id(), authentication, 0x40 | integrity, 0x80 | confidentiality]
    };
    let list: Vec<u8> = bmc.personality.suites.iter().flat_map(record).collect();
    let part = list.chunks(16).nth(usize::from(index & 0x3f)).unwrap_or_default();
    [&[OK, 1], part].concat()
}

/// The message that answers; `None` where there is nothing to say.
pub(crate) fn in_session(bmc: &mut Bmc, now: Instant, at: usize, message: &[u8]) -> Option<Vec<u8>> {
    let request = decode(message)?;
    let what = (request.netfn, request.command);
    let body = if let Some((.., code)) = bmc.refuse.filter(|(netfn, command, _)| (*netfn, *command) == what) {
        vec![code]
    } else if bmc.busy > 0 && request.netfn != 0x06 {
        bmc.busy -= 1;
        vec![BUSY]
    } else if privilege_needed(what) > bmc.sessions[at].privilege {
        vec![NO_PRIVILEGE]
    } else {
        bmc.counts.commands += 1;
        carry_out(bmc, now, at, &request)
    };
    Some(encode(&request, &body))
}

/// Appendix G, for what is spoken here.
fn privilege_needed(what: (u8, u8)) -> u8 {
    match what {
        (0x06, 0x48 | 0x49) => 3,
        (0x00, 0x02 | 0x04 | 0x08) | (0x00, 0x09) | (0x06, 0x22 | 0x24) | (0x0a, 0x42 | 0x47) => 3,
        (0x06, 0x43..=0x47) | (0x0c, 0x01 | 0x02) => 4,
        _ => 2,
    }
}

fn carry_out(bmc: &mut Bmc, now: Instant, at: usize, request: &Request<'_>) -> Vec<u8> {
    let data = request.data;
    match (request.netfn, request.command) {
        (0x00, command) => chassis(bmc, now, command, data),
        (0x06, command) => application(bmc, at, command, data),
        (0x04, command) => sensor(bmc, now, command, data),
        (0x0a, command) => storage(bmc, command, data),
        (0x0c, 0x02) => lan_parameter(data),
        (0x0c, 0x22) => sol_parameter(data),
        _ => vec![UNKNOWN],
    }
}

fn chassis(bmc: &mut Bmc, now: Instant, command: u8, data: &[u8]) -> Vec<u8> {
    let personality = bmc.personality.clone();
    match (command, data) {
        (0x01, _) => vec![OK, 0x20 | u8::from(bmc.machine.is_on(now)), 0, 0x40],
        (0x02, &[action]) => {
            bmc.counts.controls += 1;
            vec![bmc.machine.control(now, action, personality.power_takes, personality.obeys_soft_off)]
        }
        (0x04, _) => {
            bmc.machine.identify = match *data {
                [_, force] if force & 1 == 1 => 0xffff,
                [seconds, ..] => seconds.into(),
                [] => 15,
            };
            vec![OK]
        }
        (0x08, &[3, clearing]) => {
            bmc.machine.flag_clearing = clearing;
            vec![OK]
        }
        (0x08, &[4, mask, value]) => {
            bmc.machine.acknowledge = [mask, value];
            vec![OK]
        }
        (0x08, &[5, ref flags @ ..]) if flags.len() == 5 => {
            bmc.machine.boot_flags.copy_from_slice(flags);
            vec![OK]
        }
        (0x08, &[0, _]) => vec![OK],
        (0x09, &[parameter, _, _]) => match parameter & 0x7f {
            3 => vec![OK, 1, 3, bmc.machine.flag_clearing],
            5 => [&[OK, 1, 5][..], &bmc.machine.boot_flags].concat(),
            _ => vec![0x80],
        },
        (0x02 | 0x08 | 0x09, _) => vec![WRONG_LENGTH],
        _ => vec![UNKNOWN],
    }
}

fn application(bmc: &mut Bmc, at: usize, command: u8, data: &[u8]) -> Vec<u8> {
    match (command, data) {
        (0x01, _) => vec![OK, 0x23, 0x81, 9, 0x48, 2, 0x8f, 0x91, 0x12, 0, 2, 0x0f],
        (0x08 | 0x37, _) => [&[OK][..], &bmc.guid].concat(),
        (0x3b, &[level]) => {
            let session = &mut bmc.sessions[at];
            if level > session.privilege_max || level > bmc.personality.privilege_max {
                return vec![0x81];
            }
            session.privilege = if level == 0 { session.privilege } else { level };
            vec![OK, session.privilege]
        }
        (0x3c, &[a, b, c, d, ..]) => {
            let id = u32::from_le_bytes([a, b, c, d]);
            match bmc.sessions.iter_mut().find(|session| session.bmc_id == id) {
                Some(session) => session.is_closing = true,
                None => return vec![0x87],
            }
            bmc.counts.closed += 1;
            vec![OK]
        }
        (0x38, _) => vec![OK, 1, 0x80, 0x04, 0x02, 0, 0, 0, 0],
        (0x42, _) => vec![OK, 1, 4, 1, 0x80, 0xf2, 0x1b, 0, 0, 0],
        (0x22, _) => {
            if bmc.machine.watchdog.is_some() {
                vec![OK]
            } else {
                vec![0x80]
            }
        }
        (0x24, timer) if timer.len() == 6 => {
            bmc.machine.watchdog = timer.try_into().ok();
            vec![OK]
        }
        (0x25, _) => {
            let timer = bmc.machine.watchdog.unwrap_or([0; 6]);
            [&[OK][..], &timer, &timer[4..]].concat()
        }
        (0x44, _) => vec![OK, 10, 2, 1, 0x34],
        // Payloads of the channel: messages and serial over LAN.
        (0x4e, _) => vec![OK, 3, 0, 0x3f, 0, 0, 0, 0, 0],
        (0x48, &[1, 1, ..]) => {
            let id = bmc.sessions[at].bmc_id;
            let is_gone = |session: u32| !bmc.sessions.iter().any(|own| own.bmc_id == session);
            if bmc.machine.serial.line.as_ref().is_some_and(|line| is_gone(line.session)) {
                bmc.machine.serial.line = None;
            }
            if !bmc.machine.serial.attach(id) {
                return vec![0x80];
            }
            let [low, high] = bmc.port.to_le_bytes();
            // Largest payloads inbound and outbound, port, no VLAN.
            vec![OK, 0, 0, 0, 0, 0, 1, 0, 1, low, high, 0xff, 0xff]
        }
        (0x49, &[1, 1, ..]) => {
            let id = bmc.sessions[at].bmc_id;
            if bmc.machine.serial.detach(id) { vec![OK] } else { vec![0x80] }
        }
        (0x46, &[2]) => {
            let mut name = [0; 16];
            name[..bmc.personality.user.len()].copy_from_slice(bmc.personality.user.as_bytes());
            [&[OK][..], &name].concat()
        }
        (0x46, _) => [&[OK][..], &[0; 16]].concat(),
        (0x47, &[user, operation, ref password @ ..]) => {
            let bytes = if user & 0x80 != 0 { 20 } else { 16 };
            if operation & 3 >= 2 && password.len() != bytes {
                return vec![WRONG_LENGTH];
            }
            let password: Vec<u8> = password.iter().copied().take_while(|octet| *octet != 0).collect();
            match operation & 3 {
                2 => bmc.machine.passwords.push((user & 0x3f, password)),
                3 if password != bmc.personality.password => return vec![0x80],
                _ => {}
            }
            vec![OK]
        }
        _ => vec![UNKNOWN],
    }
}

fn sensor(bmc: &mut Bmc, now: Instant, command: u8, data: &[u8]) -> Vec<u8> {
    let &[number, ..] = data else { return vec![WRONG_LENGTH] };
    let is_on = bmc.machine.is_on(now);
    let found: Option<Vec<u8>> = match command {
        0x2d => records::reading(number, is_on).map(Into::into),
        0x23 => data.get(1).and_then(|raw| records::factors(number, *raw)).map(Into::into),
        0x27 => records::thresholds(number).map(Into::into),
        _ => return vec![UNKNOWN],
    };
    found.map_or(vec![ABSENT], |octets| [&[OK], &octets[..]].concat())
}

/// A part of a record: the next record's id, then what was asked of it.
fn part(next: u16, record: &[u8], offset: u8, len: u8) -> Vec<u8> {
    let from = usize::from(offset).min(record.len());
    let to = if len == 0xff { record.len() } else { (from + usize::from(len)).min(record.len()) };
    // Answers longer than a BMC's buffer are refused, as many do: the reader has to ask for less.
    if to - from > 40 {
        return vec![0xca];
    }
    [&[OK], &next.to_le_bytes()[..], &record[from..to]].concat()
}

fn storage(bmc: &mut Bmc, command: u8, data: &[u8]) -> Vec<u8> {
    let records = || records::sensor_records();
    let serial = || format!("RV{:08x}", u32::from_le_bytes([bmc.guid[0], bmc.guid[1], bmc.guid[2], bmc.guid[3]]));
    match (command, data) {
        (0x10, &[0]) => vec![OK, 0, 1, 0],
        (0x11, &[0, low, high, len]) => {
            let inventory = records::inventory(&serial());
            let from = usize::from(u16::from_le_bytes([low, high])).min(inventory.len());
            let to = (from + usize::from(len)).min(inventory.len());
            if to - from > 64 {
                return vec![0xca];
            }
            [&[OK, (to - from) as u8], &inventory[from..to]].concat()
        }
        (0x10 | 0x11, _) => vec![ABSENT],
        (0x20, _) => {
            [&[OK, 0x51], &(records().len() as u16).to_le_bytes()[..], &[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 2]]
                .concat()
        }
        (0x22 | 0x42, _) => vec![OK, 0x34, 0x12],
        (0x23, &[_, _, low, high, offset, len]) => {
            let id = u16::from_le_bytes([low, high]);
            let records = records();
            let at = if id == 0 { Some(0) } else { usize::from(id).checked_sub(1).filter(|at| *at < records.len()) };
            let Some(at) = at else { return vec![ABSENT] };
            let next = if at + 1 < records.len() { at as u16 + 2 } else { 0xffff };
            part(next, &records[at], offset, len)
        }
        (0x40, _) => {
            let last = bmc.machine.events.last().map_or(0, |event| event.at);
            [
                &[OK, 0x51],
                &(bmc.machine.events.len() as u16).to_le_bytes()[..],
                &[0xff, 0x0f],
                &last.to_le_bytes(),
                &[0; 4],
                &[2],
            ]
            .concat()
        }
        (0x43, &[_, _, low, high, offset, len]) => {
            let events = &bmc.machine.events;
            let at = match u16::from_le_bytes([low, high]) {
                0 => 0,
                0xffff => events.len().saturating_sub(1),
                id => usize::from(id) - 1,
            };
            let Some(event) = events.get(at) else { return vec![ABSENT] };
            let mut record = (at as u16 + 1).to_le_bytes().to_vec();
            record.push(2);
            record.extend(event.at.to_le_bytes());
            record.extend([0x20, 0, 4, event.sensor.0, event.sensor.1, event.kind]);
            record.extend(event.data);
            part(if at + 1 < events.len() { at as u16 + 2 } else { 0xffff }, &record, offset, len)
        }
        (0x47, &[0x34, 0x12, b'C', b'L', b'R', action]) => {
            if action == 0xaa {
                bmc.machine.events.clear();
            }
            vec![OK, 1]
        }
        (0x47, _) => vec![0xc5],
        (0x48, _) => vec![OK, 0, 0, 0, 0x68],
        _ => vec![UNKNOWN],
    }
}

/// Get SOL Configuration Parameters (26.3), as far as ipmitool asks for them before it attaches.
fn sol_parameter(data: &[u8]) -> Vec<u8> {
    let &[_, parameter, ..] = data else { return vec![WRONG_LENGTH] };
    let value: &[u8] = match parameter {
        0 => &[0],
        // Enabled; encryption and authentication as the session wants them, for operators.
        1 => &[1],
        2 => &[0x83],
        3 => &[10, 100],
        4 => &[7, 50],
        // 115,200 baud.
        5 | 6 => &[0x0a],
        7 => &[1],
        8 => &[0x6f, 0x02],
        _ => return vec![0x80],
    };
    [&[OK, 0x11][..], value].concat()
}

/// Address, mask, gateway, hardware address, and where they come from.
fn lan_parameter(data: &[u8]) -> Vec<u8> {
    let &[_, parameter, _, _] = data else { return vec![WRONG_LENGTH] };
    let value: &[u8] = match parameter {
        0 => &[0],
        3 => &[10, 77, 1, 9],
        4 => &[1],
        5 => &[0x52, 0x54, 0, 0xbb, 0, 9],
        6 => &[255, 255, 255, 0],
        12 => &[10, 77, 1, 1],
        20 => &[0, 0],
        _ => return vec![0x80],
    };
    [&[OK, 0x11], value].concat()
}

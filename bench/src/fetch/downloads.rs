//! [`Machines`]: many TFTP clients, each fetching the same file again and again (RFC 1350, 2347, 2348, 7440). No sockets here.
//!
//! A client acknowledges a window when it is whole, and what it has when a block is missing; it never acknowledges a block twice unless its timer
//! says so, as RFC 1123 section 4.2.3.1 wants it. Every octet is compared with the file.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// A client that hears nothing says its last word again after so long.
const REPEAT_AFTER: Duration = Duration::from_millis(1_000);
/// So many times in a row, then the download has failed.
const REPEATS_MAX: u32 = 8;

/// What to send: to the server's well-known port if `to` is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The request.
    Request,
    /// An ACK of this block, to the server's port for this download.
    Ack(SocketAddrV4, u16),
}

/// One client.
#[derive(Debug, Clone)]
struct Machine {
    /// The server's port for this download, once it has answered.
    server: Option<SocketAddrV4>,
    /// Blocks that have come in order.
    blocks: u64,
    /// Blocks since the last ACK.
    unacknowledged: u16,
    /// An ACK has told of a gap; one is enough until the next block in order.
    gap_told: bool,
    /// Blocks the server sends ahead, as it said.
    window: u16,
    repeat_at: Instant,
    repeats: u32,
    /// Fetching; otherwise it rests.
    active: bool,
}

/// All clients, and what they have come to.
#[derive(Debug)]
pub struct Machines<'a> {
    file: &'a [u8],
    block: usize,
    window: u16,
    machines: Vec<Machine>,
    /// Machines in the order in which their timers may be due.
    looked_at: usize,
    /// Whether a machine that has all begins again.
    pub again: bool,
    /// Octets that arrived.
    pub bytes: u64,
    /// Downloads that ended well.
    pub completed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Why the first did not.
    pub first_failure: Option<String>,
    /// Messages sent again.
    pub repeated: u64,
}

impl<'a> Machines<'a> {
    /// `count` machines that rest; they will ask for blocks of `block` octets, `window` at a time.
    pub fn new(count: usize, file: &'a [u8], block: usize, window: u16, now: Instant) -> Self {
        let machine = Machine {
            server: None,
            blocks: 0,
            unacknowledged: 0,
            gap_told: false,
            window: 1,
            repeat_at: now,
            repeats: 0,
            active: false,
        };
        Self {
            file,
            block,
            window,
            machines: vec![machine; count],
            looked_at: 0,
            again: true,
            bytes: 0,
            completed: 0,
            failed: 0,
            first_failure: None,
            repeated: 0,
        }
    }

    /// How many are fetching.
    pub fn active(&self) -> usize {
        self.machines.iter().filter(|machine| machine.active).count()
    }

    /// The request that all of them send.
    pub fn request(&self, name: &str) -> Vec<u8> {
        let mut octets = format!("\0\x01{name}\0octet\0blksize\0{}\0", self.block).into_bytes();
        if self.window > 1 {
            octets.extend_from_slice(format!("windowsize\0{}\0", self.window).as_bytes());
        }
        octets
    }

    /// A machine begins a download.
    pub fn begin(&mut self, who: usize, now: Instant) -> Reply {
        let machine = &mut self.machines[who];
        *machine = Machine {
            server: None,
            blocks: 0,
            unacknowledged: 0,
            gap_told: false,
            window: 1,
            repeat_at: now + REPEAT_AFTER,
            repeats: 0,
            active: true,
        };
        Reply::Request
    }

    /// A datagram has come for a machine.
    pub fn handle(&mut self, who: usize, from: SocketAddrV4, datagram: &[u8], now: Instant) -> Option<Reply> {
        let machine = self.machines.get_mut(who)?;
        // What comes from another port belongs to the download before.
        if !machine.active || machine.server.is_some_and(|server| server != from) {
            return None;
        }
        match datagram {
            [0, 3, high, low, payload @ ..] => {
                let block = u16::from_be_bytes([*high, *low]);
                self.handle_data(who, from, block, payload, now)
            }
            [0, 6, options @ ..] if machine.server.is_none() => {
                if let Err(why) = accepted(options, self.block, self.window).map(|window| machine.window = window) {
                    return self.fail(who, now, why);
                }
                machine.server = Some(from);
                (machine.repeats, machine.repeat_at) = (0, now + REPEAT_AFTER);
                Some(Reply::Ack(from, 0))
            }
            [0, 5, ..] => self.fail(who, now, format!("ERROR: {}", datagram[2..].escape_ascii())),
            _ => None,
        }
    }

    fn handle_data(
        &mut self,
        who: usize,
        from: SocketAddrV4,
        block: u16,
        payload: &[u8],
        now: Instant,
    ) -> Option<Reply> {
        let machine = &mut self.machines[who];
        if machine.server.is_none() {
            return self.fail(who, now, "DATA in place of an OACK".to_owned());
        }
        if block != (machine.blocks + 1) as u16 {
            // Of a window whose beginning is missing: said once. What was acknowledged before is not acknowledged again.
            let ahead = block.wrapping_sub(machine.blocks as u16);
            if (2..=machine.window).contains(&ahead) && !machine.gap_told {
                machine.gap_told = true;
                machine.unacknowledged = 0;
                self.repeated += 1;
                return Some(Reply::Ack(from, machine.blocks as u16));
            }
            return None;
        }
        let at = machine.blocks as usize * self.block;
        let expected = &self.file[at..(at + self.block).min(self.file.len())];
        if payload != expected {
            return self.fail(who, now, format!("block {block} of {who} is not what the file has there"));
        }
        machine.blocks += 1;
        machine.unacknowledged += 1;
        machine.gap_told = false;
        (machine.repeats, machine.repeat_at) = (0, now + REPEAT_AFTER);
        self.bytes += payload.len() as u64;
        let last = payload.len() < self.block;
        if !last && machine.unacknowledged < machine.window {
            return None;
        }
        machine.unacknowledged = 0;
        if last {
            self.completed += 1;
            machine.active = false;
        }
        Some(Reply::Ack(from, block))
    }

    /// Whether a machine rests though it should begin again.
    pub fn is_due_again(&self, who: usize) -> bool {
        self.again && self.machines.get(who).is_some_and(|machine| !machine.active)
    }

    /// Looks at the timers of the next few machines, in turn.
    pub fn overdue(&mut self, now: Instant) -> Option<(usize, Reply)> {
        for _ in 0..self.machines.len().min(64) {
            self.looked_at = (self.looked_at + 1) % self.machines.len();
            let who = self.looked_at;
            let machine = &mut self.machines[who];
            if !machine.active || now < machine.repeat_at {
                continue;
            }
            machine.repeats += 1;
            machine.repeat_at = now + REPEAT_AFTER;
            machine.unacknowledged = 0;
            if machine.repeats > REPEATS_MAX {
                let blocks = machine.blocks;
                return self.fail(who, now, format!("silence after block {blocks}")).map(|reply| (who, reply));
            }
            self.repeated += 1;
            let blocks = machine.blocks as u16;
            return Some((who, machine.server.map_or(Reply::Request, |server| Reply::Ack(server, blocks))));
        }
        None
    }

    /// A download has failed; the machine begins another.
    fn fail(&mut self, who: usize, now: Instant, why: String) -> Option<Reply> {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
        self.machines[who].active = false;
        self.again.then(|| self.begin(who, now))
    }
}

/// The window in an OACK's options, which must keep to what was asked for.
fn accepted(options: &[u8], block: usize, window: u16) -> Result<u16, String> {
    let mut parts = options.split(|octet| *octet == 0);
    let (mut got_block, mut got_window) = (512, 1);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        match name.to_ascii_lowercase().as_slice() {
            b"blksize" => got_block = number,
            b"windowsize" => got_window = number,
            _ => {}
        }
    }
    if (got_block, got_window) == (block, usize::from(window)) {
        Ok(window)
    } else {
        Err(format!("blocks of {got_block}, {got_window} at a time, in place of {block} and {window}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const TID: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4_000);

    fn data(block: u16, payload: &[u8]) -> Vec<u8> {
        [&[0, 3], &block.to_be_bytes()[..], payload].concat()
    }

    #[test]
    fn a_download_ends_well_only_with_every_octet() {
        let (now, file) = (Instant::now(), b"0123456789abcdefghi".as_slice());
        let mut machines = Machines::new(1, file, 8, 2, now);
        machines.again = false;
        assert_eq!(machines.request("f"), b"\0\x01f\0octet\0blksize\08\0windowsize\x002\0");
        assert_eq!(machines.begin(0, now), Reply::Request);
        let ack = |block| Some(Reply::Ack(TID, block));
        assert_eq!(machines.handle(0, TID, b"\0\x06blksize\08\0windowsize\x002\0", now), ack(0));
        assert_eq!(machines.handle(0, TID, &data(2, b"89abcdef"), now), ack(0), "the first is missing: said once");
        assert_eq!(machines.handle(0, TID, &data(2, b"89abcdef"), now), None);
        assert_eq!(machines.handle(0, TID, &data(1, b"01234567"), now), None, "half a window");
        assert_eq!(machines.handle(0, TID, &data(2, b"89abcdef"), now), ack(2));
        assert_eq!(machines.handle(0, TID, &data(2, b"89abcdef"), now), None, "no Sorcerer's Apprentice");
        let stranger = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4_001);
        assert_eq!(machines.handle(0, stranger, &data(3, b"ghi"), now), None);
        let later = now + REPEAT_AFTER;
        assert_eq!(machines.overdue(later), Some((0, Reply::Ack(TID, 2))));
        assert_eq!(machines.handle(0, TID, &data(3, b"ghi"), later), ack(3));
        assert_eq!((machines.completed, machines.failed, machines.bytes, machines.active()), (1, 0, 19, 0));

        for (datagram, why) in [
            (data(1, b"0123456X"), "not what the file has"),
            (data(1, b"0123"), "not what the file has"),
            (b"\0\x05\0\x01no\0".to_vec(), "ERROR"),
        ] {
            machines.first_failure = None;
            machines.begin(0, now);
            machines.handle(0, TID, b"\0\x06blksize\08\0windowsize\x002\0", now);
            assert_eq!(machines.handle(0, TID, &datagram, now), None);
            let said = machines.first_failure.clone().unwrap_or_default();
            assert!(said.contains(why), "{said}");
        }
        machines.begin(0, now);
        machines.handle(0, TID, b"\0\x06blksize\08\0", now);
        assert_eq!((machines.completed, machines.failed), (1, 4), "a window that was not granted");
    }
}

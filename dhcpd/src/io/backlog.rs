//! [`Backlog`]: DHCPDISCOVERs that wait while more important messages are served.
//!
//! While they are few they are served in their order. When they fill more than half of the room the newest comes first, because its client still listens; when
//! there is no room the one that has waited longest is dropped, and nobody is served whose client has asked again by now. Fixed in size; its memory is touched only as far as it is used.

use std::net::SocketAddrV4;

use crate::proto::time::Millis;

/// Messages kept for each worker: a hall of machines that powers on at once fits. About a tenth of a second's work.
pub const BACKLOG_MAX: usize = 32_768;
/// The longest message kept, octets: an Ethernet frame's worth. A longer one is served at once.
pub const PARKED_BYTES_MAX: usize = 1_472;
/// After so long a client has asked again: the first time-outs of firmware are 1 to 4 s (RFC 2131 §4.1: 4 s).
pub const STALE_MILLIS: u64 = 1_000;

/// Where a parked message came from, and when.
#[derive(Debug, Clone, Copy)]
pub struct Parked {
    /// On which link.
    pub link: usize,
    /// Who sent it.
    pub from: SocketAddrV4,
    at: Millis,
    len: usize,
}

/// The messages that wait, a ring.
#[derive(Debug)]
pub struct Backlog {
    octets: Box<[u8]>,
    entries: Box<[Option<Parked>]>,
    oldest: usize,
    len: usize,
}

impl Backlog {
    /// Room for `entries` messages.
    pub fn new(entries: usize) -> Self {
        let octets = vec![0; entries * PARKED_BYTES_MAX].into();
        Self { octets, entries: vec![None; entries].into(), oldest: 0, len: 0 }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes in a message of at most [`PARKED_BYTES_MAX`] octets (what is longer is cut). `true`: the one that had waited longest was dropped for it.
    pub fn push(&mut self, now: Millis, link: usize, from: SocketAddrV4, octets: &[u8]) -> bool {
        if self.len == 0 {
            // From the beginning, so that no more memory is touched than is needed.
            self.oldest = 0;
        }
        let full = self.len == self.entries.len();
        if full {
            self.oldest = (self.oldest + 1) % self.entries.len();
            self.len -= 1;
        }
        let at = (self.oldest + self.len) % self.entries.len();
        let len = octets.len().min(PARKED_BYTES_MAX);
        self.octets[at * PARKED_BYTES_MAX..][..len].copy_from_slice(&octets[..len]);
        self.entries[at] = Some(Parked { link, from, at: now, len });
        self.len += 1;
        full
    }

    /// The message whose turn it is: the oldest, or while more than half of the room is taken the newest.
    pub fn pop(&mut self) -> Option<(Parked, &[u8])> {
        let newest_first = self.len > self.entries.len() / 2;
        self.len = self.len.checked_sub(1)?;
        let mut at = self.oldest;
        if newest_first {
            at = (self.oldest + self.len) % self.entries.len();
        } else {
            self.oldest = (self.oldest + 1) % self.entries.len();
        }
        let parked = self.entries[at]?;
        Some((parked, &self.octets[at * PARKED_BYTES_MAX..][..parked.len]))
    }

    /// Drops those that have waited for more than [`STALE_MILLIS`] and says how many.
    pub fn drop_stale(&mut self, now: Millis) -> usize {
        let before = self.len;
        while self.len > 0
            && self.entries[self.oldest].is_none_or(|parked| now.0.saturating_sub(parked.at.0) > STALE_MILLIS)
        {
            self.oldest = (self.oldest + 1) % self.entries.len();
            self.len -= 1;
        }
        before - self.len
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const FROM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 68);

    fn pop(backlog: &mut Backlog) -> Option<Vec<u8>> {
        backlog.pop().map(|(_, octets)| octets.to_vec())
    }

    #[test]
    fn under_pressure_the_newest_comes_first_and_at_the_limit_the_oldest_goes() {
        let mut backlog = Backlog::new(4);
        let push = |backlog: &mut Backlog, i: u8| backlog.push(Millis(0), i.into(), FROM, &vec![i; i.into()]);
        assert_eq!([1, 2, 3, 4, 5, 6].map(|i| push(&mut backlog, i)), [false, false, false, false, true, true]);
        // 3, 4, 5, 6 wait: two too many.
        assert_eq!([pop(&mut backlog), pop(&mut backlog)], [Some(vec![6; 6]), Some(vec![5; 5])]);
        let (parked, octets) = backlog.pop().unwrap();
        assert_eq!((parked.link, parked.from, octets), (3, FROM, &[3, 3, 3][..]), "now in their order");
        assert!(!push(&mut backlog, 7));
        assert_eq!(
            [pop(&mut backlog), pop(&mut backlog), pop(&mut backlog)],
            [Some(vec![4; 4]), Some(vec![7; 7]), None]
        );
        assert!(backlog.is_empty());
    }

    #[test]
    fn who_waited_too_long_is_dropped() {
        let mut backlog = Backlog::new(4);
        for at in [0, 10, 20] {
            backlog.push(Millis(at), 0, FROM, &[at as u8]);
        }
        assert_eq!(backlog.drop_stale(Millis(STALE_MILLIS)), 0);
        assert_eq!(backlog.drop_stale(Millis(STALE_MILLIS + 11)), 2);
        assert_eq!(pop(&mut backlog), Some(vec![20]));
        assert_eq!(backlog.drop_stale(Millis(u64::MAX)), 0);
    }

    #[test]
    fn a_message_of_the_greatest_length_is_kept_whole() {
        let mut backlog = Backlog::new(2);
        backlog.push(Millis(0), 0, FROM, &[7; PARKED_BYTES_MAX]);
        assert_eq!(pop(&mut backlog), Some(vec![7; PARKED_BYTES_MAX]));
    }
}

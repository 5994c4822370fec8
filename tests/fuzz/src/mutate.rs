//! [`Mutator`]: makes packets out of the corpus and out of what the server said.

use crate::random::Random;
use crate::reference::FIXED;
use crate::server::LINKS;

/// Octets that break parsers.
const INTERESTING: [u8; 12] = [0, 1, 2, 3, 6, 50, 52, 53, 82, 127, 254, 255];
/// Codes that the server looks at.
const CODES: [u8; 22] = [12, 50, 51, 52, 53, 54, 55, 57, 60, 61, 77, 80, 81, 82, 93, 94, 97, 108, 116, 118, 145, 175];
/// Hardware addresses end so: few, so that clients meet.
const CLIENTS: u8 = 24;
/// No packet is longer.
const PACKET_BYTES_MAX: usize = 1_500;

/// The source of packets.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    corpus: Vec<Vec<u8>>,
    /// The last reply, to be followed up.
    heard: Option<Vec<u8>>,
}

impl Mutator {
    /// A source over `corpus`.
    ///
    /// # Panics
    /// When the corpus is empty.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        assert!(!corpus.is_empty(), "an empty corpus");
        Self { random: Random::new(seed), corpus, heard: None }
    }

    /// The link of a packet: mostly the dynamic scope's.
    pub fn link(&mut self) -> usize {
        if self.random.once_in(8) { self.random.below(LINKS.len()) } else { 1 }
    }

    /// Remembers a reply.
    pub fn heard(&mut self, reply: &[u8]) {
        self.heard = Some(reply.to_vec());
    }

    /// The next packet.
    pub fn next_packet(&mut self) -> Vec<u8> {
        let follow_up = self.heard.take().filter(|_| !self.random.once_in(3));
        let mut packet = match follow_up {
            Some(reply) => self.request(&reply),
            None => {
                let at = self.random.below(self.corpus.len());
                let mut packet = self.corpus[at].clone();
                if packet.len() >= FIXED {
                    packet[28..33].copy_from_slice(&[0x52, 0x54, 0, 0, 0]);
                    packet[33] = self.random.octet() % CLIENTS;
                }
                packet
            }
        };
        for _ in 0..[0, 0, 1, 1, 2, 3, 5][self.random.below(7)] {
            self.mutate(&mut packet);
        }
        packet.truncate(PACKET_BYTES_MAX);
        packet
    }

    /// What a client sends after a reply: it takes the address, gives it back, or declines it.
    fn request(&mut self, reply: &[u8]) -> Vec<u8> {
        let mut packet = reply[..FIXED].to_vec();
        let address = reply[16..20].to_vec();
        packet[0] = 1;
        packet[12..24].fill(0);
        packet[24..28].copy_from_slice(&reply[24..28]);
        packet[44..236].fill(0);
        let kind = *self.random.choose(&[3, 3, 3, 3, 3, 1, 4, 7, 8]);
        if kind >= 7 || self.random.once_in(4) {
            packet[12..16].copy_from_slice(&address);
        }
        packet.extend([53, 1, kind]);
        if kind != 7 && !self.random.once_in(4) {
            packet.extend([50, 4]);
            packet.extend(&address);
        }
        if !self.random.once_in(3) {
            packet.extend([54, 4, 10, 77, 2, 1]);
        }
        if self.random.once_in(3) {
            packet.extend([61, 3, 1, 2, self.random.octet()]);
        }
        packet.push(255);
        packet
    }

    fn mutate(&mut self, packet: &mut Vec<u8>) {
        let random = &mut self.random;
        let len = packet.len();
        let at = random.below(len);
        match random.below(13) {
            _ if packet.is_empty() => packet.push(random.octet()),
            0 => packet[at] ^= 1 << random.below(8),
            1 => packet[at] = *random.choose(&INTERESTING),
            2 if len > FIXED => {
                let at = FIXED + random.below(len - FIXED);
                packet[at] = *random.choose(&INTERESTING);
            }
            3 => packet.truncate(if random.once_in(4) { at } else { at.max(FIXED) }),
            4 => {
                let until = (at + 1 + random.below(16)).min(len);
                packet.drain(at..until);
            }
            5 => {
                let until = (at + 1 + random.below(64)).min(len);
                let part = packet[at..until].to_vec();
                let to = random.below(len);
                packet.splice(to..to, part);
            }
            6 => self.insert_option(packet),
            7 => self.shuffle_options(packet),
            8 => self.split_option(packet),
            9 => self.overload(packet),
            10 => self.long_option(packet),
            11 => {
                let other = random.below(self.corpus.len());
                let other = &self.corpus[other];
                let from = random.below(other.len());
                packet.truncate(at.max(FIXED.min(len)));
                packet.extend_from_slice(&other[from..]);
            }
            _ => packet.extend(std::iter::repeat_n(*random.choose(&INTERESTING), random.below(80))),
        }
    }

    /// A random option with plausible content, in front of the others.
    fn insert_option(&mut self, packet: &mut Vec<u8>) {
        let random = &mut self.random;
        let code = *random.choose(&CODES);
        let len = *random.choose(&[0, 1, 2, 4, 4, 4, 5, 16, 17, 255]);
        let mut value: Vec<u8> = (0..len).map(|_| random.octet()).collect();
        match len {
            4 => value = vec![10, 77, *random.choose(&[1, 2, 3]), *random.choose(&[0, 1, 20, 100, 105, 109, 200])],
            1 => value = vec![random.octet() % 18],
            _ => {}
        }
        let option = [&[code, len as u8][..], &value].concat();
        let to = FIXED.min(packet.len());
        packet.splice(to..to, option);
    }

    /// The options of a packet as pieces, and what is no option behind them.
    fn pieces(packet: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut pieces, mut at) = (Vec::new(), FIXED.min(packet.len()));
        while let Some(&[code, len]) = packet.get(at..at + 2) {
            let end = at + 2 + usize::from(len);
            if code == 0 || code == 255 || end > packet.len() {
                break;
            }
            pieces.push(packet[at..end].to_vec());
            at = end;
        }
        (pieces, packet[at.min(packet.len())..].to_vec())
    }

    fn put_back(packet: &mut Vec<u8>, pieces: &[Vec<u8>], rest: &[u8]) {
        packet.truncate(FIXED);
        packet.extend(pieces.concat());
        packet.extend_from_slice(rest);
    }

    fn shuffle_options(&mut self, packet: &mut Vec<u8>) {
        let (mut pieces, rest) = Self::pieces(packet);
        for i in (1..pieces.len()).rev() {
            pieces.swap(i, self.random.below(i + 1));
        }
        Self::put_back(packet, &pieces, &rest);
    }

    /// Makes two parts of one option, with others in between.
    fn split_option(&mut self, packet: &mut Vec<u8>) {
        let (mut pieces, rest) = Self::pieces(packet);
        if pieces.is_empty() {
            return;
        }
        let which = self.random.below(pieces.len());
        let piece = pieces[which].clone();
        let (code, value) = (piece[0], &piece[2..]);
        let cut = self.random.below(value.len() + 1);
        let part = |value: &[u8]| [&[code, value.len() as u8][..], value].concat();
        pieces[which] = part(&value[..cut]);
        let to = which + 1 + self.random.below(pieces.len() - which);
        pieces.insert(to, part(&value[cut..]));
        Self::put_back(packet, &pieces, &rest);
    }

    /// Moves the last options into `file` and `sname`.
    fn overload(&mut self, packet: &mut Vec<u8>) {
        if packet.len() < FIXED {
            return;
        }
        let (mut pieces, rest) = Self::pieces(packet);
        let kind = *self.random.choose(&[1, 2, 3, 3, 0, 4, 255]);
        for (bit, field) in [(1, 108..236), (2, 44..108)] {
            let room = field.len() - 1;
            if kind & bit != 0
                && let Some(piece) = pieces.pop().filter(|piece| piece.len() <= room)
            {
                packet[field.clone()].fill(0);
                packet[field.start..][..piece.len()].copy_from_slice(&piece);
                if !self.random.once_in(5) {
                    packet[field.start + piece.len()] = 255;
                }
            }
        }
        pieces.insert(self.random.below(pieces.len() + 1), vec![52, 1, kind]);
        Self::put_back(packet, &pieces, &rest);
    }

    /// An option of several parts of 255 octets.
    fn long_option(&mut self, packet: &mut Vec<u8>) {
        let code = *self.random.choose(&[60, 61, 77, 82, 43, 125]);
        let to = FIXED.min(packet.len());
        for _ in 0..1 + self.random.below(4) {
            let len = 128 + self.random.below(128);
            let octet = self.random.octet();
            let part: Vec<u8> = [code, len as u8].into_iter().chain(std::iter::repeat_n(octet, len)).collect();
            packet.splice(to..to, part);
        }
    }
}

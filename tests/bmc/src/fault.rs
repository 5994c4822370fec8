//! What goes wrong: by chance, from a seed, or on request.

use std::time::Duration;

/// SplitMix64: the same run for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, share: u16) -> bool {
        share > 0 && self.bits() % 1_000 < u64::from(share)
    }

    /// Sixteen octets.
    pub fn octets(&mut self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.bits().to_le_bytes());
        octets[8..].copy_from_slice(&self.bits().to_le_bytes());
        octets
    }
}

/// The wire's faults, in times per thousand datagrams of either direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Lost.
    pub lost: u16,
    /// Delivered twice.
    pub twice: u16,
    /// Answers that come late, and how late.
    pub late: u16,
    /// How late that is.
    pub late_by: Duration,
    /// The BMC restarts instead of answering: its sessions are gone.
    pub restart: u16,
}

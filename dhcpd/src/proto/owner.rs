//! Which worker owns a client: a function of its identity alone; for a hardware address simple enough for a classic BPF program to compute in the kernel.

use reveille_config::MacAddr;

use super::identity::Identity;

/// The golden ratio as a fraction of 2³², odd.
pub const WORKER_MULTIPLIER: u32 = 0x9e37_79b1;
/// The upper half of the product is used.
pub const WORKER_SHIFT: u32 = 16;

/// The worker, below `workers`, that owns a client.
pub const fn owner_of(identity: Identity, workers: usize) -> usize {
    match identity.mac() {
        Some(mac) => worker_of(mac, workers),
        None => (identity.halves().1 >> 32) as usize % workers,
    }
}

/// The worker, below `workers`, that owns the client with this hardware address.
///
/// The last four octets of `chaddr` as one big-endian word, multiplied by the golden ratio (so that consecutive addresses spread), upper half, modulo.
pub const fn worker_of(mac: MacAddr, workers: usize) -> usize {
    let [_, _, a, b, c, d] = mac.0;
    let word = u32::from_be_bytes([a, b, c, d]).wrapping_mul(WORKER_MULTIPLIER);
    (word >> WORKER_SHIFT) as usize % workers
}

/// Where a client's search for a free address starts: 64 well-mixed bits (the finaliser of SplitMix64), the same over restarts, so that a client
/// gets its address back even after its lease is lost.
pub const fn address_hash(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    let mut x = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_addresses_spread_evenly() {
        for workers in [2usize, 3, 4, 16] {
            let mut load = vec![0; workers];
            for i in 0..4_096u32 {
                let [a, b, c, d] = i.to_be_bytes();
                load[worker_of(MacAddr([0x52, 0x54, a, b, c, d]), workers)] += 1;
            }
            let even = 4_096 / workers;
            assert!(load.iter().all(|&n| n > even * 8 / 10 && n < even * 12 / 10), "{load:?}");
        }
    }
}

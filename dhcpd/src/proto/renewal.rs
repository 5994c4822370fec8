//! T1 and T2, when a client renews and rebinds (RFC 2131 §4.4.5).
//!
//! Around a half and seven eighths of the lease, a thirty-second part earlier or later at most. How much is the hardware address's: machines that were switched on
//! together come back spread out, and each reply to one machine says the same.

use reveille_config::MacAddr;

/// T1 and T2 of a lease of `secs` seconds; infinite where that is.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
//# T1 MUST be earlier than T2, which, in turn, MUST be earlier than the time at which the client's lease will expire.
//= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
//# Times T1 and T2 SHOULD be chosen with some random "fuzz" around a fixed value, to avoid synchronization of client reacquisition.
pub fn t1_and_t2(mac: MacAddr, secs: u32) -> [u32; 2] {
    if secs == u32::MAX {
        return [u32::MAX; 2];
    }
    let spread = secs / 32;
    let fuzz = ((u64::from(scattered(mac)) * u64::from(2 * spread + 1)) >> 32) as u32;
    [secs / 2, secs - secs.div_ceil(8)].map(|fixed| fixed - spread + fuzz)
}

/// Neighbouring addresses are far apart: Fibonacci hashing.
fn scattered(mac: MacAddr) -> u32 {
    let number = mac.octets().into_iter().fold(0u64, |number, octet| number << 8 | u64::from(octet));
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    //= https://www.rfc-editor.org/rfc/rfc2131#section-4.4.5
    //= type=test
    //# Times T1 and T2 SHOULD be chosen with some random "fuzz" around a fixed value, to avoid synchronization of client reacquisition.
    #[test]
    fn machines_of_one_rack_come_back_spread_over_a_sixteenth_of_the_lease() {
        for secs in [3_600, 43_200] {
            let mut told: Vec<_> = (0..64).map(|number| t1_and_t2(machine(number), secs)).collect();
            for [t1, t2] in &told {
                assert!(t1.abs_diff(secs / 2) <= secs / 32 && t2 - t1 == secs * 3 / 8, "{t1} {t2}");
            }
            told.sort_unstable();
            let gap = told.windows(2).map(|pair| pair[1][0] - pair[0][0]).max().unwrap();
            assert!(told[63][0] - told[0][0] > secs / 20 && gap < secs / 16 / 16, "no crowd, no hole: {told:?}");
            assert_eq!(t1_and_t2(machine(5), secs), t1_and_t2(machine(5), secs));
        }
    }

    #[test]
    fn t1_is_before_t2_and_t2_before_the_end() {
        for secs in (3..2_000).chain([86_400, u32::MAX - 1]) {
            for number in 0..20 {
                let [t1, t2] = t1_and_t2(machine(number), secs);
                assert!(0 < t1 && t1 < t2 && t2 < secs, "{secs}: {t1} {t2}");
            }
        }
        assert_eq!(t1_and_t2(machine(1), u32::MAX), [u32::MAX; 2]);
    }
}

//! Some conversations with BMCs over a bad wire, from fixed seeds.

use reveille_fuzz::ipmi::{IpmiFuzzer, Met};

#[test]
fn a_bad_wire_leads_to_the_truth_or_to_a_failure() {
    let mut met = Met::default();
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut fuzzer = IpmiFuzzer::new(seed);
        (0..250).for_each(|_| fuzzer.step(&mut met));
    }
    println!("{met:?}");
    // A fuzzer that comes nowhere proves nothing.
    assert!(met.done > 300 && met.failed > 50 && met.damaged > 3_000 && met.decoded > 100, "{met:?}");
}

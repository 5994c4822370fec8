//! Some seconds of fuzzing from fixed seeds, and the corpus as it is.

use reveille_fuzz::{Fuzzer, Met, corpus};

/// Packets of one seed.
const PACKETS: u64 = 15_000;

#[test]
fn the_corpus_is_read_and_handled_as_it_is() {
    let (mut fuzzer, mut met) = (Fuzzer::new(0), Met::default());
    let corpus = corpus();
    corpus.iter().for_each(|packet| fuzzer.try_packet(packet, &mut met));
    assert_eq!(met.packets, corpus.len() as u64);
    assert!(met.replies > 0, "{met:?}");
}

#[test]
fn whatever_comes_is_answered_or_dropped_with_a_reason() {
    let mut met = Met::default();
    for seed in 1..=3 {
        let mut fuzzer = Fuzzer::new(seed);
        println!("seed {seed}");
        (0..PACKETS).for_each(|_| fuzzer.step(&mut met));
    }
    println!("{met:?}");
    // A fuzzer that comes nowhere proves nothing.
    let share = |part: u64, of: u64| part * 100 / of;
    assert!(share(met.parsed, met.packets) > 30, "{met:?}");
    assert!(share(met.compared_whole, met.parsed) > 20, "{met:?}");
    assert!(share(met.joined, met.parsed) > 5, "{met:?}");
    assert!(share(met.replies, met.packets) > 3 && met.acknowledged > 50, "{met:?}");
}

//! Whatever a network may deliver: arbitrary octets and mutations of valid packets never panic, never open a session,
//! never end a command well, and in a session never change anything.

mod ipmi_support;

use ipmi_support::step::{Pair, fingerprint, status};
use proptest::prelude::*;
use proptest::sample::Index;
use reveille_provisioner::proto::ipmi::{Action, Event};

/// How a valid datagram is damaged.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Append(Vec<u8>),
    Splice(Index, Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), 1u8..).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Mutation::Append),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, with)| Mutation::Splice(at, with)),
    ]
}

fn mutate(datagram: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut out = datagram.to_vec();
    for mutation in mutations {
        match mutation {
            _ if out.is_empty() => {}
            Mutation::Flip(at, mask) => {
                let at = at.index(out.len());
                out[at] ^= mask;
            }
            Mutation::Cut(at) => out.truncate(at.index(out.len())),
            Mutation::Append(more) => out.extend(more),
            Mutation::Splice(at, with) => {
                let at = at.index(out.len());
                let end = (at + with.len()).min(out.len());
                out[at..end].copy_from_slice(&with[..end - at]);
            }
        }
    }
    out
}

/// A pair that waits for the answer to step `step` of a cold command (6: a command in a session that was used before), and that answer.
fn waiting(step: usize) -> (Pair, Vec<u8>) {
    let mut pair = Pair::new();
    if step == 6 {
        pair.command(status()).unwrap();
    }
    pair.client.start(pair.now, status());
    loop {
        let datagram = pair.transmit().unwrap();
        let answer = pair.bmc.handle(&datagram).unwrap();
        if pair.sent.len() == step + 1 || step == 6 {
            pair.events.clear();
            return (pair, answer);
        }
        pair.deliver(&answer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn arbitrary_octets_change_nothing(
        step in 0usize..7,
        datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..4),
        header in any::<bool>(),
    ) {
        let (mut pair, answer) = waiting(step);
        let before = fingerprint(&pair.client);
        for octets in datagrams {
            // With a valid RMCP header they get further.
            let datagram = if header { [&answer[..5], &octets].concat() } else { octets };
            let action = pair.client.handle_datagram(pair.now, &datagram);
            prop_assert!(matches!(action, Action::Dropped(_)));
        }
        prop_assert_eq!(fingerprint(&pair.client), before);
    }

    #[test]
    fn mutated_answers_never_pass_for_answers(
        step in 0usize..7,
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        let (mut pair, answer) = waiting(step);
        let datagram = mutate(&answer, &mutations);
        prop_assume!(datagram != answer);
        // Bits that the specification reserves or that carry nothing are not ours to refuse.
        let before = fingerprint(&pair.client);
        let proofs = pair.sent.len();
        let action = pair.client.handle_datagram(pair.now, &datagram);
        match action {
            Action::Dropped(_) => prop_assert_eq!(fingerprint(&pair.client), before),
            Action::Accepted => {
                // RMCP's second and third octet (reserved, sequence) are outside what is signed.
                let only_rmcp = datagram[3..] == answer[3..];
                prop_assert!(step < 4 || only_rmcp, "a signed packet was accepted though changed");
                if step == 3 && !only_rmcp {
                    // RAKP 4: whatever it said, it did not open a session.
                    let event = pair.client.poll_event();
                    let reserved = datagram.len() == answer.len()
                        && (0..answer.len()).all(|at| datagram[at] == answer[at] || matches!(at, 1 | 2 | 6..=13 | 18 | 19));
                    prop_assert!(reserved || !matches!(event, Some(Event::Opened)), "{event:?}");
                }
            }
        }
        prop_assert_eq!(pair.sent.len(), proofs);
        if let Some(event) = pair.client.poll_event() {
            let rmcp = datagram.len() == answer.len() && datagram[3..] == answer[3..];
            prop_assert!(rmcp || !matches!(event, Event::Done(_)));
        }
    }

    #[test]
    fn a_damaged_handshake_never_ends_in_a_session_with_other_keys(
        step in 1usize..4,
        mutations in proptest::collection::vec(mutation(), 1..3),
    ) {
        // The damaged answer is delivered, then the conversation goes on with the true BMC: it ends well or with a reason, within its time.
        let (mut pair, answer) = waiting(step);
        pair.deliver(&mutate(&answer, &mutations));
        let begun = pair.now;
        pair.finish();
        prop_assert!(!pair.client.is_busy());
        prop_assert!(pair.now - begun <= std::time::Duration::from_secs(30));
        prop_assert!(pair.events.iter().any(|event| matches!(event, Event::Done(_) | Event::Failed(_))));
    }
}

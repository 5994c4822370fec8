//! The conversation with a BMC, stepped through every fault of wire and BMC without a socket or a second of waiting.

mod ipmi_support;

use std::time::Duration;

use ipmi_support::bmc::{Damage, response};
use ipmi_support::step::{Pair, Way, control, credentials, fingerprint, status};
use reveille_provisioner::proto::ipmi::command::PowerAction;
use reveille_provisioner::proto::ipmi::{Action, DropReason, Event};

/// Datagrams of a command without a session: probe, open, RAKP 1, RAKP 3, privilege, command.
const COLD: usize = 6;

#[test]
fn a_cold_command_takes_six_exchanges_and_a_warm_one_takes_one() {
    let mut pair = Pair::new();
    pair.bmc.power = true;
    assert_eq!(pair.command(status()).unwrap()[0] & 1, 1);
    assert_eq!((pair.sent.len(), pair.bmc.opened), (COLD, 1));
    pair.command(status()).unwrap();
    pair.command(control(PowerAction::Off)).unwrap();
    assert_eq!((pair.sent.len(), pair.bmc.opened, pair.bmc.power), (1, 1, false));
    assert_eq!(pair.elapsed_ms(), 0);
}

#[test]
fn any_lost_datagram_costs_a_second_and_nothing_else() {
    for lost in 0..COLD {
        let lose = |n| if n == lost { Way::Lose } else { Way::Pass };
        let mut pair = Pair::new();
        pair.command_over(status(), lose, |_| Way::Pass).unwrap();
        assert_eq!((pair.elapsed_ms(), pair.sent.len()), (1000, COLD + 1), "request {lost} lost");
        let mut pair = Pair::new();
        pair.command_over(status(), |_| Way::Pass, lose).unwrap();
        assert_eq!((pair.elapsed_ms(), pair.sent.len()), (1000, COLD + 1), "answer {lost} lost");
    }
}

#[test]
fn a_step_survives_two_losses_and_not_three() {
    let steps = [
        "Get Channel Authentication Capabilities",
        "Open Session",
        "RAKP 1",
        "RAKP 3",
        "Set Session Privilege Level",
        "Get Chassis Status",
    ];
    for (lost, step) in steps.into_iter().enumerate() {
        let mut pair = Pair::new();
        let twice = |n| if (lost..lost + 2).contains(&n) { Way::Lose } else { Way::Pass };
        pair.command_over(status(), twice, |_| Way::Pass).unwrap();
        assert_eq!(pair.elapsed_ms(), 3000, "{step}");

        let mut pair = Pair::new();
        let failure = pair.command_over(status(), |n| if n < lost { Way::Pass } else { Way::Lose }, |_| Way::Pass);
        // After two silent RAKP 3 the handshake is begun again (that it speaks IPMI 2.0 is known), and it is that which fails.
        let (step, elapsed) = if step == "RAKP 3" { (steps[1], 11_000) } else { (step, 8_000) };
        assert_eq!(failure.unwrap_err().to_string(), format!("no answer to {step} after 3 tries in 8.0 s"));
        assert_eq!(pair.elapsed_ms(), elapsed, "{step}");
        assert!(pair.client.is_closed(), "{step}: nothing is kept");
    }
}

#[test]
fn a_lost_rakp_4_is_made_up_for_even_if_the_bmc_answers_only_once() {
    let mut pair = Pair::new();
    pair.bmc.answers_rakp3_once = true;
    pair.command_over(status(), |_| Way::Pass, |n| if n == 3 { Way::Lose } else { Way::Pass }).unwrap();
    assert_eq!((pair.elapsed_ms(), pair.bmc.opened), (3000, 2));
}

#[test]
fn duplicates_are_dropped_with_their_reason() {
    let mut pair = Pair::new();
    pair.command_over(status(), |_| Way::Pass, |_| Way::Twice).unwrap();
    use DropReason::{Replayed, Unexpected};
    assert_eq!(pair.dropped, [Unexpected, Unexpected, Unexpected, Unexpected, Replayed, Replayed]);
    assert_eq!((pair.elapsed_ms(), pair.bmc.opened), (0, 1));

    // The BMC hears a request twice. It then has another session id or random number than the answer we took, says so,
    // and is asked from the start.
    for request in 0..COLD {
        let mut pair = Pair::new();
        pair.command_over(status(), |n| if n == request { Way::Twice } else { Way::Pass }, |_| Way::Pass).unwrap();
        let again = matches!(request, 1 | 2);
        let expected = if again { COLD + request + 1 } else { COLD };
        assert_eq!((pair.elapsed_ms(), pair.sent.len()), (0, expected), "request {request}");
    }
}

#[test]
fn an_answer_that_comes_after_the_repeat_counts_once() {
    let mut pair = Pair::new();
    pair.command(status()).unwrap();
    pair.client.start(pair.now, status());
    let first = pair.transmit().unwrap();
    pair.now += Duration::from_secs(1);
    pair.client.handle_timeout(pair.now);
    let second = pair.transmit().unwrap();
    assert_ne!(first, second, "sent again under a new sequence number");
    let late = pair.bmc.handle(&first).unwrap();
    pair.events.clear();
    pair.dropped.clear();
    pair.deliver(&late);
    assert!(matches!(pair.events[..], [Event::Done(_)]), "the late answer is an answer");
    let answer = pair.bmc.handle(&second).unwrap();
    pair.deliver(&answer);
    assert_eq!(pair.dropped, [DropReason::Unexpected]);

    // And while the next command waits, an answer to the one before is not its answer.
    pair.client.start(pair.now, status());
    let third = pair.transmit().unwrap();
    let session = pair.bmc.session.clone().unwrap();
    let old = response(0x01, 0x3f << 2, 0x01, &[0, 0x21, 0, 0x40]);
    pair.deliver(&session.seal(session.sent + 1, &old, Damage::None));
    pair.bmc.session.as_mut().unwrap().sent += 1;
    assert_eq!(pair.dropped.last(), Some(&DropReason::WrongRequestSequence));
    let answer = pair.bmc.handle(&third).unwrap();
    pair.deliver(&answer);
    assert!(matches!(pair.events[..], [Event::Done(_), Event::Done(_)]));
}

#[test]
fn a_lost_session_is_opened_again_and_the_command_carried_out() {
    for action in [PowerAction::On, PowerAction::Off] {
        let mut pair = Pair::new();
        pair.command(status()).unwrap();
        pair.bmc.restart();
        pair.command(control(action)).unwrap();
        assert_eq!((pair.elapsed_ms(), pair.bmc.opened), (3000, 2), "{action}: two tries, then a new session");
        assert_eq!(pair.bmc.carried_out.last().unwrap().1, 0x02);
    }
}

#[test]
fn what_must_not_happen_twice_is_never_sent_over_a_second_session() {
    // An old session is tried first with something harmless, so a restarted BMC costs nothing.
    let mut pair = Pair::new();
    pair.command(status()).unwrap();
    pair.wait(Duration::from_secs(10));
    pair.bmc.restart();
    pair.command(control(PowerAction::Reset)).unwrap();
    let resets = |pair: &Pair| pair.bmc.carried_out.iter().filter(|(n, c, _)| (*n, *c) == (0, 2)).count();
    assert_eq!((resets(&pair), pair.bmc.opened), (1, 2));

    // With the old session alive it is the same session, one exchange more.
    pair.wait(Duration::from_secs(10));
    pair.command(control(PowerAction::Cycle)).unwrap();
    assert_eq!((resets(&pair), pair.bmc.opened, pair.sent.len()), (2, 2, 2));

    // Heard, but the BMC dies before it answers: nobody can know, so the error says so and nothing is repeated.
    let failure = pair.command_over(control(PowerAction::Reset), |_| Way::Pass, |_| Way::Lose).unwrap_err();
    assert_eq!(failure.to_string(), "no answer to Chassis Control after 3 tries in 8.0 s");
    assert_eq!(pair.bmc.opened, 2);
}

#[test]
fn a_bmc_that_restarts_during_the_handshake_is_asked_from_the_start() {
    let mut pair = Pair::new();
    pair.client.start(pair.now, status());
    for _ in 0..2 {
        let datagram = pair.transmit().unwrap();
        let answer = pair.bmc.handle(&datagram).unwrap();
        pair.deliver(&answer);
    }
    pair.bmc.restart();
    pair.run(pair.now + Duration::from_secs(60), |_| Way::Pass, |_| Way::Pass);
    assert!(matches!(pair.events[..], [Event::Opened, Event::Done(_)]), "{:?}", pair.events);
    assert_eq!(pair.bmc.opened, 2);
}

#[test]
fn a_bmc_that_keeps_refusing_ends_in_an_error() {
    let cases = [
        (0x10, 0x01, "Open Session refused after 0.0 s: status 0x01, no session slot free on the BMC"),
        (0x10, 0x11, "Open Session refused after 0.0 s: status 0x11, cipher suite refused"),
        (0x12, 0x02, "RAKP 1 refused after 0.0 s: status 0x02, invalid session id"),
        (0x12, 0x0d, "RAKP 1 refused after 0.0 s: status 0x0d, unknown user or user not allowed"),
        (0x14, 0x0a, "RAKP 3 refused after 0.0 s: status 0x0a, the user may not have the privilege asked for"),
        (
            0x14,
            0x0f,
            "RAKP 3 refused after 0.0 s: status 0x0f, wrong password (the BMC says that the check value does not match)",
        ),
    ];
    for (step, code, text) in cases {
        let mut pair = Pair::new();
        pair.bmc.refuse_setup = Some((step, code));
        assert_eq!(pair.command(status()).unwrap_err().to_string(), text);
        assert!(pair.client.is_closed());
        assert!(pair.bmc.opened <= 2, "it does not start over for ever");
    }
    let mut pair = Pair::new();
    pair.bmc.only_ipmi_1_5 = true;
    let text = pair.command(status()).unwrap_err().to_string();
    assert!(text.starts_with("the BMC does not speak IPMI 2.0"), "{text}");
}

#[test]
fn a_wrong_password_is_found_in_rakp_2_and_the_bmc_told_to_forget() {
    let mut pair = Pair::with(credentials("admin", "Secret"));
    let text = pair.command(status()).unwrap_err().to_string();
    assert_eq!(text, "wrong password (RAKP 2 authentication code does not match), 0.0 s after RAKP 1");
    pair.run(pair.now, |_| Way::Pass, |_| Way::Pass);
    assert_eq!((pair.bmc.aborts, pair.sent.len()), (1, 4), "the slot is given back, no proof of ours is sent");

    let mut pair = Pair::with(credentials("nobody", "secret"));
    let text = pair.command(status()).unwrap_err().to_string();
    assert_eq!(text, "RAKP 1 refused after 0.0 s: status 0x0d, unknown user or user not allowed");
}

#[test]
fn a_completion_code_is_an_error_in_words_and_the_session_stays() {
    let mut pair = Pair::new();
    pair.bmc.refuse = Some((0x00, 0x02, 0xd5));
    assert_eq!(
        pair.command(control(PowerAction::Cycle)).unwrap_err().to_string(),
        "Chassis Control failed after 0.0 s: completion code 0xd5, not possible in the machine's present state"
    );
    pair.command(status()).unwrap();
    assert_eq!((pair.bmc.opened, pair.sent.len()), (1, 1));
}

#[test]
fn a_privilege_that_is_too_low_gives_the_session_back() {
    let mut pair = Pair::new();
    pair.bmc.refuse = Some((0x06, 0x3b, 0x81));
    assert_eq!(
        pair.command(status()).unwrap_err().to_string(),
        "Set Session Privilege Level failed after 0.0 s: completion code 0x81, \
         the privilege level is above the channel's or the user's limit (it was asked for as administrator)"
    );
    pair.run(pair.now, |_| Way::Pass, |_| Way::Pass);
    assert!(pair.bmc.session.is_none() && pair.client.is_closed());
}

#[test]
fn a_busy_bmc_is_asked_again_and_not_for_ever() {
    let mut pair = Pair::new();
    pair.bmc.busy = 2;
    pair.command(status()).unwrap();
    assert_eq!(pair.elapsed_ms(), 3000);
    pair.bmc.busy = 9;
    assert_eq!(
        pair.command(control(PowerAction::On)).unwrap_err().to_string(),
        "Chassis Control failed after 3.0 s: completion code 0xc0, BMC busy"
    );
    assert!(!pair.bmc.power);
}

#[test]
fn an_unused_session_is_given_back_before_the_bmc_drops_it() {
    let mut pair = Pair::new();
    pair.command(status()).unwrap();
    pair.wait(Duration::from_secs(44));
    assert!(pair.bmc.session.is_some());
    pair.wait(Duration::from_secs(2));
    assert!(pair.bmc.session.is_none() && pair.client.is_closed());

    // A BMC that does not answer the farewell is not asked twice.
    pair.command(status()).unwrap();
    pair.bmc.restart();
    pair.sent.clear();
    pair.wait(Duration::from_secs(60));
    assert_eq!(pair.sent.len(), 1);
    assert!(pair.client.is_closed());
}

#[test]
fn a_command_ends_in_thirty_seconds_whatever_happens() {
    // Each answer comes just before its step is given up: no step fails, the command does.
    let mut pair = Pair::new();
    pair.client.start(pair.now, status());
    while pair.client.is_busy() {
        let answered = pair.now + Duration::from_millis(7900);
        let answer = pair.transmit().and_then(|datagram| pair.bmc.handle(&datagram)).unwrap();
        while let Some(due) = pair.client.poll_timeout().filter(|due| *due < answered) {
            pair.now = due;
            pair.client.handle_timeout(due);
            pair.transmit();
        }
        pair.now = pair.now.max(answered.min(pair.begun + Duration::from_secs(30)));
        pair.deliver(&answer);
    }
    let [Event::Failed(failure)] = &pair.events[..] else { panic!("{:?}", pair.events) };
    assert_eq!(failure.to_string(), "no answer to Open Session after 3 tries in 3.3 s");
    assert_eq!(pair.elapsed_ms(), 30_000);
}

#[test]
fn only_one_command_is_at_hand() {
    let mut pair = Pair::new();
    assert!(pair.client.start(pair.now, status()));
    let before = fingerprint(&pair.client);
    assert!(!pair.client.start(pair.now, control(PowerAction::Off)));
    assert_eq!(fingerprint(&pair.client), before);
}

#[test]
fn every_bad_packet_of_a_session_has_its_reason_and_changes_nothing() {
    let mut pair = Pair::new();
    pair.command(status()).unwrap();
    let session = pair.bmc.session.clone().unwrap();
    let next = session.sent + 1;
    pair.client.start(pair.now, status());
    let request = pair.transmit().unwrap();
    let good = pair.bmc.handle(&request).unwrap();
    let rq_seq = 1 << 2;
    let message = response(0x01, rq_seq, 0x01, &[0, 0x20, 0, 0x40]);
    let sealed = |damage| session.seal(next, &message, damage);
    let cut = |len: usize| good[..len].to_vec();
    let cases = [
        ("nothing at all", cut(0), DropReason::Truncated),
        ("only headers", cut(16), DropReason::Truncated),
        ("half the payload", cut(40), DropReason::Truncated),
        ("no authentication code", cut(good.len() - 14), DropReason::Truncated),
        ("half the authentication code", cut(good.len() - 6), DropReason::Truncated),
        ("wrong authentication code", sealed(Damage::AuthCode), DropReason::BadAuthCode),
        ("not signed", sealed(Damage::NotAuthenticated), DropReason::NotAuthenticated),
        ("in the clear", sealed(Damage::NotEncrypted), DropReason::NotEncrypted),
        ("another session", sealed(Damage::ForeignSession), DropReason::ForeignSession),
        ("integrity pad of zeros", sealed(Damage::IntegrityPad), DropReason::BadIntegrityPadding),
        ("another next header", sealed(Damage::NextHeader), DropReason::BadIntegrityPadding),
        ("seen before", session.seal(1, &message, Damage::None), DropReason::Replayed),
        ("far ahead", session.seal(next + 16, &message, Damage::None), DropReason::OutOfWindow),
    ];
    for (name, datagram, reason) in cases {
        let before = fingerprint(&pair.client);
        assert_eq!(pair.client.handle_datagram(pair.now, &datagram), Action::Dropped(reason), "{name}");
        assert_eq!(fingerprint(&pair.client), before, "{name}");
    }
    pair.events.clear();
    pair.deliver(&good);
    assert!(matches!(pair.events[..], [Event::Done(_)]), "the real answer still counts");
}

/// These are signed with the session's key, so they come from the BMC: their sequence number is used up, and that is all.
#[test]
fn an_authentic_packet_with_wrong_contents_has_its_reason() {
    let mut pair = Pair::new();
    pair.command(status()).unwrap();
    let session = pair.bmc.session.clone().unwrap();
    pair.client.start(pair.now, status());
    pair.transmit().unwrap();
    let with = |address: u8, lun: u8, netfn: u8, command: u8| {
        let mut message = response(netfn, lun, command, &[0, 0x20, 0, 0x40]);
        message[3] = address;
        let last = message.len() - 1;
        message[last] = ipmi_support::bmc::checksum(&message[3..last]);
        message
    };
    let mut checksum = with(0x20, 0, 0x01, 0x01);
    *checksum.last_mut().unwrap() ^= 1;
    let good = with(0x20, 0, 0x01, 0x01);
    let cases = [
        ("pad", good.clone(), Damage::Pad, DropReason::BadConfidentialityPadding),
        ("pad length", good.clone(), Damage::PadLength, DropReason::BadConfidentialityPadding),
        ("half a block", good.clone(), Damage::HalfBlock, DropReason::BadConfidentialityPadding),
        ("checksum", checksum, Damage::None, DropReason::BadChecksum),
        ("too short", vec![0x81, 0x04, 0x7b], Damage::None, DropReason::Truncated),
        ("another controller", with(0x24, 0, 0x01, 0x01), Damage::None, DropReason::WrongAddress),
        ("another command", with(0x20, 0, 0x01, 0x02), Damage::None, DropReason::WrongCommand),
        ("another function", with(0x20, 0, 0x07, 0x01), Damage::None, DropReason::WrongCommand),
        ("an earlier request", with(0x20, 0xfc, 0x01, 0x01), Damage::None, DropReason::WrongRequestSequence),
    ];
    for (sequence, (name, message, damage, reason)) in (session.sent + 1..).zip(cases) {
        let datagram = session.seal(sequence, &message, damage);
        assert_eq!(pair.client.handle_datagram(pair.now, &datagram), Action::Dropped(reason), "{name}");
        assert!(pair.client.is_busy(), "{name}");
        let again = pair.client.handle_datagram(pair.now, &datagram);
        assert_eq!(again, Action::Dropped(DropReason::Replayed), "{name}, again");
    }
    assert!(pair.client.poll_event().is_none());
}

#[test]
fn handshake_messages_of_another_attempt_are_dropped() {
    let mut pair = Pair::new();
    pair.client.start(pair.now, status());
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for step in 0..4 {
        let datagram = pair.transmit().unwrap();
        let answer = pair.bmc.handle(&datagram).unwrap();
        if step > 0 {
            let with = |at: usize| {
                let mut wrong = answer.clone();
                wrong[at] ^= 0x55;
                wrong
            };
            let cases = [
                ("message tag", with(16), DropReason::WrongTag),
                ("session id", with(20), DropReason::ForeignSession),
                (
                    "payload type",
                    with(5),
                    [DropReason::PayloadType, DropReason::ForeignSession][usize::from(step == 3)],
                ),
            ];
            for (name, datagram, reason) in cases {
                let before = fingerprint(&pair.client);
                let action = pair.client.handle_datagram(pair.now, &datagram);
                assert_eq!(action, Action::Dropped(reason), "step {step}, {name}");
                assert_eq!(fingerprint(&pair.client), before);
            }
        }
        for earlier in &answers {
            let action = pair.client.handle_datagram(pair.now, earlier);
            assert_eq!(action, Action::Dropped(DropReason::Unexpected), "step {step}");
        }
        pair.deliver(&answer);
        answers.push(answer);
    }
    assert_eq!(pair.events, [Event::Opened]);
}

//! The BMC socket's own behaviour: limits, queues, callers that go away, sessions given back.

mod ipmi_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipmi_support::bmc::FakeBmc;
use ipmi_support::sim::{PASSWORD, USER, own_address};
use ipmi_support::step::Way;
use ipmi_support::wire::{Served, Wire};
use reveille_provisioner::io::bmc::{
    BmcError, BmcLimits, BmcSocket, BmcTarget, PowerAction, PowerState, Privilege, Timing,
};

fn that_waits(millis: [u64; 3]) -> BmcLimits {
    let timing = Timing { waits: millis.map(Duration::from_millis), ..Timing::default() };
    BmcLimits { timing, ..BmcLimits::default() }
}

/// Silence that is short enough to be waited for.
fn hasty() -> BmcLimits {
    that_waits([50, 100, 250])
}

/// Soon sends again what was lost, and does not take a busy machine for a dead BMC.
fn patient() -> BmcLimits {
    that_waits([50, 1_000, 10_000])
}

fn target(address: std::net::SocketAddr) -> BmcTarget {
    BmcTarget::new(address, USER, PASSWORD, Privilege::Administrator).unwrap()
}

fn fake() -> Served {
    Served::start(FakeBmc::new(USER, PASSWORD))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn commands_for_one_bmc_wait_in_a_queue_that_ends() {
    let bmc = BmcSocket::start(None, BmcLimits { queue_max: 3, ..hasty() }).unwrap();
    let dead = target(own_address());
    // One in flight, three waiting, and the fifth is refused at once.
    let asked = || async { (bmc.power_state(&dead).await, Instant::now()) };
    let answers = tokio::join!(asked(), asked(), asked(), asked(), asked());
    let (refused, refused_at) = answers.4;
    assert!(matches!(refused, Err(BmcError::QueueFull { limit: 3, .. })), "{refused:?}");
    let (silences, ended): (Vec<_>, Vec<_>) = [answers.0, answers.1, answers.2, answers.3]
        .map(|(answer, ended_at)| (answer.unwrap_err().to_string(), ended_at))
        .into_iter()
        .unzip();
    assert!(silences[0].contains("after 3 tries in "), "{}", silences[0]);
    assert!(silences.iter().all(|text| *text == silences[0]), "silence is waited for once, by all: {silences:?}");
    assert!(ended.into_iter().all(|ended_at| refused_at < ended_at), "the fifth waited for the others");
}

#[tokio::test]
async fn one_bmc_too_many_is_refused_until_another_is_done_with() {
    let bmc = BmcSocket::start(None, BmcLimits { sessions_max: 1, ..that_waits([50, 450, 3_000]) }).unwrap();
    let (dead, alive) = (target(own_address()), fake());
    let alive = (target(alive.address), alive);
    let (silence, refused) = tokio::join!(bmc.power_state(&dead), bmc.power_state(&alive.0));
    assert!(matches!(refused, Err(BmcError::TableFull { limit: 1, .. })), "{refused:?}");
    silence.unwrap_err();
    assert_eq!(bmc.power_state(&alive.0).await.unwrap(), PowerState::Off, "the dead one's place is free");
}

#[tokio::test]
async fn a_command_nobody_waits_for_any_more_is_not_sent() {
    let bmc = BmcSocket::start(None, patient()).unwrap();
    let served = fake();
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let there = move |_| if gate.load(Ordering::Relaxed) { Way::Pass } else { Way::Lose };
    let wire = Wire::to(served.address, there, |_| Way::Pass);
    let target = target(wire.address);
    // The first is in flight towards a BMC that does not hear it yet; the second waits, and its caller goes.
    let (first, second) = tokio::join!(bmc.power_state(&target), async {
        let second = tokio::time::timeout(Duration::from_millis(20), bmc.set_power(&target, PowerAction::On)).await;
        open.store(true, Ordering::Relaxed);
        second
    });
    assert!(second.is_err(), "it was given up while waiting");
    assert_eq!(first.unwrap(), PowerState::Off);
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::Off);
    let carried_out = &served.bmc.lock().unwrap().carried_out;
    assert!(!carried_out.iter().any(|(netfn, command, _)| (*netfn, *command) == (0x00, 0x02)), "{carried_out:?}");
}

#[tokio::test]
async fn sessions_are_given_back_when_the_socket_goes() {
    let served = fake();
    let bmc = BmcSocket::start(None, patient()).unwrap();
    bmc.power_state(&target(served.address)).await.unwrap();
    assert!(served.bmc.lock().unwrap().session.is_some());
    drop(bmc);
    until("the BMC has its slot back", || served.bmc.lock().unwrap().session.is_none()).await;
}

#[tokio::test]
async fn other_credentials_open_another_session() {
    let served = fake();
    // Each request once, so that the sessions can be counted.
    let bmc = BmcSocket::start(None, that_waits([10_000; 3])).unwrap();
    let good = target(served.address);
    bmc.power_state(&good).await.unwrap();
    let bad = BmcTarget::new(served.address, USER, "other", Privilege::Administrator).unwrap();
    let error = bmc.power_state(&bad).await.unwrap_err().to_string();
    assert!(error.contains("wrong password"), "an open session is nobody else's: {error}");
    assert_eq!(served.bmc.lock().unwrap().closed, 1, "the first user's session was given back");
    bmc.power_state(&good).await.unwrap();
    assert_eq!(served.bmc.lock().unwrap().opened, 3);
}

#[tokio::test]
async fn what_the_system_will_not_send_is_said() {
    let bmc = BmcSocket::start(None, hasty()).unwrap();
    let broadcast = target("255.255.255.255:623".parse().unwrap());
    let error = bmc.power_state(&broadcast).await.unwrap_err();
    assert!(matches!(error, BmcError::NotSent { .. }), "{error:?}");
    assert!(error.to_string().ends_with("; the last datagram could not be sent"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("denied"), "{source}");
}

#[tokio::test]
async fn datagrams_of_strangers_change_nothing() {
    let served = fake();
    // An address that only this test listens on, so that nobody else's socket is hit.
    let local = own_address().ip();
    let bmc = BmcSocket::start(Some(local), that_waits([10_000; 3])).unwrap();
    let target = target(served.address);
    bmc.power_state(&target).await.unwrap();
    let stranger = std::net::UdpSocket::bind((local, 0)).unwrap();
    // The stranger does not know our port; it tries every one of the ephemeral range.
    for port in 32_768..=60_999 {
        let _ = stranger.send_to(&[0x06, 0x00, 0xff, 0x07, 0x06], (local, port));
    }
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::Off);
    assert_eq!(served.bmc.lock().unwrap().opened, 1);
}

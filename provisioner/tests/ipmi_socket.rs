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

fn hasty() -> BmcLimits {
    let timing = Timing { waits: [50, 100, 250].map(Duration::from_millis), ..Timing::default() };
    BmcLimits { timing, ..BmcLimits::default() }
}

fn target(address: std::net::SocketAddr) -> BmcTarget {
    BmcTarget::new(address, USER, PASSWORD, Privilege::Administrator).unwrap()
}

fn fake() -> Served {
    Served::start(FakeBmc::new(USER, PASSWORD))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
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
    let answers = tokio::join!(
        bmc.power_state(&dead),
        bmc.power_state(&dead),
        bmc.power_state(&dead),
        bmc.power_state(&dead),
        async {
            let begun = Instant::now();
            (bmc.power_state(&dead).await, begun.elapsed())
        },
    );
    let (refused, waited) = answers.4;
    assert!(matches!(refused, Err(BmcError::QueueFull { limit: 3, .. })), "{refused:?}");
    assert!(waited < Duration::from_millis(300), "{waited:?}");
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("after 3 tries in 0.4 s"), "silence is waited for once, by all: {error}");
    }
}

#[tokio::test]
async fn one_bmc_too_many_is_refused_until_another_is_done_with() {
    let bmc = BmcSocket::start(None, BmcLimits { sessions_max: 1, ..hasty() }).unwrap();
    let (dead, alive) = (target(own_address()), fake());
    let alive = (target(alive.address), alive);
    let (silence, refused) = tokio::join!(bmc.power_state(&dead), bmc.power_state(&alive.0));
    assert!(matches!(refused, Err(BmcError::TableFull { limit: 1, .. })), "{refused:?}");
    silence.unwrap_err();
    assert_eq!(bmc.power_state(&alive.0).await.unwrap(), PowerState::Off, "the dead one's place is free");
}

#[tokio::test]
async fn a_command_nobody_waits_for_any_more_is_not_sent() {
    let bmc = BmcSocket::start(None, hasty()).unwrap();
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
    let bmc = BmcSocket::start(None, hasty()).unwrap();
    bmc.power_state(&target(served.address)).await.unwrap();
    assert!(served.bmc.lock().unwrap().session.is_some());
    drop(bmc);
    until("the BMC has its slot back", || served.bmc.lock().unwrap().session.is_none()).await;
}

#[tokio::test]
async fn other_credentials_open_another_session() {
    let served = fake();
    let bmc = BmcSocket::start(None, hasty()).unwrap();
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
    assert!(error.to_string().ends_with("in 0.4 s; the last datagram could not be sent"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("denied"), "{source}");
}

#[tokio::test]
async fn datagrams_of_strangers_change_nothing() {
    let served = fake();
    // An address that only this test listens on, so that nobody else's socket is hit.
    let local = own_address().ip();
    let bmc = BmcSocket::start(Some(local), hasty()).unwrap();
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

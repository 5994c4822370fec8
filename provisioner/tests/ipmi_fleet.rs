//! Many BMCs over one socket, and all that one BMC can be asked, against the simulator on sockets.

mod ipmi_support;

use std::time::Duration;

use ipmi_support::sim::{PASSWORD, Sim, USER, own_address};
use reveille_bmc_simulator::{Event, Fleet, Personality, Server};
use reveille_provisioner::io::bmc::{BmcLimits, BmcSocket, BmcTarget, Idle, PowerState, Privilege, Timing};
use reveille_provisioner::proto::ipmi::command::{
    ChassisIdentify, GetDeviceGuid, GetDeviceId, GetSystemGuid, GetWatchdog, Identify, LanParameter, ResetWatchdog,
    SetUserPassword, SetWatchdog, WatchdogAction,
};
use reveille_provisioner::proto::ipmi::{Hop, Password, Route};
use tokio::task::JoinSet;

fn target(address: std::net::SocketAddr) -> BmcTarget {
    BmcTarget::new(address, USER, PASSWORD, Privilege::Administrator).unwrap()
}

/// Soon sends again what was lost, and ends with a silence that a busy machine does not cause.
fn hasty() -> BmcLimits {
    let timing = Timing { waits: [100, 200, 3_000].map(Duration::from_millis), ..Timing::default() };
    BmcLimits { timing, ..BmcLimits::default() }
}

fn one() -> (Server, BmcTarget) {
    let fleet = Fleet::of_this_process(1);
    let target = target(fleet.address(0));
    (Server::start(fleet).unwrap(), target)
}

#[tokio::test]
async fn sensors_are_read_with_their_units() {
    let (server, target) = one();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    for (is_on, fan) in [(false, "no reading"), (true, "6000 RPM ok")] {
        server.bmcs()[0].machine.push_button(is_on);
        let read = bmc.sensors(&target).await.unwrap();
        let lines: Vec<String> = read
            .iter()
            .map(|(sensor, reading)| {
                let reading = reading.as_ref().unwrap();
                let unit = sensor.scale.as_ref().map_or("", |scale| scale.unit.as_str());
                let value = sensor.value(reading).map_or(String::new(), |value| format!("{value} {unit} "));
                format!("{}: {value}{}", sensor.name, sensor.state(reading))
            })
            .collect();
        let power = if is_on { "220" } else { "12" };
        let expected = [
            "CPU Temp: 42 °C ok".to_owned(),
            "Inlet Temp: 22 °C ok".to_owned(),
            format!("Fan 1: {fan}"),
            "12V: 12.06 V ok".to_owned(),
            format!("Power: {power} W ok"),
            "Coolant: 35 °C ok".to_owned(),
            "PS1 Status: state 0".to_owned(),
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn the_event_log_is_read_and_erased() {
    let (server, target) = one();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    assert_eq!(bmc.events(&target).await.unwrap(), []);
    let event = |at, data| Event { at, sensor: (1, 1), kind: 1, data };
    server.bmcs()[0].machine.events = vec![event(1_700_000_000, [0x59, 95, 90]), event(1_700_000_060, [0x58, 80, 90])];
    let read = bmc.events(&target).await.unwrap();
    let lines: Vec<_> = read.iter().map(|entry| (entry.at.unwrap(), entry.words())).collect();
    assert_eq!(lines[0], (1_700_000_000, "temperature sensor 0x01: above upper critical".to_owned()));
    assert_eq!(lines[1], (1_700_000_060, "temperature sensor 0x01: back below upper critical".to_owned()));
    bmc.clear_events(&target).await.unwrap();
    assert!(server.bmcs()[0].machine.events.is_empty());
}

#[tokio::test]
async fn inventory_identity_and_settings_are_read_and_set() {
    let (server, target) = one();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    let fields = bmc.inventory(&target).await.unwrap().fields;
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str());
    assert_eq!(field("board product"), Some("Simulated board"));
    assert_eq!(field("product asset tag"), Some("tag-7"));

    let guid = bmc.execute(&target, GetSystemGuid).await.unwrap();
    assert_eq!(guid.0, server.bmcs()[0].guid);
    assert_eq!(bmc.execute(&target, GetDeviceGuid).await.unwrap(), guid);
    let address = bmc.lan_parameter(&target, LanParameter::Address).await.unwrap().unwrap();
    assert_eq!(address.address(), Some([10, 77, 1, 9].into()));

    bmc.execute(&target, ChassisIdentify(Identify::On)).await.unwrap();
    assert_eq!(server.bmcs()[0].machine.identify, 0xffff);
    let refused = bmc.execute(&target, ResetWatchdog).await.unwrap_err().to_string();
    assert!(refused.contains("the watchdog was never set"), "{refused}");
    let set = SetWatchdog { action: WatchdogAction::Reset, countdown: Duration::from_secs(90) };
    bmc.execute(&target, set).await.unwrap();
    bmc.execute(&target, ResetWatchdog).await.unwrap();
    let watchdog = bmc.execute(&target, GetWatchdog).await.unwrap();
    assert_eq!((watchdog.action, watchdog.countdown), (set.action, set.countdown));

    let password =
        |text: &str, only_test| SetUserPassword { user_id: 2, password: Password::new(text).unwrap(), only_test };
    bmc.execute(&target, password(PASSWORD, true)).await.unwrap();
    let refused = bmc.execute(&target, password("another", true)).await.unwrap_err().to_string();
    assert!(refused.contains("the user has another password") && !refused.contains("another\""), "{refused}");
    bmc.execute(&target, password("new", false)).await.unwrap();
    assert_eq!(server.bmcs()[0].machine.passwords, [(2, b"new".to_vec())]);
}

#[tokio::test]
async fn a_controller_behind_the_bmc_is_what_ipmitool_says_it_is() {
    let sim = Sim::start();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    let route = Route::bridged(Hop { channel: 0, address: 0x30 });
    let id = bmc.execute_via(&sim.target(), GetDeviceId, route).await.unwrap();
    assert_eq!((id.product_id, bmc.device_id(&sim.target()).await.unwrap().product_id), (0xf03, 0xf02));
    let text = sim.ipmitool(&["-t", "0x30", "mc", "info"]);
    assert!(text.contains(&format!("Product ID                : {}", id.product_id)), "{text}");
    let nobody = Route::bridged(Hop { channel: 0, address: 0x52 });
    let error = bmc.execute_via(&sim.target(), GetDeviceId, nobody).await.unwrap_err().to_string();
    assert!(error.contains("no controller answers at this address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_wire_and_dead_bmcs_cost_only_those_who_are_dead() {
    let mut fleet = Fleet { dead: 100, ..Fleet::of_this_process(300) };
    (fleet.faults.lost, fleet.faults.twice, fleet.faults.late) = (20, 20, 20);
    fleet.faults.late_by = Duration::from_millis(150);
    let server = Server::start(fleet.clone()).unwrap();
    (0..300).step_by(2).for_each(|n| server.bmcs()[n].machine.push_button(true));
    let limits = BmcLimits { busy_max: 64, ..hasty() };
    let bmc = BmcSocket::start(None, limits).unwrap();
    let mut asked = JoinSet::new();
    for n in 0..300 {
        let (bmc, target, tries) = (bmc.clone(), target(fleet.address(n)), if fleet.is_dead(n) { 1 } else { 4 });
        asked.spawn(async move {
            // Three losses in a row of one step happen to one in some hundred.
            let mut answer = bmc.power_state(&target).await;
            for _ in 1..tries {
                answer = if answer.is_ok() { answer } else { bmc.power_state(&target).await };
            }
            (n, answer)
        });
    }
    for (n, answer) in asked.join_all().await {
        match answer {
            Ok(state) => assert_eq!((state == PowerState::On, fleet.is_dead(n)), (n % 2 == 0, false), "BMC {n}"),
            Err(error) => assert!(fleet.is_dead(n), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_dead_bmc_takes_no_ones_place() {
    let (_server, alive) = one();
    let timing = Timing { waits: [100, 60_000, 60_000].map(Duration::from_millis), ..Timing::default() };
    let bmc = BmcSocket::start(None, BmcLimits { busy_max: 1, timing, ..BmcLimits::default() }).unwrap();
    let dead = target(own_address());
    tokio::select! {
        biased;
        ended = bmc.power_state(&dead) => panic!("{ended:?}"),
        answer = bmc.power_state(&alive) => assert_eq!(answer.unwrap(), PowerState::Off),
    }
}

#[tokio::test]
async fn a_session_is_held_or_given_back_as_told() {
    let (server, target) = one();
    let timing = |idle| Timing { idle, ..Timing::default() };
    let close = BmcLimits { timing: timing(Idle::CloseAfter(Duration::from_millis(50))), ..BmcLimits::default() };
    let bmc = BmcSocket::start(None, close).unwrap();
    bmc.power_state(&target).await.unwrap();
    until(|| server.counts().closed == 1).await;
    let hold = BmcLimits { timing: timing(Idle::KeepAliveEvery(Duration::from_millis(50))), ..BmcLimits::default() };
    let bmc = BmcSocket::start(None, hold).unwrap();
    bmc.power_state(&target).await.unwrap();
    let commands = server.counts().commands;
    until(|| server.counts().commands >= commands + 3).await;
    assert_eq!((server.counts().opened, server.counts().closed), (2, 1));
    bmc.close_sessions().await;
    until(|| server.counts().closed == 2).await;
}

#[tokio::test]
async fn another_machine_at_the_same_address_is_refused_until_it_is_said_to_be_right() {
    let fleet = Fleet::of_this_process(1);
    let target = target(fleet.address(0));
    let server = Server::start(fleet.clone()).unwrap();
    let bmc = BmcSocket::start(None, hasty()).unwrap();
    bmc.power_state(&target).await.unwrap();
    drop(server);
    let server = Server::start(Fleet { seed: 2, ..fleet }).unwrap();
    let mut error = bmc.power_state(&target).await.unwrap_err().to_string();
    if !error.contains("GUID") {
        // The old session was given up for lost first.
        error = bmc.power_state(&target).await.unwrap_err().to_string();
    }
    assert!(error.contains("is it another machine?"), "{error}");
    assert_eq!(server.counts().commands, 0);
    bmc.forget(target.address).await;
    bmc.power_state(&target).await.unwrap();
}

#[tokio::test]
async fn sessions_that_are_exhausted_are_an_error_in_words() {
    let fleet = Fleet { personality: Personality { slots: 0, ..Personality::default() }, ..Fleet::of_this_process(1) };
    let target = target(fleet.address(0));
    let _server = Server::start(fleet).unwrap();
    let error = BmcSocket::start(None, hasty()).unwrap().power_state(&target).await.unwrap_err().to_string();
    assert!(error.contains("no session slot free on the BMC"), "{error}");
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it does not become so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

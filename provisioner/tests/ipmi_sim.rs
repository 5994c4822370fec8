//! The native client against a real BMC simulator (OpenIPMI's `ipmi_sim`), with ipmitool as the second opinion.

mod ipmi_support;

use std::time::{Duration, Instant};

use ipmi_support::bmc::FakeBmc;
use ipmi_support::sim::{PASSWORD, Sim, USER, ipmitool, own_address};
use ipmi_support::step::Way;
use ipmi_support::wire::{Served, Wire};
use reveille_provisioner::io::bmc::{
    BmcConsole, BmcLimits, BmcSocket, BmcTarget, BootDevice, ConsoleEnd, ConsoleEvent, ConsoleInput, Firmware,
    PowerAction, PowerState, Privilege, Timing,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn socket() -> BmcSocket {
    BmcSocket::start(None, BmcLimits::default()).unwrap()
}

fn socket_that_waits(millis: [u64; 3]) -> BmcSocket {
    let timing = Timing { waits: millis.map(Duration::from_millis), ..Timing::default() };
    BmcSocket::start(None, BmcLimits { timing, ..BmcLimits::default() }).unwrap()
}

/// Silence that is short enough to be waited for: 0.4 s for three tries.
fn hasty_socket() -> BmcSocket {
    socket_that_waits([50, 100, 250])
}

/// Soon sends again what was lost, and does not take a busy machine for a dead BMC.
fn patient_socket() -> BmcSocket {
    socket_that_waits([50, 1_000, 10_000])
}

#[tokio::test]
async fn power_is_what_ipmitool_says_it_is() {
    let sim = Sim::start();
    let bmc = socket();
    let target = sim.target();
    let steps = [
        (None, PowerState::Off, ""),
        (Some(PowerAction::On), PowerState::On, "set power 1"),
        (Some(PowerAction::Reset), PowerState::On, "set reset 1"),
        (Some(PowerAction::Soft), PowerState::On, "set shutdown 1"),
        (Some(PowerAction::Off), PowerState::Off, "set power 0"),
    ];
    for (action, state, call) in steps {
        if let Some(action) = action {
            bmc.set_power(&target, action).await.unwrap();
        }
        assert!(sim.read("calls").contains(call), "{action:?}: {}", sim.read("calls"));
        assert_eq!(bmc.power_state(&target).await.unwrap(), state, "{action:?}");
        assert_eq!(sim.ipmitool(&["chassis", "power", "status"]).trim(), format!("Chassis Power is {state}"));
    }
    // What ipmitool does, we see.
    sim.ipmitool(&["chassis", "power", "on"]);
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::On);
}

#[tokio::test]
async fn the_boot_device_is_what_ipmitool_says_it_is() {
    let sim = Sim::start();
    let bmc = socket();
    let target = sim.target();
    let cases = [
        (BootDevice::Pxe, "Force PXE", "pxe"),
        (BootDevice::Disk, "Force Boot from default Hard-Drive", "default"),
        (BootDevice::Cdrom, "Force Boot from CD/DVD", "cdrom"),
        (BootDevice::Bios, "Force Boot into BIOS Setup", "bios"),
        (BootDevice::Pxe, "Force PXE", "pxe"),
        (BootDevice::None, "No override", "none"),
    ];
    for (device, ipmitools, hooks) in cases {
        bmc.set_boot_device(&target, device, false, Firmware::Legacy).await.unwrap();
        assert_eq!(bmc.boot_device(&target).await.unwrap().device, device);
        let text = sim.ipmitool(&["chassis", "bootparam", "get", "5"]);
        assert!(text.contains(&format!("Boot Device Selector : {ipmitools}")), "{device}: {text}");
        assert_eq!(sim.read("boot"), hooks, "{device}");
    }
    sim.ipmitool(&["chassis", "bootdev", "cdrom"]);
    assert_eq!(bmc.boot_device(&target).await.unwrap().device, BootDevice::Cdrom);
}

#[tokio::test]
async fn the_device_id_is_what_ipmitool_says_it_is() {
    let sim = Sim::start();
    let id = socket().device_id(&sim.target()).await.unwrap();
    let text = sim.ipmitool(&["mc", "info"]);
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    assert_eq!(value("Device ID"), id.device_id.to_string());
    assert_eq!(value("Device Revision"), id.device_revision.to_string());
    assert_eq!(value("Firmware Revision"), format!("{}.{:02}", id.firmware_major, id.firmware_minor));
    assert_eq!(value("IPMI Version"), format!("{}.{}", id.ipmi_version.0, id.ipmi_version.1));
    assert_eq!(value("Manufacturer ID"), id.manufacturer_id.to_string());
    assert!(value("Product ID").starts_with(&id.product_id.to_string()));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let sim = Sim::start();
    let bmc = socket();
    let address = sim.address;
    let cases = [
        (USER, "Secret", "wrong password (RAKP 2 authentication code does not match)"),
        (USER, "", "wrong password (RAKP 2 authentication code does not match)"),
        ("nobody", PASSWORD, "RAKP 1 refused after "),
    ];
    for (user, password, text) in cases {
        let error = bmc.power_state(&sim.target_as(user, password)).await.expect_err(user).to_string();
        let (_, rest) = error.split_once(&format!("BMC {address}: ")).unwrap_or_else(|| panic!("{error}"));
        assert!(rest.starts_with(text), "{user}: {error}");
        assert!(!error.contains(PASSWORD) && !error.contains("Secret"), "{error}");
    }
    // The reader may read if it asks for no more, and may not switch.
    let reader = BmcTarget::new(address, "looker", PASSWORD, Privilege::User).unwrap();
    assert_eq!(bmc.power_state(&reader).await.unwrap(), PowerState::Off);
    let error = bmc.set_power(&reader, PowerAction::On).await.unwrap_err().to_string();
    assert!(error.contains("completion code 0xd4, privilege level too low"), "{error}");
    assert_eq!(sim.read("power"), "0");
}

#[tokio::test]
async fn a_dead_bmc_costs_a_bounded_time() {
    let address = own_address();
    let target = BmcTarget::new(address, USER, PASSWORD, Privilege::Administrator).unwrap();
    let begun = Instant::now();
    let error = hasty_socket().power_state(&target).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    let expected = format!("BMC {address}: no answer to Get Channel Authentication Capabilities after 3 tries in ");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_bmc_that_was_restarted_gets_a_new_session() {
    let mut sim = Sim::start();
    // It is waited for once below, until it is given up.
    let bmc = socket_that_waits([50, 450, 3_000]);
    let target = sim.target();
    bmc.set_power(&target, PowerAction::On).await.unwrap();
    sim.boot();
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::On);
    sim.kill();
    let error = bmc.power_state(&target).await.unwrap_err().to_string();
    assert!(error.contains("no answer to Open Session after 3 tries"), "{error}");
    sim.boot();
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::On);
}

#[tokio::test]
async fn lost_and_repeated_datagrams_do_no_harm() {
    let sim = Sim::start();
    let lose = |n: usize| move |at: usize| if at == n { Way::Lose } else { Way::Pass };
    let repeat = |n: usize| move |at: usize| if at == n { Way::Twice } else { Way::Pass };
    let pass = |_| Way::Pass;
    for n in 0..7 {
        for wire in [
            Wire::to(sim.address, lose(n), pass),
            Wire::to(sim.address, pass, lose(n)),
            Wire::to(sim.address, repeat(n), pass),
            Wire::to(sim.address, pass, repeat(n)),
        ] {
            let bmc = patient_socket();
            let target = BmcTarget { address: wire.address, ..sim.target() };
            let action = if n % 2 == 0 { PowerAction::On } else { PowerAction::Off };
            let state = if n % 2 == 0 { PowerState::On } else { PowerState::Off };
            bmc.set_power(&target, action).await.unwrap_or_else(|error| panic!("datagram {n}: {error}"));
            assert_eq!(bmc.power_state(&target).await.unwrap(), state, "datagram {n}");
        }
    }
}

#[tokio::test]
async fn one_socket_serves_several_bmcs_at_a_time() {
    let sims = [Sim::start(), Sim::start(), Sim::start()];
    let bmc = socket();
    bmc.set_power(&sims[1].target(), PowerAction::On).await.unwrap();
    let targets = sims.each_ref().map(Sim::target);
    let states = tokio::join!(bmc.power_state(&targets[0]), bmc.power_state(&targets[1]), bmc.power_state(&targets[2]));
    assert_eq!(states.0.unwrap(), PowerState::Off);
    assert_eq!(states.1.unwrap(), PowerState::On);
    assert_eq!(states.2.unwrap(), PowerState::Off);
}

/// The fake BMC that the fault tests step through is a BMC to ipmitool too.
#[tokio::test]
async fn ipmitool_takes_the_fake_for_a_bmc() {
    let fake = Served::start(FakeBmc::new(USER, PASSWORD));
    assert_eq!(ipmitool(fake.address, &["chassis", "power", "on"]).trim(), "Chassis Power Control: Up/On");
    assert_eq!(ipmitool(fake.address, &["chassis", "power", "status"]).trim(), "Chassis Power is on");
    assert!(fake.bmc.lock().unwrap().session.is_none(), "ipmitool has closed its session");
    let target = BmcTarget::new(fake.address, USER, PASSWORD, Privilege::Administrator).unwrap();
    assert_eq!(socket().power_state(&target).await.unwrap(), PowerState::On);
}

/// What comes over a console until it holds `text`.
async fn until_said(console: &mut BmcConsole, text: &str) -> String {
    let mut said = String::new();
    let listen = async {
        while !said.contains(text) {
            match console.next().await {
                Some(ConsoleEvent::Output(octets)) => said.push_str(&String::from_utf8_lossy(&octets)),
                Some(ConsoleEvent::Attached | ConsoleEvent::Overrun) => {}
                ended => panic!("{ended:?} after {said:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), listen).await.expect("it is said");
    said
}

/// The serial line of `ipmi_sim`'s machine is a TCP connection to us.
#[tokio::test]
async fn the_console_is_attached_and_handed_on() {
    let machine = tokio::net::TcpListener::bind((own_address().ip(), 0)).await.unwrap();
    let sim = Sim::start_with_serial(machine.local_addr().unwrap());
    let open = async |take_over| BmcConsole::open(&sim.target(), Timing::default(), take_over).await.unwrap();
    let mut console = open(false).await;
    assert_eq!(console.next().await, Some(ConsoleEvent::Attached));
    let (mut line, _) = machine.accept().await.unwrap();
    line.write_all(b"login: ").await.unwrap();
    until_said(&mut console, "login: ").await;
    assert!(console.send(ConsoleInput::Write(b"root\r".to_vec())).await);
    let mut typed = [0; 5];
    tokio::time::timeout(Duration::from_secs(60), line.read_exact(&mut typed)).await.expect("it comes").unwrap();
    assert_eq!(&typed, b"root\r");

    let mut second = open(false).await;
    assert_eq!(second.next().await, Some(ConsoleEvent::Ended(ConsoleEnd::Held)));
    assert!(console.send(ConsoleInput::Close).await);
    assert_eq!(console.next().await, Some(ConsoleEvent::Ended(ConsoleEnd::Closed)));
    assert_eq!(open(false).await.next().await, Some(ConsoleEvent::Attached), "it was let go");
}

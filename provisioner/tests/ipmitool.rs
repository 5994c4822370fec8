//! The program ipmitool as a driver, against ipmi_sim and against our own simulator; and programs that are not ipmitool.

mod ipmi_support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ipmi_support::sim::{PASSWORD, Sim, USER, own_address};
use reveille_bmc_simulator::{Fleet, Server};
use reveille_config::provisioner::Ipmi;
use reveille_provisioner::io::bmc::{BootDevice, Firmware, PowerAction, PowerState};
use reveille_provisioner::io::ipmitool::{Ipmitool, IpmitoolCause};
use reveille_provisioner::proto::access::IpmitoolAccess;
use serde_json::{Value, json};

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

fn access(address: std::net::SocketAddr, password: &str, more: Value) -> IpmitoolAccess {
    let mut info = json!({ "ipmi_address": address.ip(), "ipmi_port": address.port(), "ipmi_username": USER, "ipmi_password": password });
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let Value::Object(info) = info else { panic!() };
    IpmitoolAccess::read(&info, &Ipmi::default()).unwrap()
}

#[tokio::test]
async fn power_and_boot_device_of_ipmi_sim() {
    let sim = Sim::start();
    let ipmitool = Ipmitool::new(PATIENCE);
    for more in [json!({ "ipmi_cipher_suite_version": 3 }), json!({ "ipmi_protocol_version": "1.5" })] {
        let access = access(sim.address, PASSWORD, more.clone());
        for (action, state, call) in [
            (PowerAction::On, PowerState::On, "set power 1"),
            (PowerAction::Soft, PowerState::On, "set shutdown 1"),
            (PowerAction::Off, PowerState::Off, "set power 0"),
        ] {
            ipmitool.set_power(&access, action).await.unwrap_or_else(|error| panic!("{more}: {error}"));
            assert!(sim.read("calls").contains(call), "{action}: {}", sim.read("calls"));
            assert_eq!(ipmitool.power_state(&access).await.unwrap(), state, "{more} {action}");
        }
    }
    let access = access(sim.address, PASSWORD, json!({ "ipmi_cipher_suite_version": 3 }));
    ipmitool.set_boot_device(&access, BootDevice::Pxe, false, Firmware::Legacy).await.unwrap();
    assert_eq!(ipmitool.boot_device(&access).await.unwrap().device, BootDevice::Pxe);
    assert_eq!(sim.read("boot"), "pxe");
}

#[tokio::test]
async fn power_and_boot_device_of_our_own_simulator_by_suite_17() {
    let fleet = Fleet::of_this_process(1);
    let access = access(fleet.address(0), PASSWORD, json!({ "ipmi_cipher_suite_version": 17 }));
    let _server = Server::start(fleet).unwrap();
    let ipmitool = Ipmitool::new(PATIENCE);
    ipmitool.set_power(&access, PowerAction::On).await.unwrap();
    assert_eq!(ipmitool.power_state(&access).await.unwrap(), PowerState::On);
    ipmitool.set_boot_device(&access, BootDevice::Pxe, true, Firmware::Uefi).await.unwrap();
    let flags = ipmitool.boot_device(&access).await.unwrap();
    assert_eq!((flags.device, flags.persistent, flags.firmware), (BootDevice::Pxe, true, Firmware::Uefi));
}

#[tokio::test]
async fn a_wrong_password_and_a_dead_bmc_are_readable_errors() {
    let sim = Sim::start();
    let error = Ipmitool::new(PATIENCE)
        .power_state(&access(sim.address, "not-it", json!({ "ipmi_cipher_suite_version": 3 })))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("BMC {}: Get Chassis Status by ipmitool: it ended with ", sim.address)),
        "{text}"
    );
    assert!(!text.contains("not-it") && text.contains("session"), "{text}");
    let dead = access(own_address(), PASSWORD, json!({}));
    let error = Ipmitool::new(Duration::from_millis(300)).power_state(&dead).await.unwrap_err();
    assert!(matches!(error.cause, IpmitoolCause::Timeout(_) | IpmitoolCause::Failed { .. }), "{error}");
}

/// A program of a shell's words, in ipmitool's place.
fn program(dir: &Path, words: &str) -> Ipmitool {
    let path = dir.join("ipmitool");
    fs::write(&path, format!("#!/bin/sh\n{words}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Ipmitool::of(path, PATIENCE)
}

#[tokio::test]
async fn the_password_is_in_the_environment_and_in_no_argument() {
    let dir = tempfile::tempdir().unwrap();
    let words = format!("echo \"$@\" > {0}/arguments; env > {0}/environment; echo ' 01 00 00'", dir.path().display());
    let key = "hush-hush-key-000001";
    let hex: String = key.bytes().map(|octet| format!("{octet:02x}")).collect();
    let access = access(own_address(), "hunter2", json!({ "ipmi_hex_kg_key": hex, "ipmi_priv_level": "OPERATOR" }));
    assert_eq!(program(dir.path(), &words).power_state(&access).await.unwrap(), PowerState::On);
    let arguments = fs::read_to_string(dir.path().join("arguments")).unwrap();
    assert!(
        arguments.contains("-I lanplus")
            && arguments.contains("-L OPERATOR")
            && arguments.ends_with(" raw 0x00 0x01\n"),
        "{arguments}"
    );
    assert!(!arguments.contains("hunter2") && !arguments.contains("hush") && !arguments.contains(&hex), "{arguments}");
    let environment = fs::read_to_string(dir.path().join("environment")).unwrap();
    assert!(
        environment.contains("IPMITOOL_PASSWORD=hunter2\n") && environment.contains(&format!("IPMI_KGKEY={key}\n"))
    );
}

#[tokio::test]
async fn programs_that_are_not_ipmitool_are_told_apart() {
    type Is = fn(&IpmitoolCause) -> bool;
    let cases: [(&str, Is, bool); 6] = [
        ("echo hello", |cause| matches!(cause, IpmitoolCause::Nonsense), true),
        ("echo ' 01'", |cause| matches!(cause, IpmitoolCause::Nonsense), true),
        ("exec cat /dev/zero", |cause| matches!(cause, IpmitoolCause::TooMuch), true),
        (
            "echo 'Unable to send RAW command (channel=0x0 netfn=0x0 lun=0x0 cmd=0x1 rsp=0xd4): Insufficient privilege level' >&2; exit 1",
            |cause| matches!(cause, IpmitoolCause::Refused { code, .. } if code.0 == 0xd4),
            true,
        ),
        (
            "echo 'the password hunter2 is wrong' >&2; exit 3",
            |cause| matches!(cause, IpmitoolCause::Failed { words, .. } if words == "the password ****** is wrong"),
            true,
        ),
        ("exec /nonexistent/program", |cause| matches!(cause, IpmitoolCause::Failed { .. }), true),
    ];
    let access = access(own_address(), "hunter2", json!({}));
    for (words, is_it, is_transient) in cases {
        let dir = tempfile::tempdir().unwrap();
        let error = program(dir.path(), words).power_state(&access).await.unwrap_err();
        assert!(is_it(&error.cause) && error.is_transient() == is_transient, "{words}: {error}");
    }
    let missing = Ipmitool::of("/nonexistent/ipmitool".into(), PATIENCE).power_state(&access).await.unwrap_err();
    assert!(matches!(missing.cause, IpmitoolCause::Missing) && !missing.is_transient(), "{missing}");
}

/// One that never ends is killed, and nobody is left behind.
#[tokio::test]
async fn a_program_that_does_not_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipmitool");
    fs::write(&path, format!("#!/bin/sh\necho $$ > {}/pid\nexec sleep 600\n", dir.path().display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let ipmitool = Ipmitool::of(path, Duration::from_secs(2));
    let error = ipmitool.power_state(&access(own_address(), PASSWORD, json!({}))).await.unwrap_err();
    assert!(error.to_string().ends_with("no answer within 2 s"), "{error}");
    let Ok(pid) = fs::read_to_string(dir.path().join("pid")) else { return };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let is_alive = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while is_alive() {
        assert!(tokio::time::Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

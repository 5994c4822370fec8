//! The simulator is a BMC to clients that know nothing of it: ipmitool and FreeIPMI's ipmipower.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reveille_bmc_simulator::{Event, Fleet, Personality, Server, Suite};

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("timeout").arg("30").arg(program).args(arguments).env("IPMI_PASSWORD", "secret").output();
    let output = output.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{program} is missing: install with `make deps`"),
        _ => panic!("{program}: {error}"),
    });
    assert_ne!(output.status.code(), Some(127), "{program} is missing: install with `make deps`");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn ipmitool(address: SocketAddr, more: &[&str]) -> (bool, String) {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    run("ipmitool", &[&["-I", "lanplus", "-E", "-U", "admin", "-H", &ip, "-p", &port], more].concat())
}

#[test]
fn ipmitool_speaks_every_suite_with_it() {
    let mut fleet = Fleet::of_this_process(1);
    fleet.personality.suites = vec![Suite::Zero, Suite::Three, Suite::Seventeen];
    let address = fleet.address(0);
    let server = Server::start(fleet).unwrap();
    for (suite, action, state) in [("3", "on", "on"), ("17", "off", "off"), ("0", "on", "on")] {
        let (good, text) = ipmitool(address, &["-C", suite, "power", action]);
        assert!(good, "suite {suite}: {text}");
        let (good, text) = ipmitool(address, &["-C", suite, "power", "status"]);
        assert!(good && text.contains(&format!("Chassis Power is {state}")), "suite {suite}: {text}");
    }
    let (good, text) = ipmitool(address, &["power", "status"]);
    assert!(good, "the best suite, as ipmitool finds out: {text}");
    let counts = server.counts();
    assert_eq!((counts.opened, counts.closed), (7, 7), "{counts:?}");
}

#[test]
fn ipmitool_reads_sensors_events_and_inventory() {
    let fleet = Fleet::of_this_process(1);
    let address = fleet.address(0);
    let server = Server::start(fleet).unwrap();
    server.bmcs()[0].machine.events.push(Event { at: 1_700_000_000, sensor: (1, 1), kind: 1, data: [0x59, 95, 90] });
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["sdr", "list"],
            &["Inlet Temp       | 22 degrees C", "12V              | 12.06 Volts", "Coolant          | 35 degrees C"],
        ),
        (&["sel", "list"], &["11/14/23 | 22:13:20 UTC | Temperature #0x01 | Upper Critical going high | Asserted"]),
        (&["fru", "print"], &["Board Product         : Simulated board", "Product Asset Tag     : tag-7"]),
        (&["lan", "print", "1"], &["IP Address              : 10.77.1.9"]),
        (&["chassis", "bootdev", "pxe", "options=efiboot"], &["Set Boot Device to pxe"]),
        (&["chassis", "bootparam", "get", "5"], &["Boot Flag Valid", "BIOS EFI boot", "Force PXE"]),
    ];
    for (arguments, expected) in cases {
        let (_, text) = ipmitool(address, &[&["-C", "17"], arguments].concat());
        for expected in expected {
            assert!(text.contains(expected), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn wrong_passwords_and_full_tables_are_told_so() {
    let mut fleet = Fleet::of_this_process(1);
    fleet.personality = Personality { slots: 0, ..Personality::default() };
    let full = Server::start(fleet.clone()).unwrap();
    let (good, text) = ipmitool(fleet.address(0), &["-C", "3", "-R", "1", "power", "status"]);
    assert!(!good, "{text}");
    assert!(full.counts().full > 0, "{text}");
    drop(full);
    fleet.personality = Personality { password: b"another".to_vec(), ..Personality::default() };
    let another = Server::start(fleet.clone()).unwrap();
    let (good, text) = ipmitool(fleet.address(0), &["-C", "17", "-R", "1", "power", "status"]);
    assert!(!good, "{text}");
    assert_eq!((another.counts().opened, another.counts().full), (0, 0), "{text}");
}

#[test]
fn ipmipower_asks_a_hundred_at_once() {
    let fleet = Fleet::of_this_process(100);
    let SocketAddr::V4(first) = fleet.address(0) else { panic!("IPv4") };
    let [a, b, c, d] = first.ip().octets();
    let hosts = format!("{a}.{b}.{c}.[{d}-{}]:{}", d + 99, first.port());
    let server = Server::start(fleet).unwrap();
    server.bmcs()[7].machine.push_button(true);
    for suite in ["3", "17"] {
        let arguments = ["-D", "LAN_2_0", "-h", &hosts, "-u", "admin", "-p", "secret", "-I", suite, "--stat"];
        let (good, text) = run("ipmipower", &arguments);
        assert!(good, "{text}");
        let with = |end: &str| text.lines().filter(|line| line.ends_with(end)).count();
        assert_eq!((with(": on"), with(": off")), (1, 99), "suite {suite}: {text}");
    }
    let counts = server.counts();
    assert_eq!((counts.opened, counts.closed), (200, 200), "{counts:?}");
}

#[test]
fn ipmitool_attaches_to_the_console() {
    let fleet = Fleet::of_this_process(1);
    let address = fleet.address(0);
    let server = Server::start(fleet).unwrap();
    server.bmcs()[0].machine.serial.says.extend(b"login: ");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut ipmitool = Command::new("timeout")
        .args(["120", "ipmitool", "-I", "lanplus", "-E", "-U", "admin", "-H", &ip, "-p", &port, "sol", "activate"])
        .env("IPMI_PASSWORD", "secret")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout: this test needs coreutils");
    let mut typing = ipmitool.stdin.take().unwrap();
    let hears = |text: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.bmcs()[0].machine.serial.heard.ends_with(text.as_bytes()) {
            assert!(Instant::now() < deadline, "{text:?} is not heard: {:?}", server.bmcs()[0].machine.serial);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // It types once it is attached: what was typed before is taken then.
    typing.write_all(b"root\r").unwrap();
    hears("root\r");
    typing.write_all(b"~.").unwrap();
    let output = ipmitool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("login: "), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let counts = server.counts();
    assert_eq!((counts.opened, counts.closed), (1, 1), "it was given back: {counts:?}");
}

//! `reveille bmc` against simulated BMCs: ranges, tables, JSON, exit codes, and where the password may be.

use std::net::SocketAddr;

use reveille_bmc_simulator::{Event, Fleet, Server};

use crate::site::{Ran, command};

fn bmc(args: &[&str], password: Option<&str>) -> Ran {
    let mut command = command(&[&["bmc"], args].concat());
    command.envs(password.map(|password| ("IPMI_PASSWORD", password)));
    let output = command.output().expect("the binary was built");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The hosts of a fleet as a range.
fn range(fleet: &Fleet, count: u32) -> String {
    let SocketAddr::V4(first) = fleet.address(0) else { panic!("IPv4") };
    let [a, b, c, d] = first.ip().octets();
    format!("{a}.{b}.{c}.[{d}-{}]:{}", u32::from(d) + count - 1, first.port())
}

#[test]
fn many_bmcs_are_asked_at_once_and_every_answer_has_its_row() {
    let fleet = Fleet::of_this_process(50);
    let hosts = range(&fleet, 50);
    let server = Server::start(fleet.clone()).unwrap();
    server.bmcs()[3].machine.push_button(true);
    let table = bmc(&["status", &hosts], Some("secret")).out();
    assert_eq!(table.lines().count(), 51, "{table}");
    assert!(table.lines().nth(4).unwrap().ends_with(" on"), "{table}");
    assert!(table.lines().nth(5).unwrap().ends_with(" off"), "{table}");

    bmc(&["power", "on", &hosts, "--cipher-suite", "17"], Some("secret")).out();
    let json = bmc(&["status", &hosts, "--json"], Some("secret")).json();
    let rows = json.as_array().unwrap();
    assert!(rows.iter().all(|row| row["ok"] == true && row["result"]["power"] == "on"), "{json}");
    assert_eq!(rows[0]["host"], fleet.address(0).to_string());
    // What closes a session is not waited for: the last are on their way when the program has ended.
    let begin = std::time::Instant::now();
    let counts = loop {
        let counts = server.counts();
        if counts.closed == 150 || begin.elapsed().as_secs() >= 60 {
            break counts;
        }
        std::thread::yield_now();
    };
    assert_eq!((counts.opened, counts.closed, counts.controls), (150, 150, 50), "{counts:?}");
}

#[test]
fn the_exit_code_tells_all_some_or_none() {
    let mut fleet = Fleet { dead: 500, ..Fleet::of_this_process(4) };
    fleet.seed = 7;
    let hosts = range(&fleet, 4);
    let _server = Server::start(fleet.clone()).unwrap();
    let some = bmc(&["status", &hosts, "--timeout", "8"], Some("secret"));
    assert_eq!((some.code, &*some.err), (Some(3), ""), "{some:?}");
    let failed = some.out.lines().filter(|line| line.contains("error: no answer to Get Channel")).count();
    assert_eq!((failed, some.out.lines().count()), (2, 5), "{some:?}");
    let alive = (0..4).find(|n| !fleet.is_dead(*n)).map(|n| fleet.address(n).to_string()).unwrap();
    let none = bmc(&["status", &alive, "--json"], Some("wrong"));
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.out.contains("wrong password") && !none.out.contains("\"wrong\""), "{none:?}");
}

#[test]
fn boot_device_sensors_events_and_inventory_read_well() {
    let fleet = Fleet::of_this_process(1);
    let host = fleet.address(0).to_string();
    let server = Server::start(fleet).unwrap();
    let said = |args: &[&str]| {
        let table = bmc(&[args, &[host.as_str()]].concat(), Some("secret")).out();
        table.lines().skip(1).map(|line| line.split_once("  ").unwrap().1.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said(&["boot-device", "show"]), ["no override"]);
    assert_eq!(said(&["boot-device", "pxe", "--uefi"]), ["pxe, at the next boot, UEFI"]);
    assert_eq!(said(&["boot-device", "disk", "--persistent"]), ["disk, at every boot, legacy"]);
    assert_eq!(said(&["boot-device", "none"]), ["no override"]);
    assert_eq!(server.bmcs()[0].machine.flag_clearing, 0x08, "the boot-flag timeout is off");
    assert_eq!(said(&["sensors"])[..2], ["CPU Temp: 42 °C, ok", "Inlet Temp: 22 °C, ok"]);
    let event = Event { at: 1_700_000_000, sensor: (1, 1), kind: 1, data: [0x59, 95, 90] };
    server.bmcs()[0].machine.events.push(event);
    assert_eq!(said(&["sel"]), ["2023-11-14T22:13:20Z temperature sensor 0x01: above upper critical"]);
    assert_eq!(said(&["sel", "--clear"]), ["event log erased"]);
    assert_eq!(said(&["sel"]), ["no events"]);
    assert!(said(&["fru"]).contains(&"board product: Simulated board".to_owned()));
}

#[test]
fn what_is_missing_or_not_allowed_is_told() {
    let password = Some("secret");
    let cases: [(&[&str], Option<&str>, &str); 5] = [
        (&["status", "10.77.1.1"], None, "no password: say --password-file FILE or set IPMI_PASSWORD"),
        (
            &["status", "10.77.1.[9-1]"],
            password,
            "\"10.77.1.[9-1]\" is not a host or a range of hosts: [9-1] runs backwards",
        ),
        (
            &["status", "10.77.1.1", "--cipher-suite", "0"],
            password,
            "cipher suite 0 is no authentication at all: say --allow-cipher-suite-0 as well",
        ),
        (&["status", "10.77.1.1", "--cipher-suite", "8"], password, "cipher suite 8 is not spoken here: 3 and 17 are"),
        (
            &["status", "10.77.1.1"],
            Some("more than twenty octets"),
            "the BMC password has 23 octets, IPMI 2.0 allows at most 20",
        ),
    ];
    for (args, password, expected) in cases {
        assert_eq!(bmc(args, password).error(), expected, "{args:?}");
    }
}

//! A disk that is really full: dhcpd promises nothing new, keeps the promises it has made, says so, and recovers by itself.
//!
//! It needs root and the packages of the lab. The disk is a small tmpfs below the run's directory, unmounted with the run.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use reveille_client::ClientError;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::ReservationPut;
use reveille_config::dto::event::{EventQuery, Since};
use reveille_lab::{Client, Deadline, Lab, LabOptions, Process, Run};
use rustix::process::Signal;

/// A segment holds a little more than the 4 MiB that may wait in memory, so that the disk is soon full.
const SEGMENT_BYTES: u64 = 5 << 20;
/// Room for three segments, the open one and two spares, and for one more once the filler is gone.
const DISK_BYTES: u64 = 23 << 20;
/// More records than three segments hold: each commit takes a page of 4 KiB at least.
const RECORDS_MAX: u64 = 3 * SEGMENT_BYTES / 4_096 + 1;

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xfd, n])
}

fn client(lab: &Lab, name: &str, n: u8) -> Client {
    Client::on_provisioning_network(lab.networks(), name, mac(n)).expect("a client")
}

/// The kinds of events of a machine since `since`, which then stands behind the last.
fn events(lab: &Lab, mac: MacAddr, since: &mut (u64, u64)) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let query = EventQuery {
            since: Since::Sequence(since.0),
            transient: true,
            transient_since: Some(since.1),
            ..EventQuery::default()
        };
        let page = lab.ask(lab.dhcpd().events_of(&query)).expect("dhcpd's events");
        if page.events.is_empty() {
            return kinds;
        }
        *since = (page.next, page.next_transient.expect("asked for"));
        kinds.extend(page.events.into_iter().filter(|event| event.mac == Some(mac)).map(|event| event.kind));
    }
}

/// udhcpc in the foreground; a SIGUSR1 makes it renew.
fn udhcpc(client: &Client) -> Process {
    let program = client.program("busybox").args(["udhcpc", "-f", "-t", "5", "-T", "1", "-i", "eth0"]);
    program.args(["-s", "/bin/true"]).start("renewing-udhcpc").expect("udhcpc starts")
}

/// Leaves no octet on the file system.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the filler");
    let block = [0xff; 4_096];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

/// Makes journal records until one is refused.
async fn use_up_the_segments(lab: &Lab) -> ClientError {
    let dhcpd = lab.dhcpd();
    for number in 0..RECORDS_MAX {
        let hostname = Some(format!("host-{number}"));
        let put = ReservationPut { scope: Some("provisioning".into()), hostname, ..ReservationPut::default() };
        if let Err(error) = dhcpd.put_reservation(mac(0xff), &put).await {
            return error;
        }
    }
    panic!("{RECORDS_MAX} records went into three segments");
}

#[test]
fn a_full_disk_stops_new_leases_alone_and_only_for_as_long() {
    let run = Run::start().expect("a lab");
    let state = run.path("state/dhcpd");
    std::fs::create_dir_all(&state).expect("dhcpd's state directory");
    let mount = run.program("mount").args(["-t", "tmpfs", "-o"]).arg(format!("size={DISK_BYTES},mode=0700"));
    mount.arg("tmpfs").arg(&state).succeed(Deadline::secs(60)).expect("a small disk");
    let configuration = format!("\n[dhcpd.journal]\nsegment_bytes = {SEGMENT_BYTES}\n");
    let options = LabOptions { configuration, ..LabOptions::new(env!("CARGO_BIN_EXE_reveille")) };
    let lab = Lab::start_in(run, options).expect("a lab");

    let known = client(&lab, "known", 1);
    let mut renewing = udhcpc(&known);
    let bound = renewing.wait_for_line("obtained", Deadline::secs(60)).expect("a lease while there is room");
    let address = lab.ask(lab.dhcpd().lease(&mac(1).to_string())).expect("the lease").address;
    assert!(bound.contains(&address.to_string()), "{bound}");
    known.configure(address, 24, None).expect("the leased address");

    fill(&state.join("filler"));
    let refusal = lab.ask(use_up_the_segments(&lab)).to_string();
    println!("the API: {refusal}");
    let (status, reason) = lab.ask(lab.dhcpd().ready()).expect("an answer");
    println!("/readyz: {status} {reason}");
    assert_eq!(status, 503);
    assert!(reason.contains("No space left on device"), "{reason}");

    let mut since = (0, 0);
    events(&lab, mac(1), &mut since);
    client(&lab, "new", 2).udhcpc(&["-t", "3"]).expect_err("no lease on a full disk");
    let seen = events(&lab, mac(2), &mut since);
    assert!(!seen.is_empty() && seen.iter().all(|kind| kind == "dropped"), "{seen:?}");

    let log = renewing.log().from_here();
    renewing.signal(Signal::USR1).expect("a signal");
    let kept = log.wait_for("obtained", Deadline::secs(60)).expect("what is on disk is acknowledged");
    assert!(kept.contains(&address.to_string()), "{kept}");
    let recalled = || Ok(Some(events(&lab, mac(1), &mut since)).filter(|told| !told.is_empty()));
    let told = Deadline::secs(60).until("the event", recalled).expect("it is told a moment later");
    assert!(told.iter().all(|kind| kind == "recalled"), "{told:?}");
    assert_eq!(lab.ask(lab.dhcpd().ready()).expect("an answer").0, 503);

    std::fs::remove_file(state.join("filler")).expect("room again");
    let dhcpd = lab.dhcpd();
    let ready = async || dhcpd.ready().await;
    lab.ask_until("dhcpd to be ready again", Deadline::secs(60), ready, |(status, _)| (status == 200).then_some(()))
        .expect("it recovers by itself");
    client(&lab, "later", 3).udhcpc(&[]).expect("a lease after there is room");
}

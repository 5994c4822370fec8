//! `reveille lease repair`: what is damaged is said, what is left serves again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use reveille_lab::Deadline;

use crate::site::{REVEILLE, Site, reveille};

/// The journal's only log segment with records in it.
fn log_segment(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.dir().join("state/dhcpd/journal")).unwrap();
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log-"));
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

#[test]
fn a_damaged_journal_is_repaired_while_dhcpd_does_not_run() {
    let site = Site::new();
    let mut dhcpd = site.start("dhcpd", &[]);
    for number in 1..=5 {
        let (mac, address) = (format!("52:54:00:bb:00:0{number}"), format!("10.77.2.5{number}"));
        site.run(&["reservation", "put", &mac, "--address", &address]).out();
    }
    let state_dir = site.dir().join("state/dhcpd");
    let repair = ["lease", "repair", "--state-dir", state_dir.to_str().unwrap()];
    let error = reveille(&repair).error();
    assert!(error.contains("was not repaired") && error.contains("another process uses this journal"), "{error}");
    assert_eq!(dhcpd.stop(Duration::from_secs(20)).unwrap().code(), Some(0));

    let journal = state_dir.join("journal");
    assert_eq!(reveille(&repair).out(), format!("{}: nothing to repair\n", journal.display()));
    assert_eq!(site.run(&["lease", "repair", "--json"]).json()["repaired"], false, "--config tells the directory too");

    // The second page is the first block; others follow, so this is no torn tail.
    let segment = log_segment(&site);
    let file = File::options().read(true).write(true).open(&segment).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, 4_096 + 40).unwrap();
    file.write_all_at(&[octet[0] ^ 0xff], 4_096 + 40).unwrap();

    let program = site.networks.host().program(REVEILLE).arg("dhcpd").arg("--config").arg(&site.config);
    let output = program.output(Deadline::secs(60)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("is damaged at offset 4096"), "{}", output.stderr);
    assert!(output.stderr.contains("`reveille lease repair`"), "{}", output.stderr);

    let report = reveille(&repair).out();
    let name = segment.file_name().unwrap().to_str().unwrap();
    for words in [
        &format!("{}: repaired", journal.display()),
        &format!("{name} from octet 4096 on"),
        "records are lost",
        &format!("cut-1-{name}"),
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    assert!(journal.join(format!("cut-1-{name}")).exists(), "what was there is kept");

    let _dhcpd = site.start("dhcpd", &[]);
    assert_eq!(site.run(&["reservation", "list"]).out(), "no reservations\n", "all came after the damage");
    site.run(&["reservation", "put", "52:54:00:bb:00:01", "--address", "10.77.2.51"]).out();
}

#[test]
fn where_no_journal_is_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let error = reveille(&["lease", "repair", "--state-dir", dir.path().to_str().unwrap()]).error();
    assert_eq!(error, format!("there is no lease journal at {}/journal", dir.path().display()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(reveille(&["lease", "repair"]).error(), "say --state-dir DIR, or --config FILE");

    // What root would make, dhcpd's user could not open.
    let journal = dir.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    std::os::unix::fs::chown(&journal, Some(65_534), None).expect("this test needs root");
    let error = reveille(&["lease", "repair", "--state-dir", dir.path().to_str().unwrap()]).error();
    assert!(error.contains("belongs to user 65534") && error.contains("sudo -u '#65534'"), "{error}");
}

//! The daemons as systemd knows them: ready, reloaded, drained, and refused a second time.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::Duration;

use reveille_lab::{Deadline, Process};
use rustix::process::Signal;

use crate::site::{REVEILLE, Ran, Site, reveille};

const PATIENCE: Duration = Duration::from_secs(60);

/// The other end of `NOTIFY_SOCKET`. It reads all the time: where a few heartbeats fill the socket's queue, what matters would be lost.
struct Supervisor(mpsc::Receiver<String>, String);

impl Supervisor {
    fn new(site: &Site) -> Self {
        let path = site.dir().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut octets = [0; 1_024];
            while let Ok(length) = socket.recv(&mut octets)
                && sender.send(String::from_utf8(octets[..length].to_vec()).unwrap()).is_ok()
            {}
        });
        Self(told, path.to_str().unwrap().to_owned())
    }

    /// The next state told that is not the heartbeat.
    #[track_caller]
    fn told(&self) -> String {
        loop {
            let text = self.0.recv_timeout(PATIENCE).expect("the daemon tells its state");
            if text.trim_end() != "WATCHDOG=1" {
                return text;
            }
        }
    }

    #[track_caller]
    fn beats(&self) {
        assert_eq!(self.0.recv_timeout(PATIENCE).expect("the daemon's heart beats"), "WATCHDOG=1\n");
    }
}

fn reload(process: &mut Process, awaited: &str) -> String {
    let log = process.log().from_here();
    process.signal(Signal::HUP).unwrap();
    log.wait_for(awaited, Deadline::secs(60)).unwrap_or_else(|error| panic!("{error}"));
    log.text().unwrap()
}

fn ready(site: &Site, daemon: &str) -> String {
    let socket = site.dir().join(format!("{daemon}.sock"));
    let curl = site.networks.run().program("curl").args(["-sS", "-i", "--unix-socket"]).arg(socket);
    curl.arg("http://localhost/readyz").succeed(Deadline::secs(60)).unwrap()
}

fn pool_of_provisioning(site: &Site) -> u64 {
    // Not by the configuration, which may have mistakes.
    let api = format!("unix:{}/dhcpd.sock", site.dir().display());
    let scopes = reveille(&["lease", "scopes", "--json", "--api", &api]).json();
    scopes.as_array().unwrap().iter().find(|scope| scope["scope"] == "provisioning").unwrap()["addresses"]
        .as_u64()
        .unwrap()
}

/// `systemctl reload` runs `reveille reload`: its exit code says whether the new configuration is in force, and the API says why not.
#[test]
fn a_reload_answers_by_its_exit_code() {
    let site = Site::new();
    let mut dhcpd = site.start("dhcpd", &[]);
    let (pid, config) = (dhcpd.pid().to_string(), site.config.to_str().unwrap().to_owned());
    let reload = || reveille(&["reload", "dhcpd", "--pid", &pid, "--config", &config]);
    let right = site.text();
    let kept = "the configuration before the last reload";

    site.edit("10.77.2.100-10.77.2.199", "10.77.2.100-10.77.2.150");
    reload().out();
    assert_eq!(pool_of_provisioning(&site), 51);
    assert!(!ready(&site, "dhcpd").contains(kept));

    // What needs a restart is refused by the daemon, which says so.
    site.edit("workers = 1", "workers = 2");
    let error = reload().error();
    assert!(error.contains("dhcpd keeps the old configuration: `workers` has changed: restart dhcpd"), "{error}");
    let answer = ready(&site, "dhcpd");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(kept) && answer.contains("`workers`"), "{answer}");

    // A file with mistakes does not even reach it; sent all the same, it changes nothing.
    std::fs::write(&site.config, &right).unwrap();
    site.edit("pools = [\"10.77.2.100", "pool = [\"10.77.2.100");
    let ran = reload();
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("unknown key `pool`") && ran.err.contains("the old configuration stays in force"),
        "{ran:?}"
    );
    dhcpd.signal(Signal::HUP).unwrap();
    dhcpd
        .log()
        .wait_for("the old configuration stays in force", Deadline::secs(60))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(ready(&site, "dhcpd").contains("`pools` is missing"));
    assert_eq!(pool_of_provisioning(&site), 51);

    std::fs::write(&site.config, right).unwrap();
    reload().out();
    assert!(!ready(&site, "dhcpd").contains(kept));
    assert_eq!(pool_of_provisioning(&site), 100);
}

/// The other two answer in the same way.
#[test]
fn a_reload_of_bootd_and_provisioner_answers_by_its_exit_code() {
    let site = Site::new();
    let right = site.text();
    for (daemon, from, to, why) in [
        ("bootd", "http = [\"10.77.2.1:8080\"]", "http = [\"10.77.2.1:8081\"]", "bootd.http has changed"),
        (
            "provisioner",
            "agent_api = [\"10.77.2.1:6385\"]",
            "agent_api = [\"10.77.2.1:6386\"]",
            "provisioner.agent_api can only",
        ),
    ] {
        let process = site.start(daemon, &[]);
        let (pid, config) = (process.pid().to_string(), site.config.to_str().unwrap().to_owned());
        let reload = || reveille(&["reload", daemon, "--pid", &pid, "--config", &config]);
        reload().out();
        site.edit(from, to);
        let error = reload().error();
        assert!(error.contains(&format!("{daemon} keeps the old configuration: ")) && error.contains(why), "{error}");
        std::fs::write(&site.config, &right).unwrap();
        reload().out();
    }
}

#[test]
fn all_start_reload_and_drain() {
    let site = Site::new();
    let supervisor = Supervisor::new(&site);
    let environment = [("NOTIFY_SOCKET", &*supervisor.1), ("WATCHDOG_USEC", "400000")];
    let mut all = site.start("all", &environment);
    assert_eq!(supervisor.told(), "READY=1\n");
    supervisor.beats();
    for daemon in ["dhcpd", "bootd", "provisioner"] {
        let answer = ready(&site, daemon);
        assert!(answer.starts_with("HTTP/1.1 200"), "{daemon}: {answer}");
    }
    assert_eq!(pool_of_provisioning(&site), 100);

    // A file with mistakes: each is told with its place, and nothing changes.
    let right = site.text();
    site.edit("pools = [\"10.77.2.100-10.77.2.199\"]", "pools = [\"10.77.2.100-10.77.2.150\"]\nlease_sec = 60");
    let log = reload(&mut all, "the old configuration stays in force");
    let place = format!("{}:21:1: unknown key `lease_sec`", site.config.display());
    assert!(log.contains(&place) && log.contains("did you mean `lease_secs`?"), "{log}");
    assert!(supervisor.told().starts_with("RELOADING=1\n"));
    assert_eq!(supervisor.told(), "READY=1\n");
    assert_eq!(pool_of_provisioning(&site), 100);

    // A right one is taken.
    std::fs::write(&site.config, right).unwrap();
    site.edit("10.77.2.100-10.77.2.199", "10.77.2.100-10.77.2.150");
    let log = reload(&mut all, "provisioner: configuration read again");
    assert!(
        log.contains("dhcpd: configuration read again") && log.contains("bootd: configuration read again"),
        "{log}"
    );
    assert_eq!(pool_of_provisioning(&site), 51);

    // What needs a restart is refused by the daemon that it concerns, and only by that.
    site.edit("workers = 1", "workers = 2");
    let log = reload(&mut all, "provisioner: configuration read again");
    assert!(log.contains("dhcpd: the new configuration was refused: `workers` has changed: restart dhcpd"), "{log}");
    assert!(log.contains("bootd: configuration read again"), "{log}");
    let text = site.text();
    std::fs::write(&site.config, text.split("[provisioner]").next().unwrap()).unwrap();
    let log = reload(&mut all, "provisioner: the old configuration stays in force");
    assert!(log.contains("no table [provisioner] any more"), "{log}");

    all.signal(Signal::TERM).unwrap();
    let status = all.wait(Deadline::secs(60)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", all.log().tail());
    assert!(all.log().find("draining").unwrap().is_some());
    let last =
        std::iter::repeat_with(|| supervisor.told()).find(|told| !told.contains("READY") && !told.contains("RELOAD"));
    assert_eq!(last.as_deref(), Some("STOPPING=1\n"));
}

#[test]
fn a_second_one_on_the_same_state_says_so_and_leaves_the_first_alone() {
    let site = Site::new();
    let mut first = site.start("all", &[]);
    // The APIs elsewhere, so that only the state is in the way.
    let second = site.text().replace(".sock\"", "-2.sock\"");
    let config = site.networks.run().write("second.toml", second).unwrap();
    for (daemon, words) in [
        ("dhcpd", "another process uses this journal directory"),
        ("bootd", "belong to one bootd only"),
        ("provisioner", "does another provisioner run"),
        ("all", "only"),
    ] {
        let program = site.networks.host().program(REVEILLE).arg(daemon).arg("--config").arg(&config);
        let output = program.output(Deadline::secs(60)).unwrap();
        assert_eq!(output.status.code(), Some(1), "{daemon}: {output:?}");
        let error = output.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
        let state = site.dir().join("state");
        assert!(error.contains(state.to_str().unwrap()), "{daemon}: {error}");
        assert!(error.contains(words), "{daemon}: {error}");
    }
    first.still_runs("the second's end").unwrap();
    assert!(ready(&site, "dhcpd").starts_with("HTTP/1.1 200"));
    // Ctrl-C drains as SIGTERM does.
    first.signal(Signal::INT).unwrap();
    assert_eq!(first.wait(Deadline::secs(60)).unwrap().code(), Some(0), "{}", first.log().tail());
}

#[test]
fn nothing_starts_from_a_wrong_file_or_without_a_table() {
    let site = Site::new();
    let run = |daemon: &str| {
        let program = site.networks.host().program(REVEILLE).arg(daemon).arg("--config").arg(&site.config);
        let output = program.output(Deadline::secs(60)).unwrap();
        Ran { code: output.status.code(), out: output.stdout, err: output.stderr }
    };
    let right = site.text();
    site.edit("workers = 1", "workers = 0");
    let ran = run("all");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("`workers` = 0 is out of bounds"), "{}", ran.err);
    assert!(ran.err.ends_with("has 1 mistake(s); nothing was started\n"), "{}", ran.err);
    assert!(!site.dir().join("state").exists(), "nothing was touched");

    std::fs::write(&site.config, right.split("[bootd]").next().unwrap()).unwrap();
    assert!(run("bootd").error().ends_with("has no table [bootd]"));
    std::fs::write(&site.config, "").unwrap();
    let error = run("all").err;
    assert!(error.contains("the file configures no daemon"), "{error}");

    // An address that this host does not have, and one that is taken.
    std::fs::write(&site.config, right.replace("10.77.2.1:8080", "10.77.9.9:8080")).unwrap();
    let error = run("bootd").err;
    assert!(error.contains("10.77.9.9:8080"), "{error}");
}

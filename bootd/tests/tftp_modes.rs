//! The TFTP server as load balancers need it, as a drop-box, and on a link whose frames are smaller than its blocks; with real clients.

mod support;

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use support::{Daemon, octets, run, turn, until_counted};

/// A daemon with these lines in its configuration and an empty directory `box`.
async fn daemon(lines: &str) -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    for name in ["root", "box"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let lines = lines.replace("BOX", &format!("[bootd.dropbox]\ndirectory = {:?}\n", dir.path().join("box")));
    Daemon::start_with(Arc::new(dir), &lines).await
}

fn parts(daemon: &Daemon) -> (String, String, String) {
    let arrived = daemon.dir.path().join("arrived").display().to_string();
    (daemon.tftp.ip().to_string(), daemon.tftp.port().to_string(), arrived)
}

/// Downloads with atftp and these options; what arrived.
async fn atftp(daemon: &Daemon, options: &[&str], file: &str) -> Vec<u8> {
    let (host, port, to) = parts(daemon);
    let options = options.iter().flat_map(|option| ["--option", option]);
    let all: Vec<&str> = options.chain(["-g", "-r", file, "-l", &to, &host, &port]).collect();
    let output = run("atftp", &all, None).await;
    assert!(output.status.success(), "atftp {all:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&to).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_port_answers_from_where_it_was_asked() {
    let _turn = turn().await;
    let daemon = daemon("tftp_single_port = true\nBOX").await;
    let image = octets(300_007);
    daemon.file("image", &image);
    for options in [&[][..], &["blksize 1468", "windowsize 16"], &["blksize 8192", "windowsize 64", "tsize 0"]] {
        assert!(atftp(&daemon, options, "image").await == image, "atftp {options:?}");
    }
    let (host, port, _) = parts(&daemon);
    run("tftp", &["-m", "octet", &host, &port, "-c", "get", "image", "hpa"], Some(daemon.dir.path())).await;
    assert!(std::fs::read(daemon.dir.path().join("hpa")).unwrap() == image);
    let url = format!("tftp://{}/image", daemon.tftp);
    let output = run("curl", &["-sS", "--tftp-blksize", "1468", &url], None).await;
    assert!(output.stdout == image, "curl: {}", String::from_utf8_lossy(&output.stderr));

    // Every answer, refusals included, comes from the one port; a second request from the same port starts over.
    let socket = UdpSocket::bind((daemon.tftp.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = [0; 600];
    for (request, begins) in [
        (&b"\0\x01missing\0octet\0"[..], [0, 5, 0, 1]),
        (b"\0\x01image\0octet\0", [0, 3, 0, 1]),
        (b"\0\x04\0\x01", [0, 3, 0, 2]),
    ] {
        socket.send_to(request, daemon.tftp).unwrap();
        // A slow client may be sent again what it has.
        loop {
            assert_eq!(socket.recv_from(&mut answer).unwrap().1, daemon.tftp);
            if answer[..4] == begins {
                break;
            }
        }
    }
    socket.send_to(b"\0\x01image\0octet\0blksize\x00100\0", daemon.tftp).unwrap();
    while answer[1] != 6 {
        assert_eq!(socket.recv_from(&mut answer).unwrap().1, daemon.tftp);
    }
    until_counted("reveille_bootd_transfers_total", "started over", 0, 1).await;

    run("tftp", &["-m", "octet", &host, &port, "-c", "put", "hpa", "back"], Some(daemon.dir.path())).await;
    assert!(std::fs::read(daemon.dir.path().join("box/back")).unwrap() == image, "writes go over it too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_box_takes_new_files_whole_and_nothing_else() {
    let _turn = turn().await;
    let daemon = daemon("BOXfile_bytes_max = 200_000\n").await;
    let (host, port, _) = parts(&daemon);
    let dropped = |name: &str| daemon.dir.path().join("box").join(name);
    for (bytes, name) in [(0, "empty"), (512, "block"), (100_003, "log")] {
        let sent = octets(bytes);
        std::fs::write(daemon.dir.path().join(name), &sent).unwrap();
        let hpa = format!("hpa-{name}");
        let put = ["-m", "octet", &host, &port, "-c", "put", name, &hpa];
        let output = run("tftp", &put, Some(daemon.dir.path())).await;
        assert_eq!(std::fs::read(dropped(&hpa)).ok(), Some(sent.clone()), "tftp-hpa, {name}: {output:?}");
        for options in [&[][..], &["--option", "blksize 1468", "--option", "tsize 0"], &["--option", "blksize 8192"]] {
            let name_there = format!("atftp-{name}-{}", options.len());
            let tail = ["-p", "-l", name, "-r", &name_there, &host, &port];
            let output = run("atftp", &[options, &tail].concat(), Some(daemon.dir.path())).await;
            assert_eq!(std::fs::read(dropped(&name_there)).ok(), Some(sent.clone()), "atftp {options:?}: {output:?}");
        }
        let url = format!("tftp://{}/curl-{name}", daemon.tftp);
        let output = run("curl", &["-sS", "-T", name, &url], Some(daemon.dir.path())).await;
        if bytes > 0 {
            // curl sends no empty file.
            assert_eq!(std::fs::read(dropped(&format!("curl-{name}"))).ok(), Some(sent), "curl: {output:?}");
        }
    }
    std::fs::write(daemon.dir.path().join("large"), octets(200_001)).unwrap();
    let entries = || std::fs::read_dir(daemon.dir.path().join("box")).unwrap().count();
    let before = entries();
    for (from, to, error) in [
        ("log", "hpa-log", "file of that name"),
        ("log", "sub/log", "only plain names"),
        ("log", ".hidden", "only plain names"),
        ("log", "../escaped", "access violation"),
        ("large", "large", "too large"),
    ] {
        let put = ["-m", "octet", &host, &port, "-c", "put", from, to];
        let output = run("tftp", &put, Some(daemon.dir.path())).await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).to_lowercase();
        assert!(said.contains(error), "{from} to {to}: {said}");
    }
    assert_eq!(entries(), before, "nothing is left of what was refused");
    until_counted("reveille_bootd_requests_refused_total", "write-exists", 0, 1).await;
    let (_, page) = daemon.api("GET", "/v1/events?since=0", None).await;
    let events = page["events"].as_array().unwrap();
    let whole = |e: &&serde_json::Value| e["kind"] == "file-received" && e["detail"]["outcome"] == "received";
    assert!(events.iter().filter(whole).any(|e| e["detail"]["bytes_received"] == 100_003), "{events:#?}");
    // Without the table nothing is taken: see `text_errors_and_scripts`.
}

/// Several threads share the address: each machine stays with one of them, over its own ports and over the one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_divide_the_machines() {
    let _turn = turn().await;
    let sockets_at = |address: std::net::SocketAddr| {
        let std::net::IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
        let local = format!(" {:08X}:{:04X} ", u32::from_le_bytes(ip.octets()), address.port());
        std::fs::read_to_string("/proc/self/net/udp").unwrap().matches(&local).count()
    };
    for lines in ["tftp_workers = 3\n", "tftp_workers = 3\ntftp_single_port = true\n"] {
        let daemon = daemon(lines).await;
        let image = octets(1_000_003);
        daemon.file("image", &image);
        assert_eq!(sockets_at(daemon.tftp), 3, "{lines}: each thread has the address");
        let mut downloads = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let url = format!("tftp://{}/image", daemon.tftp);
            downloads.spawn(async move { run("curl", &["-sSf", &url], None).await });
        }
        for output in downloads.join_all().await {
            assert!(output.stdout == image, "{lines}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(atftp(&daemon, &["windowsize 16"], "image").await == image, "{lines}");
    }
}

/// A network namespace that is removed in the end.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("`ip` is needed: install with `make deps`");
    assert!(status.success(), "ip {arguments:?}: namespaces need root");
}

/// Blocks of up to 65,464 octets where frames have 1,500: they cannot be segmented, and go in fragments.
#[test]
fn blocks_larger_than_frames_arrive() {
    let namespace = Namespace(format!("rv{}-mtu", std::process::id()));
    ip(&["netns", "add", &namespace.0]);
    ip(&["-n", &namespace.0, "link", "set", "lo", "mtu", "1500", "up"]);
    let handle = std::fs::File::open(format!("/run/netns/{}", namespace.0)).unwrap();
    let within = std::thread::spawn(move || {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&handle), Some(LinkNameSpaceType::Network)).unwrap();
        // Its threads are made here, and are in the namespace like this one.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let daemon = daemon("").await;
            let image = octets(1_000_003);
            daemon.file("image", &image);
            for options in [
                &["blksize 65464"][..],
                &["blksize 65464", "windowsize 4"],
                &["blksize 8192", "windowsize 16"],
                &["blksize 1468", "windowsize 16"],
            ] {
                assert!(atftp(&daemon, options, "image").await == image, "atftp {options:?}");
            }
        });
    });
    within.join().expect("what happens within the namespace");
}

//! The TFTP server against real clients, and against datagrams that no real client sends.

mod support;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Daemon, counted, octets, run, turn};

/// Downloads with tftp-hpa's client; its output.
async fn tftp_hpa(daemon: &Daemon, mode: &str, command: &[&str]) -> String {
    let (host, port) = (daemon.tftp.ip().to_string(), daemon.tftp.port().to_string());
    let all = [&["-m", mode, &host, &port, "-c"], command].concat();
    let output = run("tftp", &all, Some(daemon.dir.path())).await;
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Downloads with atftp and these options; what arrived.
async fn atftp(daemon: &Daemon, options: &[&str], file: &str) -> Vec<u8> {
    let to = daemon.dir.path().join("arrived");
    let (host, port) = (daemon.tftp.ip().to_string(), daemon.tftp.port().to_string());
    let mut all = Vec::new();
    for option in options {
        all.extend(["--option", option]);
    }
    all.extend(["-g", "-r", file, "-l", to.to_str().unwrap(), &host, &port]);
    let output = run("atftp", &all, None).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "atftp {options:?}: {said}");
    std::fs::read(&to).unwrap_or_else(|error| panic!("atftp {options:?}: {error}: {said}"))
}

fn arrived(daemon: &Daemon, name: &str) -> Vec<u8> {
    let path: PathBuf = daemon.dir.path().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_get_what_is_there() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    for bytes in [0, 1, 511, 512, 513, 1_468 * 64, 1_000_003] {
        let image = octets(bytes);
        daemon.file("sub/image", &image);
        let said = tftp_hpa(&daemon, "octet", &["get", "sub/image", "hpa"]).await;
        assert!(arrived(&daemon, "hpa") == image, "tftp-hpa, {bytes} octets: {said}");
        for options in
            [&[][..], &["blksize 1468"], &["windowsize 16"], &["blksize 1468", "windowsize 64", "tsize 0", "timeout 2"]]
        {
            assert!(atftp(&daemon, options, "/sub/image").await == image, "atftp {options:?}, {bytes} octets");
        }
        let (host, port) = (daemon.tftp.ip().to_string(), daemon.tftp.port().to_string());
        for block_size in ["512", "1428", "65464"] {
            let all = ["tftp", "-g", "-b", block_size, "-r", "sub/image", "-l", "busybox", &host, &port];
            let output = run("busybox", &all, Some(daemon.dir.path())).await;
            assert!(
                output.status.success() && arrived(&daemon, "busybox") == image,
                "busybox -b {block_size}, {bytes} octets"
            );
        }
    }
    let outcomes: Vec<_> = daemon.ended_transfers().await.iter().map(|t| t["outcome"].clone()).collect();
    assert!(outcomes.iter().all(|o| o == "complete"), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_numbers_roll_over() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    let image = octets(512 * 70_000 + 99);
    daemon.file("large", &image);
    let said = tftp_hpa(&daemon, "octet", &["get", "large"]).await;
    assert!(arrived(&daemon, "large") == image, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_errors_and_scripts() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    daemon.file("text", b"one\ntwo\rthree\r\n");
    tftp_hpa(&daemon, "netascii", &["get", "text"]).await;
    assert_eq!(arrived(&daemon, "text"), b"one\ntwo\rthree\r\n", "tftp-hpa turns the wire's form back");
    std::fs::write(daemon.dir.path().join("up"), "x").unwrap();
    for (command, error) in [
        (&["get", "missing"][..], "File not found"),
        (&["get", "autoexec.ipxe"], "File not found"),
        (&["get", "pxelinux.cfg/01-52-54-00-12-34-56"], "File not found"),
        (&["get", "sub"], "File not found"),
        (&["get", "../reveille.toml"], "Access violation"),
        (&["put", "up"], "takes no files"),
    ] {
        let said = tftp_hpa(&daemon, "octet", command).await.to_lowercase();
        assert!(said.contains(&error.to_lowercase()), "{command:?}: {said}");
    }
    assert!(!daemon.dir.path().join("root/up").exists());
    let (status, _) = daemon.api("PUT", "/v1/intents/52:54:00:12:34:56", Some(json!({"action": "disk"}))).await;
    assert_eq!(status, 200);
    for path in ["pxelinux.cfg/52-54-00-12-34-56", "boot.ipxe"] {
        tftp_hpa(&daemon, "octet", &["get", path, "script"]).await;
        assert!(arrived(&daemon, "script").starts_with(b"#!ipxe\n"), "{path}");
    }
    let (_, page) = daemon.api("GET", "/v1/events?since=0", None).await;
    let events = page["events"].as_array().unwrap();
    assert!(events.iter().any(|e| e["kind"] == "script-served" && e["mac"] == "52:54:00:12:34:56"), "{events:#?}");
}

fn socket(daemon: &Daemon) -> UdpSocket {
    let socket = UdpSocket::bind((daemon.tftp.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut datagram = vec![0; 70_000];
    let (n, from) = socket.recv_from(&mut datagram).expect("the server answers");
    datagram.truncate(n);
    (datagram, from)
}

/// The next datagram that begins so, and who sent it: a client that is slow is sent again what it has.
fn receive_next(socket: &UdpSocket, begins: &[u8]) -> (Vec<u8>, std::net::SocketAddr) {
    loop {
        let (datagram, from) = receive(socket);
        if datagram.starts_with(begins) {
            return (datagram, from);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firmware_asks_for_the_size_first_and_from_one_port() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    let image = octets(1_468 * 3 + 5);
    daemon.file("ipxe.efi", &image);
    let socket = socket(&daemon);
    // EDK II: RRQ with tsize, ERROR after the OACK, then again for the contents.
    socket.send_to(b"\0\x01ipxe.efi\0octet\0tsize\x000\0blksize\x001468\0", daemon.tftp).unwrap();
    let (oack, from) = receive(&socket);
    assert_eq!(oack, format!("\0\x06tsize\0{}\0blksize\x001468\0", image.len()).as_bytes());
    socket.send_to(b"\0\x05\0\x08user aborted\0", from).unwrap();
    socket.send_to(b"\0\x01ipxe.efi\0octet\0blksize\x001468\0", daemon.tftp).unwrap();
    let (_, from) = receive_next(&socket, b"\0\x06blksize\x001468\0");
    let mut got = Vec::new();
    for block in 0..=4u16 {
        socket.send_to(&[&[0, 4], block.to_be_bytes().as_slice()].concat(), from).unwrap();
        if block < 4 {
            let (data, sender) = receive_next(&socket, &[&[0, 3], (block + 1).to_be_bytes().as_slice()].concat());
            assert_eq!(sender, from);
            got.extend_from_slice(&data[4..]);
        }
    }
    assert!(got == image);
    let ended = daemon.ended_transfers().await;
    let outcomes: Vec<_> = ended.iter().map(|t| t["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["complete", "size only"]);
}

/// A client that starts over from the same port gets a transfer of its own, by another port of the server's (RFC 1350 section 4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_over_does_not_mix_two_transfers() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    daemon.file("image", &octets(5_000));
    let socket = socket(&daemon);
    let request = b"\0\x01image\0octet\0";
    socket.send_to(request, daemon.tftp).unwrap();
    let (_, first) = receive(&socket);
    // The same request while the first block is unanswered is only a copy.
    let before = counted("reveille_bootd_tftp_dropped_total", "duplicate-request");
    socket.send_to(request, daemon.tftp).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while counted("reveille_bootd_tftp_dropped_total", "duplicate-request") == before {
        assert!(Instant::now() < deadline, "a copy of a request was not recognised");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    socket.send_to(b"\0\x04\0\x01", first).unwrap();
    assert_eq!(receive_next(&socket, b"\0\x03\0\x02").1, first);
    // The socket of the server's that has sent block `number`, but for those that are known.
    let new_sender = |number: u8, known: &[std::net::SocketAddr]| loop {
        let (_, sender) = receive_next(&socket, &[0, 3, 0, number]);
        if !known.contains(&sender) {
            return sender;
        }
    };
    let mut known = vec![first];
    for _ in 0..3 {
        socket.send_to(request, daemon.tftp).unwrap();
        let sender = new_sender(1, &known);
        socket.send_to(b"\0\x04\0\x01", sender).unwrap();
        assert_eq!(new_sender(2, &known), sender);
        known.push(sender);
    }
    // A fifth takes the place of the oldest.
    socket.send_to(request, daemon.tftp).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while counted("reveille_bootd_transfers_total", "started over") == 0 {
        assert!(Instant::now() < deadline, "the oldest of a peer's transfers is kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_datagrams_change_nothing_and_are_counted() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    daemon.file("file", b"hello");
    let seed = std::env::var("REVEILLE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(std::process::id);
    println!("seed {seed}");
    let mut x = u64::from(seed) | 1;
    let mut random = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize
    };
    let dropped =
        || counted("reveille_bootd_tftp_dropped_total", "") + counted("reveille_bootd_requests_refused_total", "tftp");
    let before = dropped();
    let socket = socket(&daemon);
    let mut sent = 0;
    for i in 0..10_000 {
        let mut datagram: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
        if i % 2 == 0 && datagram.len() > 2 {
            // Something that at least looks like a message.
            datagram[0] = 0;
            datagram[1] = (random() % 8) as u8;
        }
        socket.send_to(&datagram, daemon.tftp).unwrap();
        sent += 1;
        if i % 100 == 99 {
            // Not faster than the server reads: what its socket's buffer cannot hold is counted by the kernel, not by the server.
            let deadline = Instant::now() + Duration::from_secs(60);
            while dropped() - before < sent {
                assert!(Instant::now() < deadline, "seed {seed}: {} of {sent} counted", dropped() - before);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    assert_eq!(dropped() - before, sent, "seed {seed}");
    assert_eq!(daemon.ended_transfers().await.len(), 0, "seed {seed}: a random datagram began a transfer");
    tftp_hpa(&daemon, "octet", &["get", "file"]).await;
    assert_eq!(arrived(&daemon, "file"), b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outside_the_root() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    std::fs::write(daemon.dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", daemon.dir.path().join("root/link")).unwrap();
    let socket = socket(&daemon);
    for (path, code) in [
        ("../secret", 2),
        ("/../secret", 2),
        ("a/../../secret", 2),
        ("..\\secret", 2),
        ("//etc/passwd", 1),
        ("\\\\etc\\passwd", 1),
        ("link", 2),
        ("%2e%2e/secret", 1),
        ("/etc/passwd", 1),
        ("....//secret", 1),
    ] {
        socket.send_to(format!("\0\x01{path}\0octet\0").as_bytes(), daemon.tftp).unwrap();
        let (answer, _) = receive(&socket);
        assert_eq!(&answer[..4], [0, 5, 0, code], "{path}: {}", answer.escape_ascii());
    }
}

/// Every ACK twice: each block once, for the client that counts them. The simulation proves it to the datagram; here a block comes again
/// where this machine was so busy that an ACK was late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubled_acks_do_not_double_the_blocks() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    let image = octets(512 * 200);
    daemon.file("image", &image);
    let socket = socket(&daemon);
    socket.send_to(b"\0\x01image\0octet\0", daemon.tftp).unwrap();
    let (mut got, mut repeated) = (Vec::new(), 0);
    for block in 1..=201_u16 {
        let (mut data, mut from) = receive(&socket);
        while data[2..4] != block.to_be_bytes() {
            repeated += 1;
            (data, from) = receive(&socket);
        }
        got.extend_from_slice(&data[4..]);
        for _ in 0..2 {
            socket.send_to(&[&[0, 4], &data[2..4]].concat(), from).unwrap();
        }
    }
    assert!(got == image);
    assert!(repeated < 50, "{repeated} of 201 blocks came again");
}

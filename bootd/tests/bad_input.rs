//! What peers should not do and disks should not come to, all at once and many times over: bounded, counted, logged once for each cause, and whoever behaves gets its
//! file meanwhile. (Random datagrams and malformed heads are in `tftp` and `http`, blocks larger than frames in `tftp_modes`.)

mod support;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reveille_config::limit::TFTP_TRANSFERS_MAX;
use support::{Daemon, counted, octets, run, turn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const PATIENCE: Duration = Duration::from_secs(60);

/// How often each message has been logged, but for debugging.
#[derive(Debug, Default, Clone)]
struct Log(Arc<Mutex<HashMap<String, u32>>>);

impl Log {
    /// The log of this process, from the first call on.
    fn of_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let own = Self::default();
            tracing::subscriber::set_global_default(own.clone()).expect("nobody else reads the log");
            own
        })
    }

    fn times(&self, words: &str) -> u32 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(message, _)| message.contains(words)).map(|(_, times)| times).sum()
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(message.0).or_default() += 1;
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn request(path: &str, options: &str) -> Vec<u8> {
    format!("\0\x01{path}\0octet\0{options}").into_bytes()
}

/// The first datagram after a request.
fn asked(daemon: &Daemon, request: &[u8]) -> (UdpSocket, Vec<u8>, SocketAddr) {
    let socket = socket();
    socket.send_to(request, daemon.tftp).unwrap();
    let mut datagram = vec![0; 70_000];
    let (n, from) = socket.recv_from(&mut datagram).expect("an answer");
    datagram.truncate(n);
    (socket, datagram, from)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Absurd options are as if not sent or as near as may be, and the request is served (RFC 2347).
fn absurd_options(daemon: &Daemon) {
    let data = b"\0\x03\0\x01".as_slice();
    for (options, answer) in [
        ("blksize\x000\0", data),
        ("blksize\x007\0", data),
        ("blksize\x0065465\0", b"\0\x06blksize\x0065464\0"),
        ("blksize\x00-1\0", data),
        ("windowsize\x000\0", data),
        ("windowsize\x0065536\0", data),
        ("timeout\x000\0", data),
        ("timeout\x00256\0", data),
        ("nonsense\x00value\0", data),
        ("blksize\x008\0", b"\0\x06blksize\x008\0"),
        ("windowsize\x0065535\0", b"\0\x06windowsize\x0064\0"),
    ] {
        let (client, got, from) = asked(daemon, &request("file", options));
        assert!(got.starts_with(answer), "{options:?}: {}", got.escape_ascii());
        client.send_to(b"\0\x05\0\0enough\0", from).unwrap();
    }
}

/// Clients that fall silent at each point of a transfer: each is let go by itself.
async fn the_silent(daemon: &Daemon) {
    let before = (
        counted("reveille_bootd_transfers_total", "timed out"),
        counted("reveille_bootd_http_connection_errors_total", "head-timeout"),
    );
    let (_never_answers, ..) = asked(daemon, &request("file", ""));
    let (_ignores_oack, ..) = asked(daemon, &request("file", "blksize\x001024\0"));
    // One octet of a head a second, and never a whole one.
    let mut loris: Vec<_> = (0..20).map(|_| TcpStream::connect(daemon.http).unwrap()).collect();
    let deadline = Instant::now() + PATIENCE;
    let mut open = loris.len();
    while open > 0 {
        assert!(Instant::now() < deadline, "{open} that send a head by the octet are still waited for");
        open = loris.iter_mut().filter_map(|stream| stream.write_all(b"G").ok()).count();
        fetch(daemon).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    until("the silent are waited for", || {
        counted("reveille_bootd_transfers_total", "timed out") >= before.0 + 2
            && counted("reveille_bootd_http_connection_errors_total", "head-timeout") >= before.1 + 20
    })
    .await;
}

/// Both protocols give who behaves its file, whole.
async fn fetch(daemon: &Daemon) {
    for url in [daemon.url("file"), format!("tftp://{}/file", daemon.tftp)] {
        let output = run("curl", &["-sSf", &url], None).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.stdout == octets(5_000), "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_trouble_is_bounded_counted_and_told_once() {
    let _turn = turn().await;
    let log = Log::of_process();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let daemon = Daemon::start_with(Arc::new(dir), "").await;
    daemon.file("file", &octets(5_000));
    std::os::unix::fs::symlink("../secret", daemon.dir.path().join("root/link")).unwrap();
    absurd_options(&daemon);
    for _ in 0..50 {
        for path in ["../secret", "link"] {
            let (_, answer, _) = asked(&daemon, &request(path, ""));
            assert_eq!(answer[..4], [0, 5, 0, 2], "{path}");
        }
        // Of no transfer, to the port for requests.
        socket().send_to(b"\0\x04\0\x01", daemon.tftp).unwrap();
        socket().send_to(b"\0\x09nonsense", daemon.tftp).unwrap();
    }
    until("50 of each are counted", || {
        counted("reveille_bootd_requests_refused_total", "link-escapes") == 50
            && counted("reveille_bootd_tftp_dropped_total", "") >= 100
    })
    .await;
    for words in ["TFTP request refused", "TFTP datagram dropped"] {
        let times = log.times(words);
        assert!((1..=3).contains(&times), "{words:?} is told {times} times: {:?}", log.0);
    }

    // A file that shrinks while it is served: no download of it is whole, over either protocol, and the daemon lives.
    let large = daemon.file("large", &octets(8_000_000));
    let mut http = TcpStream::connect(daemon.http).unwrap();
    http.set_read_timeout(Some(PATIENCE)).unwrap();
    http.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap();
    let mut head = [0; 1_000];
    http.read_exact(&mut head).unwrap();
    let (tftp, _, from) = asked(&daemon, &request("large", ""));
    std::fs::File::options().write(true).open(&large).unwrap().set_len(1_000).unwrap();
    let mut got = Vec::new();
    let _ = http.read_to_end(&mut got);
    assert!(got.len() < 8_000_000, "{} octets", got.len());
    let mut answer = [0; 600];
    for block in 1..=20_u16 {
        tftp.send_to(&[&[0, 4], block.to_be_bytes().as_slice()].concat(), from).unwrap();
        let (n, _) = tftp.recv_from(&mut answer).unwrap();
        if answer[1] == 5 {
            assert!(answer[4..n].starts_with(b"file changed"), "{}", answer[..n].escape_ascii());
            break;
        }
        assert!(block < 20, "octets that the file does not have are sent");
    }
    until("both are counted", || counted("reveille_bootd_transfers_total", "file changed") >= 2).await;
    the_silent(&daemon).await;
}

/// A disk that fails under many who read: an end with an error for each, one line in the log, and files of another disk go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_fails_is_told_once_and_stops_nobody_else() {
    let _turn = turn().await;
    let log = Log::of_process();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    // Files that the kernel opens and cannot read, as those of a disk that fails. (The loopback interface has no speed.)
    let daemon = Daemon::start_over(Arc::new(dir), &["/sys/devices/virtual/net/lo"]).await;
    daemon.file("file", &octets(5_000));
    for _ in 0..20 {
        let (_, answer, _) = asked(&daemon, &request("speed", ""));
        assert_eq!(answer[..4], [0, 5, 0, 0], "{}", answer.escape_ascii());
        let output = run("curl", &["-sSf", &daemon.url("speed")], None).await;
        assert!(!output.status.success() && output.stdout.is_empty());
    }
    fetch(&daemon).await;
    let failed = || counted("reveille_bootd_transfers_total", "unreadable");
    until("each is counted", || failed() >= 40).await;
    let times = log.times("cannot be read");
    assert!((1..=4).contains(&times), "it is told {times} times: {log:?}");
}

/// 100,000 requests of as many peers that never answer, at the real limit: places for no more than there may be, memory for no more, and who was there before and who
/// comes meanwhile gets its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_thousand_half_open_transfers() {
    const PEERS: usize = 100_000;
    /// Sockets open at a time.
    const AT_ONCE: usize = 500;
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    daemon.file("file", &octets(5_000));
    let resident_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let made_room = || counted("reveille_bootd_transfers_total", "made room for another");
    let (before_kib, before) = (resident_kib(), made_room());
    // It answers, and goes on when the flood is over.
    let (patient, first, from) = asked(&daemon, &request("file", ""));
    assert_eq!(first[..4], [0, 3, 0, 1]);
    let mut datagram = [0; 600];
    patient.send_to(&[0, 4, 0, 1], from).unwrap();
    while datagram[..4] != [0, 3, 0, 2] {
        patient.recv_from(&mut datagram).unwrap();
    }
    let began = Instant::now();
    for round in 0..PEERS / AT_ONCE {
        let flood = tokio::task::spawn_blocking({
            let server = daemon.tftp;
            move || {
                // Addresses of its own for each round, so that no peer comes twice.
                let ip = Ipv4Addr::new(127, 200, (round >> 8) as u8, round as u8);
                let peers: Vec<_> = (0..AT_ONCE).map(|_| UdpSocket::bind((ip, 0)).unwrap()).collect();
                let request = request("file", "");
                for peer in &peers {
                    peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                    peer.send_to(&request, server).unwrap();
                }
                for peer in &peers {
                    let deadline = Instant::now() + PATIENCE;
                    let mut answer = [0; 600];
                    // What the kernel dropped for want of room is asked for again.
                    while peer.recv_from(&mut answer).is_err() {
                        assert!(Instant::now() < deadline, "a request is not answered");
                        peer.send_to(&request, server).unwrap();
                    }
                    assert_eq!(answer[..4], [0, 3, 0, 1]);
                }
            }
        });
        flood.await.unwrap();
        if round % 40 == 0 {
            fetch(&daemon).await;
        }
    }
    println!("{PEERS} half-open transfers began in {:?}", began.elapsed());
    let grown_kib = resident_kib().saturating_sub(before_kib);
    println!("{grown_kib} KiB more, {} made room", made_room() - before);
    assert!(grown_kib < 192 << 10, "{grown_kib} KiB for {TFTP_TRANSFERS_MAX} transfers");
    let timed_out = counted("reveille_bootd_transfers_total", "timed out");
    assert!(
        made_room() - before + timed_out + TFTP_TRANSFERS_MAX as u64 >= PEERS as u64,
        "{} made room, {timed_out} timed out",
        made_room() - before
    );
    fetch(&daemon).await;
    for block in 2..=10_u8 {
        patient.send_to(&[0, 4, 0, block], from).unwrap();
        while block < 10 && datagram[..4] != [0, 3, 0, block + 1] {
            patient.recv_from(&mut datagram).expect("who answered keeps its place");
        }
    }
    until("it is whole", || counted("reveille_bootd_transfers_total", "complete") > 0).await;
}

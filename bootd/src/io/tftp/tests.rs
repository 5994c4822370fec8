//! The server without its thread, step by step, and what it does at its limits.

use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::net::UdpSocket;

use super::*;
use crate::io::tftp::worker::Finished;

/// A server that nobody runs yet, over files named after their contents, and a recorder of what it counts.
async fn at_rest(files: &[&str]) -> (Worker, tempfile::TempDir, PrometheusRecorder) {
    let dir = tempfile::tempdir().unwrap();
    for name in files {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let counters = Arc::new(metrics::with_local_recorder(&recorder, Counters::new));
    let store = Arc::new(Store::for_tests(dir.path()));
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), false, store, counters).unwrap();
    (server.worker, dir, recorder)
}

fn counts(recorder: &PrometheusRecorder, series: &str, n: u64) -> bool {
    recorder.handle().render().lines().any(|line| line == format!("{series} {n}"))
}

/// What the thread that had to wait has found.
fn finished(server: &Worker) -> Finished {
    server.results.1.recv_timeout(Duration::from_secs(30)).expect("a thread that was set to work finishes")
}

/// A request for a text: its file is read before it is answered, which is never done in the server's task.
fn text(name: &str) -> Vec<u8> {
    format!("\0\x01{name}\0netascii\0").into_bytes()
}

#[tokio::test]
async fn a_peer_has_one_opening_and_gets_what_it_asked_for_first() {
    let (mut server, _dir, recorder) = at_rest(&["first", "second"]).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = peer.local_addr().unwrap();
    for name in ["first", "second", "first", "absent", "second"] {
        server.handle_request(from, &text(name), Instant::now());
        assert_eq!(server.opening.len(), 1, "{name}");
    }
    let dropped = |reason: &str| format!("reveille_bootd_tftp_dropped_total{{reason=\"{reason}\"}}");
    assert!(counts(&recorder, &dropped("duplicate-request"), 1), "{}", recorder.handle().render());
    assert!(counts(&recorder, &dropped("opening-another"), 3), "{}", recorder.handle().render());

    // What was dropped is taken once it is asked for again.
    for name in ["first", "second"] {
        server.handle_request(from, &text(name), Instant::now());
        let finished = finished(&server);
        assert!(server.results.1.try_recv().is_err(), "{name}: only one thread was at work");
        server.finish(finished);
        assert_eq!(server.opening.len(), 0, "{name}");
        server.transmit(Instant::now());
        let mut answer = [0; 600];
        let n = tokio::time::timeout(Duration::from_secs(60), peer.recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[..n].escape_ascii().to_string(), format!("\\x00\\x03\\x00\\x01{name}"));
    }
    let mut paths: Vec<_> = server.sessions.iter().map(|s| s.request().path.as_str().to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["first", "second"]);
}

#[tokio::test]
async fn openings_count_towards_the_limit() {
    let (mut server, _dir, recorder) = at_rest(&["a", "b", "c"]).await;
    server.transfers_max = 2;
    let mut peers = Vec::new();
    for name in ["a", "b", "c"] {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        server.handle_request(peer.local_addr().unwrap(), &text(name), Instant::now());
        peers.push(peer);
    }
    assert_eq!(server.opening.len(), 2);
    assert!(counts(&recorder, "reveille_bootd_tftp_refused_at_limit_total", 1));
    server.transmit(Instant::now());
    let mut answer = [0; 600];
    tokio::time::timeout(Duration::from_secs(60), peers[2].recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[..4], [0, 5, 0, 0], "an ERROR, not silence");
    for _ in 0..2 {
        let finished = finished(&server);
        server.finish(finished);
    }
    assert_eq!((server.opening.len(), server.sessions.len()), (0, 2));
    assert!(server.results.1.try_recv().is_err(), "nothing was opened for the one that was refused");
}

#[tokio::test]
async fn one_transfer_too_many_is_refused_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), vec![7; 1_000]).unwrap();
    let store = Arc::new(Store::for_tests(dir.path()));
    let mut server =
        Server::bind("127.0.0.1:0".parse().unwrap(), false, store.clone(), Arc::new(Counters::new())).unwrap();
    server.worker.transfers_max = 2;
    let address = server.listening().local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let running = tokio::spawn(server.run(stop.subscribe()));

    // Two who have answered keep their places; the third is refused.
    let mut clients = Vec::new();
    for n in 0..3 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"\0\x01file\0octet\0", address).await.unwrap();
        let expected: [u8; 4] = if n < 2 { [0, 3, 0, 1] } else { [0, 5, 0, 0] };
        let from = answer(&client, expected).await;
        if n < 2 {
            client.send_to(&[0, 4, 0, 1], from).await.unwrap();
            answer(&client, [0, 3, 0, 2]).await;
        }
        clients.push((client, from));
    }
    assert_eq!(store.transfers.active(), 2);
    stop.send_replace(true);
    // The drain lets both finish.
    for (client, from) in &clients[..2] {
        client.send_to(&[0, 4, 0, 2], from).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("ends with its transfers").unwrap();
    assert_eq!(store.transfers.active(), 0);
}

/// The next datagram that begins so; who sent it.
async fn answer(client: &UdpSocket, expected: [u8; 4]) -> SocketAddr {
    let mut octets = [0; 600];
    loop {
        let receive = client.recv_from(&mut octets);
        let (_, from) = tokio::time::timeout(Duration::from_secs(30), receive).await.expect("an answer").unwrap();
        if octets[..4] == expected {
            return from;
        }
    }
}

/// A flood of requests that nobody means: as many sessions as there may be, and who means it still gets its file.
#[tokio::test]
async fn a_hundred_thousand_half_open_transfers_shut_nobody_out() {
    let (mut server, _dir, recorder) = at_rest(&["file"]).await;
    server.transfers_max = 1_000;
    let now = Instant::now();
    let request = b"\0\x01file\0octet\0";
    metrics::with_local_recorder(&recorder, || {
        for n in 0..100_000_u32 {
            let forged = SocketAddr::from(([127, 99, (n >> 8) as u8, n as u8], 9 + (n >> 16) as u16));
            server.handle_request(forged, request, now);
            assert!(server.sessions.len() <= 1_000);
        }
    });
    assert_eq!(server.sessions.len(), 1_000);
    let ended = |reason: &str| format!("reveille_bootd_transfers_total{{protocol=\"tftp\",outcome=\"{reason}\"}}");
    assert!(counts(&recorder, &ended("made room for another"), 99_000), "{}", recorder.handle().render());
    assert_eq!(server.store.transfers.active(), 1_000);

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    server.handle_request(client.local_addr().unwrap(), request, now);
    while server.transmit(now) {}
    answer(&client, [0, 3, 0, 1]).await;
}

/// A server that runs over one file of 100,000 octets below `root`, and a client that has its first block.
async fn half_way(store: Arc<Store>, name: &str, begins: [u8; 4]) -> (UdpSocket, [SocketAddr; 2], watch::Sender<bool>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), false, store, Arc::new(Counters::new())).unwrap();
    let address = server.listening().local_addr().unwrap();
    let stop = watch::Sender::new(false);
    tokio::spawn(server.run(stop.subscribe()));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(format!("\0\x01{name}\0octet\0").as_bytes(), address).await.unwrap();
    let from = answer(&client, begins).await;
    (client, [from, address], stop)
}

fn outcomes(store: &Store) -> Vec<String> {
    store.transfers.page(None, 10).items.into_iter().filter_map(|transfer| transfer.outcome).collect()
}

#[tokio::test]
async fn a_file_that_shrinks_ends_its_transfers_and_not_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let store = Arc::new(Store::for_tests(dir.path()));
    let (client, [from, address], _stop) = half_way(store.clone(), "file", [0, 3, 0, 1]).await;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    // Up to the end of its last page the file reads as zeros; behind it there is nothing to send.
    for block in 1..=9_u16 {
        let [high, low] = block.to_be_bytes();
        client.send_to(&[0, 4, high, low], from).await.unwrap();
        let mut octets = [0; 600];
        let receive = client.recv_from(&mut octets);
        tokio::time::timeout(Duration::from_secs(30), receive).await.expect("an answer").unwrap();
        if octets[1] == 5 {
            break;
        }
        assert!(block < 9, "octets that the file does not have are sent");
    }
    assert_eq!(outcomes(&store), ["file changed"]);
    client.send_to(b"\0\x01file\0octet\0", address).await.unwrap();
    answer(&client, [0, 3, 0, 1]).await;
}

/// A file that the kernel can open and not read: as a disk that fails. (The loopback interface has no speed.)
#[tokio::test]
async fn a_disk_that_fails_ends_its_transfer_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::for_tests_over("/sys/devices/virtual/net/lo".as_ref(), dir.path()));
    let _running = half_way(store.clone(), "speed", [0, 5, 0, 0]).await;
    assert_eq!(outcomes(&store), ["file unreadable"]);
}

//! The export of leases as it streams, from a daemon that the test writes by hand: octet by octet, slower than it is read and faster, and broken off.

use reveille_client::{ClientError, Dhcpd, ExportFormat, LeaseQuery};
use reveille_config::Endpoint;
use reveille_config::dto::dhcpd::LeaseState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n";

fn line(n: u32) -> String {
    let [_, _, a, b] = n.to_be_bytes();
    format!(
        "{{\"address\":\"10.77.{a}.{b}\",\"mac\":\"02:00:00:00:{a:02x}:{b:02x}\",\"scope\":\"prov\",\"state\":\"bound\",\"starts_unix\":1,\
         \"ends_unix\":2,\"reserved\":false,\"sequence\":{n}}}\n"
    )
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A daemon's socket, and its client.
struct Pair {
    listener: UnixListener,
    dhcpd: Dhcpd,
    _directory: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        Self { listener, dhcpd: Dhcpd::new(Endpoint::Unix(path)), _directory: directory }
    }

    /// The connection of the next request, which has been read, and its first line.
    async fn asked(&self) -> (UnixStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        (stream, request.lines().next().unwrap().to_owned())
    }
}

#[tokio::test]
async fn each_lease_is_read_however_its_octets_come() {
    let pair = Pair::new();
    let whole: String = (1..=40).map(line).collect();
    for octets in [1, 7, 1_000, whole.len()] {
        let daemon = async {
            let (mut stream, asked) = pair.asked().await;
            stream.write_all(HEAD).await.unwrap();
            for piece in whole.as_bytes().chunks(octets) {
                stream.write_all(&chunk(std::str::from_utf8(piece).unwrap())).await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            asked
        };
        let query = LeaseQuery {
            scope: Some("prov".into()),
            label: Some("rack=r 1".into()),
            state: Some(LeaseState::Bound),
            ..LeaseQuery::default()
        };
        let reader = async {
            let mut export = pair.dhcpd.export_leases(&query, ExportFormat::JsonLines).await.unwrap();
            let mut sequences = Vec::new();
            while let Some(lease) = export.lease().await.unwrap() {
                sequences.push(lease.sequence);
            }
            sequences
        };
        let (asked, sequences) = tokio::join!(daemon, reader);
        assert_eq!(asked, "GET /v1/leases:export?scope=prov&label=rack%3Dr%201&state=bound&format=jsonl HTTP/1.1");
        assert_eq!(sequences, (1..=40).collect::<Vec<_>>(), "{octets} octets at a time");
    }
}

#[tokio::test]
async fn a_daemon_waits_for_a_slow_reader_whose_memory_stays_bounded() {
    let pair = Pair::new();
    let query = LeaseQuery::default();
    let opening = pair.dhcpd.export_leases(&query, ExportFormat::JsonLines);
    let answering = async {
        let (mut stream, _) = pair.asked().await;
        stream.write_all(HEAD).await.unwrap();
        stream.write_all(&chunk(&line(0))).await.unwrap();
        stream
    };
    let (export, mut stream) = tokio::join!(opening, answering);
    let mut export = export.unwrap();
    assert_eq!(export.lease().await.unwrap().map(|lease| lease.sequence), Some(0));
    // As much as goes in while nobody reads: what the sockets hold, and no more.
    let all: Vec<u8> = (1..=60_000).map(line).flat_map(|line| chunk(&line)).collect();
    let mut written = 0;
    loop {
        match stream.try_write(&all[written..]) {
            Ok(octets) => written += octets,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written < all.len() / 2, "{written} of {} octets", all.len());
    let rest = async {
        stream.write_all(&all[written..]).await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    };
    let reader = async {
        for expected in 1..=60_000 {
            assert_eq!(export.lease().await.unwrap().map(|lease| lease.sequence), Some(expected));
        }
        export.lease().await.unwrap()
    };
    let ((), end) = tokio::join!(rest, reader);
    assert_eq!(end, None);
}

#[tokio::test]
async fn an_export_that_breaks_off_is_no_end() {
    let pair = Pair::new();
    for (sent, read_before) in [
        (chunk(&(line(1) + &line(2))), 2),
        ([chunk(&line(1)), chunk("{\"addr"), b"0\r\n\r\n".to_vec()].concat(), 1),
        ([chunk(&line(1)), chunk("no lease\n"), b"0\r\n\r\n".to_vec()].concat(), 1),
        (chunk(&"x".repeat(70_000)), 0),
    ] {
        let daemon = async {
            let (mut stream, _) = pair.asked().await;
            stream.write_all(&[HEAD, &*sent].concat()).await.unwrap();
            // Hangs up.
        };
        let reader = async {
            let mut export = pair.dhcpd.export_leases(&LeaseQuery::default(), ExportFormat::JsonLines).await.unwrap();
            for _ in 0..read_before {
                assert!(export.lease().await.unwrap().is_some());
            }
            export.lease().await.unwrap_err()
        };
        let ((), error) = tokio::join!(daemon, reader);
        assert!(matches!(error, ClientError::Exchange { .. }), "{error:?}");
    }
}

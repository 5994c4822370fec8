//! The machines' HTTP server against curl, and against requests that curl would not send.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Daemon, counted, octets, run, turn, until_counted};

async fn curl(arguments: &[&str]) -> (String, Vec<u8>) {
    let all = [&["-sS", "-D", "/dev/stderr"], arguments].concat();
    let output = run("curl", &all, None).await;
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stderr).unwrap(), output.stdout)
}

/// The value of a header field of a response's head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_whole_in_part_and_not_at_all() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    let image = octets(3_000_001);
    daemon.file("agent/image 1", &image);
    daemon.file("empty", b"");
    let url = daemon.url("agent/image%201");

    let (head, body) = curl(&[&url]).await;
    assert!(head.starts_with("HTTP/1.1 200") && body == image);
    assert_eq!(field(&head, "content-length"), Some("3000001"));
    assert!(head.contains("\r\nContent-Length: "), "GRUB looks for this spelling: {head}");
    assert_eq!(field(&head, "transfer-encoding"), None);
    let (etag, date) = (field(&head, "etag").unwrap(), field(&head, "last-modified").unwrap());

    let (only_head, none) = curl(&["-I", &url]).await;
    assert!(none.starts_with(b"HTTP/1.1 200"), "curl -I prints the head as its output");
    assert_eq!(field(&only_head, "content-length"), Some("3000001"));
    assert_eq!(field(&only_head, "etag"), Some(etag));

    // HEAD, then GET, on one connection, as firmware does it.
    let both = run("curl", &["-sSv", "-I", &url, "--next", "-sSv", "-o", "/dev/null", &url], None).await;
    let trace = String::from_utf8_lossy(&both.stderr).to_lowercase();
    assert!(both.status.success() && trace.contains("re-using existing connection"), "{trace}");

    let (head, part) = curl(&["-r", "1000-1999", &url]).await;
    assert!(head.starts_with("HTTP/1.1 206") && part == image[1_000..2_000]);
    assert_eq!(field(&head, "content-range"), Some("bytes 1000-1999/3000001"));
    let (head, part) = curl(&["-r", "-10", &url]).await;
    assert!(head.starts_with("HTTP/1.1 206") && part == image[2_999_991..]);
    let (head, _) = curl(&["-r", "3000001-", &url]).await;
    assert!(head.starts_with("HTTP/1.1 416"), "{head}");
    assert_eq!(field(&head, "content-range"), Some("bytes */3000001"));
    let (head, whole) = curl(&["-r", "0-1", "-H", "If-Range: \"other\"", &url]).await;
    assert!(head.starts_with("HTTP/1.1 200") && whole == image);
    let (head, _) = curl(&["-H", &format!("If-None-Match: {etag}"), &url]).await;
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    let (head, _) = curl(&["-z", date, &url]).await;
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");

    let partial = daemon.dir.path().join("partial");
    std::fs::write(&partial, &image[..1_234_567]).unwrap();
    curl(&["-C", "-", "-o", partial.to_str().unwrap(), &url]).await;
    assert!(std::fs::read(&partial).unwrap() == image, "a resumed download differs");

    let (head, body) = curl(&[&daemon.url("empty")]).await;
    assert_eq!((field(&head, "content-length"), body.len()), (Some("0"), 0));
    for missing in ["missing", "agent", "agent/", "", "pxelinux.cfg/52-54-00-00-00-01", "autoexec.ipxe"] {
        let (head, _) = curl(&[&daemon.url(missing)]).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{missing}: {head}");
    }
    let (head, _) = curl(&["-X", "POST", "-d", "x", &url]).await;
    assert!(head.starts_with("HTTP/1.1 405") && field(&head, "allow") == Some("GET, HEAD"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_come_as_parts() {
    let daemon = Daemon::start().await;
    // Copied, and sent from the page cache.
    for size in [10_000_usize, 3_000_000] {
        let image = octets(size);
        daemon.file("image", &image);
        let url = daemon.url("image");
        let (first, second) = (size / 2, size - size / 10);
        let ranges = format!("{first}-{},0-9,{second}-,99999999-", first + size / 4);
        let (head, body) = curl(&["-r", &ranges, &url]).await;
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        assert_eq!(field(&head, "content-length"), Some(body.len().to_string().as_str()));
        let boundary = field(&head, "content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut left = &body[..];
        for (from, to) in [(first, first + size / 4), (0, 9), (second, size - 1)] {
            let part = format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {from}-{to}/{size}\r\n\r\n"
            );
            assert!(left.starts_with(part.as_bytes()), "{part}");
            let octets = &left[part.len()..][..=to - from];
            assert!(*octets == image[from..=to], "{from}-{to}");
            left = &left[part.len() + octets.len()..];
        }
        assert_eq!(left, format!("\r\n--{boundary}--\r\n").as_bytes());
        // Absurd ones get the whole file.
        for absurd in [["0-"; 2].join(","), ["1-1"; 1_000].join(",")] {
            let (head, body) = curl(&["-r", &absurd, &url]).await;
            assert!(head.starts_with("HTTP/1.1 200") && body == image, "{head}");
        }
        let transfers = daemon.ended_transfers().await;
        assert!(transfers.iter().all(|transfer| transfer["outcome"] == "complete"), "{transfers:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outside_the_root() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    std::fs::write(daemon.dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", daemon.dir.path().join("root/link")).unwrap();
    daemon.file("sub/file", b"x");
    let before = counted("reveille_bootd_requests_refused_total", "http");
    let paths = [
        "../secret",
        "sub/../../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "sub/%2e%2e/%2e%2e/secret",
        "..%5csecret",
        "..\\\\secret",
        "%252e%252e/secret",
        "secret%00",
        "%c0%ae%c0%ae/secret",
        "/etc/passwd",
        "%2fetc/passwd",
        "link",
        "....//secret",
        ".%00./secret",
    ];
    for path in paths {
        let (head, body) = curl(&["--path-as-is", "-g", &daemon.url(path)]).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        assert!(!body.windows(6).any(|w| w == b"secret"), "{path} leaks");
    }
    until_counted("reveille_bootd_requests_refused_total", "http", before, paths.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_paths_need_a_signature_and_are_not_had_over_tftp() {
    let _turn = turn().await;
    use reveille_config::temp_url::{Algorithm, Grant};
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "mykey\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let extra = format!("[bootd.temp_url]\nkeys = [{{ file = {key:?} }}]\nguard = [\"private\"]\n");
    let daemon = Daemon::start_with(std::sync::Arc::new(dir), &extra).await;
    let image = octets(100_000);
    daemon.file("private/os 1.raw", &image);
    daemon.file("public.raw", b"x");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let grant = Grant {
        method: "GET",
        expires_unix: now + 600,
        path: "/private/os 1.raw",
        prefix: None,
        ip_range: Some("127.0.0.0/8"),
    };
    let url = |grant: Grant<'_>| daemon.url(&grant.signed_path(Algorithm::Sha256, b"mykey")[1..]);
    let (head, body) = curl(&[&url(grant)]).await;
    assert!(head.starts_with("HTTP/1.1 200") && body == image, "{head}");
    let (head, part) = curl(&["-r", "5-9", &url(grant)]).await;
    assert!(head.starts_with("HTTP/1.1 206") && part == image[5..10], "{head}");
    let (head, _) = curl(&["-I", &url(grant)]).await;
    assert_eq!(field(&head, "content-length"), Some("100000"));
    let before = counted("reveille_bootd_requests_refused_total", "signature");
    for refused in [
        daemon.url("private/os%201.raw"),
        daemon.url("./private/missing"),
        daemon.url("%70rivate//os%201.raw"),
        url(Grant { expires_unix: now - 1, ..grant }),
        url(Grant { path: "/private/other", ..grant }).replace("/other?", "/os%201.raw?"),
        url(grant).replace("127.0.0.0", "0.0.0.0"),
    ] {
        let (head, body) = curl(&["--path-as-is", &refused]).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{refused}: {head}");
        assert!(body.len() < 100, "{refused}");
    }
    until_counted("reveille_bootd_requests_refused_total", "signature", before, 6).await;
    let (head, _) = curl(&[&daemon.url("public.raw?temp_url_sig=x")]).await;
    assert!(head.starts_with("HTTP/1.1 200"), "what is not guarded needs nothing: {head}");
    let tftp = run("curl", &["-sS", &format!("tftp://{}/private/os%201.raw", daemon.tftp)], None).await;
    assert!(!tftp.status.success() && tftp.stdout.is_empty(), "TFTP shows no signatures");
    until_counted("reveille_bootd_requests_refused_total", "signature-missing", before, 4).await;
}

/// Sends octets as they are and reads until the server closes or says no more.
fn raw(daemon: &Daemon, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may close before it has read all of a request that is too large.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_counted_and_harm_nobody() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    daemon.file("file", b"hello");
    let many_fields = ["GET /file HTTP/1.1\r\nHost: x\r\n".to_owned(), "A: b\r\n".repeat(200), "\r\n".into()].concat();
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let requests: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /file HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        many_fields.as_bytes(),
        long_line.as_bytes(),
        b"GET /file HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ];
    let before = counted("reveille_bootd_http_connection_errors_total", "parse");
    for request in requests {
        let answer = raw(&daemon, request);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{:?}: {answer}",
            request.escape_ascii().to_string()
        );
    }
    let random = octets(10_000);
    for chunk in random.chunks(500) {
        raw(&daemon, &[chunk, b"\r\n\r\n"].concat());
    }
    let errors = counted("reveille_bootd_http_connection_errors_total", "parse") - before;
    assert!(errors >= requests.len() as u64 / 2, "{errors} counted");
    let answer = raw(&daemon, b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(daemon.ended_transfers().await.iter().all(|t| t["path"] == "file"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_in_a_row_cold_ones_and_one_that_nobody_wants_to_the_end() {
    let daemon = Daemon::start().await;
    // Below, at and above where bodies are no longer copied, and where a body has several pieces.
    let sizes = [0, 1, (64 << 10) - 1, 64 << 10, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_000_000];
    let files: Vec<_> = sizes.iter().map(|&size| (format!("file-{size}"), octets(size))).collect();
    let (mut requests, mut expected) = (String::new(), Vec::new());
    for (name, image) in &files {
        let path = daemon.file(name, image);
        // Not in memory any more, so that it is read elsewhere first.
        let file = std::fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        requests += &format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n");
        expected.push(image);
    }
    requests += "GET /file-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    expected.push(&files[1].1);
    // All of them asked for at once, on one connection.
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let mut left = &answers[..];
    for image in expected {
        let body = left.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(left.starts_with(b"HTTP/1.1 200") && left[body..].starts_with(image), "{} octets", image.len());
        left = &left[body + image.len()..];
    }
    assert!(left.is_empty());

    let mut stream = TcpStream::connect(daemon.http).unwrap();
    daemon.file("large", &octets(64 << 20));
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 10_000]).unwrap();
    drop(stream);
    let transfers = daemon.ended_transfers().await;
    assert_eq!(transfers[0]["outcome"], "broken off by the client");
    let sent = transfers[0]["bytes_sent"].as_u64().unwrap();
    assert!((9_000..64 << 20).contains(&sent), "{sent}");
    assert_eq!(transfers.iter().filter(|transfer| transfer["outcome"] == "complete").count(), sizes.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_served_is_not_passed_off_as_whole() {
    let _turn = turn().await;
    let daemon = Daemon::start().await;
    let image = octets(64 << 20);
    for (name, change) in [("shrinks", true), ("overwritten", false)] {
        let path = daemon.file(name, &image);
        let mut stream = TcpStream::connect(daemon.http).unwrap();
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut first = [0; 1_000];
        stream.read_exact(&mut first).unwrap();
        // Far more than the socket buffers hold is still to come.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if change {
            file.set_len(1 << 20).unwrap()
        } else {
            (&file).write_all(&[0; 100]).unwrap()
        }
        drop(file);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(first.len() + rest.len() < image.len(), "{name}: {} octets came", first.len() + rest.len());
        let transfers = daemon.ended_transfers().await;
        assert_eq!(
            (transfers[0]["path"].as_str(), transfers[0]["outcome"].as_str()),
            (Some(name), Some("file changed"))
        );
    }
    until_counted("reveille_bootd_transfers_total", "file changed", 0, 2).await;
    // Replaced by name, as an operator should: who began with the old one gets all of the old one.
    let path = daemon.file("replaced", &image);
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    write!(stream, "GET /replaced HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = vec![0; 1_000];
    stream.read_exact(&mut answer).unwrap();
    daemon.file("new", &octets(10));
    std::fs::rename(daemon.dir.path().join("root/new"), path).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(answer[head..] == image, "old and new octets are mixed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_events_and_transfers_of_a_boot() {
    let daemon = Daemon::start().await;
    daemon.file("vmlinuz", &octets(100_000));
    let (_, entry) = curl(&[&daemon.url("boot.ipxe")]).await;
    let entry = String::from_utf8(entry).unwrap();
    assert!(entry.starts_with("#!ipxe\n") && entry.contains("pxelinux.cfg/${mac:hexhyp}"), "{entry}");

    let intent = json!({"action": "kernel", "kernel": "vmlinuz", "initrd": "http://10.0.0.1/rd", "cmdline": "a=b", "node": "n-1"});
    let (status, answer) = daemon.api("PUT", "/v1/intents/52:54:00:12:34:56", Some(intent)).await;
    assert_eq!((status, answer["mac"].as_str()), (200, Some("52:54:00:12:34:56")));
    let mut texts = Vec::new();
    for path in ["pxelinux.cfg/52-54-00-12-34-56", "52-54-00-12-34-56/script.ipxe"] {
        let (head, body) = curl(&[&daemon.url(path)]).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}");
        texts.push(String::from_utf8(body).unwrap());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    let kernel = format!("kernel http://{}/vmlinuz a=b initrd=ramdisk || goto again", daemon.http);
    assert!(texts[0].lines().any(|line| line == kernel), "{}", texts[0]);
    // The machine has shown its address: its kernel's download is marked as its own.
    curl(&[&daemon.url("vmlinuz")]).await;
    daemon.ended_transfers().await;
    let (_, page) = daemon.api("GET", "/v1/events?since=0", None).await;
    let events = page["events"].as_array().unwrap();
    let of =
        |kind: &str| events.iter().rev().find(|e| e["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {events:#?}"));
    for kind in ["script-served", "transfer-started", "transfer-ended"] {
        assert_eq!(
            (of(kind)["mac"].as_str(), of(kind)["node"].as_str()),
            (Some("52:54:00:12:34:56"), Some("n-1")),
            "{kind}"
        );
    }
    assert_eq!(of("transfer-ended")["detail"]["bytes_sent"], 100_000);
    assert_eq!(of("transfer-ended")["detail"]["outcome"], "complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_shows_while_a_download_lasts_and_a_drain_lets_it_finish() {
    let mut daemon = Daemon::start().await;
    let image = octets(32 << 20);
    daemon.file("image", &image);
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    write!(stream, "GET /image HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // What has arrived is told a moment later.
    let sent = loop {
        let (_, page) = daemon.api("GET", "/v1/transfers", None).await;
        let transfer = &page["items"][0];
        assert!(transfer["outcome"].is_null() && transfer["bytes_total"] == image.len(), "{transfer}");
        let sent = transfer["bytes_sent"].as_u64().unwrap();
        if sent >= 99_000 {
            break sent;
        }
        assert!(Instant::now() < deadline, "{transfer}");
    };
    assert!(sent < image.len() as u64, "{sent}");
    let running = daemon.running.take().unwrap();
    let drained = tokio::spawn(running.drain());
    let reader = tokio::task::spawn_blocking(move || {
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let answer = reader.await.unwrap();
    assert!(answer.ends_with(&image[1_000_000..]), "the drain broke a download off");
    drained.await.unwrap();
    assert!(TcpStream::connect(daemon.http).is_err());
}

//! Files of an upstream that breaks in the middle, changes, is slow, or is gone.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Daemon, counted, octets, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What the upstream has under every path but `/base/gone`, and how it behaves.
#[derive(Debug)]
struct Upstream {
    file: Mutex<(String, Vec<u8>)>,
    /// Answers break off after so many octets of a body.
    breaks_after: AtomicUsize,
    requests: Mutex<Vec<String>>,
    /// Octets of a body before a permit is needed for the rest; more than it has: half of it.
    first: AtomicUsize,
    /// Permits to send the rest of a body.
    halves: Semaphore,
}

impl Upstream {
    async fn start(octets: Vec<u8>) -> (Arc<Self>, String, tokio::task::JoinHandle<()>) {
        let own = Arc::new(Self {
            file: Mutex::new(("\"one\"".into(), octets)),
            breaks_after: AtomicUsize::new(usize::MAX),
            requests: Mutex::default(),
            first: AtomicUsize::new(usize::MAX),
            halves: Semaphore::new(1_000),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let serving = own.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        (own, url, task)
    }

    async fn answer(self: Arc<Self>, mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let field =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned);
        self.requests.lock().unwrap().push(head.clone());
        let (tag, octets) = self.file.lock().unwrap().clone();
        if head.starts_with("get /base/gone ") || field("if-none-match").as_ref() == Some(&tag) {
            let status = if head.contains("/gone") { "404 Not Found" } else { "304 Not Modified" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return stream.write_all(answer.as_bytes()).await;
        }
        let total = octets.len();
        let range = field("range").filter(|_| field("if-range").as_ref() == Some(&tag));
        let first = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let status = match first {
            Some(first) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{total}", total - 1),
            None => "200 OK".into(),
        };
        let body = &octets[first.unwrap_or(0)..];
        let answer =
            format!("HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(answer.as_bytes()).await?;
        let body = &body[..body.len().min(self.breaks_after.load(Ordering::SeqCst))];
        let first = self.first.load(Ordering::SeqCst);
        let (now, later) = body.split_at(if first < body.len() { first } else { body.len() / 2 });
        stream.write_all(now).await?;
        self.halves.acquire().await.unwrap().forget();
        stream.write_all(later).await
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn start(url: &str, extra: &str) -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    restart(Arc::new(dir), url, extra).await
}

async fn restart(dir: Arc<tempfile::TempDir>, url: &str, extra: &str) -> Daemon {
    let table = format!("[bootd.upstream]\npath = \"mirror\"\nurl = \"{url}\"\n{extra}\n");
    Daemon::start_with(dir, &table).await
}

async fn get(daemon: &Daemon, path: &str) -> (String, Vec<u8>) {
    let output = run("curl", &["-sS", "-D", "/dev/stderr", &daemon.url(path)], None).await;
    (String::from_utf8(output.stderr).unwrap(), output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_fetch_for_many_served_as_it_arrives_and_kept() {
    let image = octets(3_000_000);
    let (upstream, url, serving) = Upstream::start(image.clone()).await;
    upstream.halves.forget_permits(1_000);
    let mut daemon = start(&url, "").await;
    daemon.file("mirror/own", b"of a root");
    // The first half comes while the upstream holds the second back.
    let mut stream = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
    stream.write_all(b"GET /mirror/a/os.raw HTTP/1.0\r\n\r\n").await.unwrap();
    let mut first = vec![0; image.len() / 2];
    tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut first)).await.expect("it is served").unwrap();
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let url = daemon.url("mirror/a/os.raw");
        others.spawn(async move { run("curl", &["-sSf", &url], None).await.stdout });
    }
    // And a part that is not there yet.
    let url_of_part = daemon.url("mirror/a/os.raw");
    others.spawn(async move {
        let output = run("curl", &["-sSf", "-r", "2999990-", &url_of_part], None).await;
        [octets(3_000_000)[..2_999_990].to_vec(), output.stdout].concat()
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while daemon.api("GET", "/v1/transfers", None).await.1["items"].as_array().unwrap().len() < 22 {
        assert!(Instant::now() < deadline, "the others are not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    upstream.halves.add_permits(1_000);
    for body in others.join_all().await {
        assert!(body == image);
    }
    stream.read_to_end(&mut first).await.unwrap();
    assert!(first.ends_with(&image));
    assert_eq!(upstream.requests(), 1, "{:?}", upstream.requests);
    let head = upstream.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("get /base/a/os.raw http/1.1"), "{head}");

    let (head, body) = get(&daemon, "mirror/own").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == b"of a root", "a root comes first");
    let (head, _) = get(&daemon, "mirror/gone").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    // With the upstream gone, and after a restart, what is there is served, over TFTP too.
    serving.abort();
    daemon.stop().await;
    let daemon = restart(daemon.dir.clone(), &url, "").await;
    let (head, body) = get(&daemon, "mirror/a/os.raw").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Etag: \"one\"") && body == image, "{head}");
    let tftp = run("curl", &["-sSf", &format!("tftp://{}/mirror/a/os.raw", daemon.tftp)], None).await;
    assert!(tftp.stdout == image);
    let (head, _) = get(&daemon, "mirror/another").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_breaks_off_goes_on_and_what_changes_meanwhile_is_not_mixed() {
    let image = octets(1_000_000);
    let (upstream, url, _serving) = Upstream::start(image.clone()).await;
    upstream.breaks_after.store(300_000, Ordering::SeqCst);
    let daemon = start(&url, "disk_bytes_max = 2500000").await;
    let (head, body) = get(&daemon, "mirror/os.raw").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == image, "{} octets", body.len());
    let ranges: Vec<String> = upstream
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|head| head.lines().find_map(|line| line.strip_prefix("range: ")).unwrap_or("none").to_owned())
        .collect();
    assert_eq!(ranges, ["none", "bytes=300000-", "bytes=600000-", "bytes=900000-"]);
    assert!(upstream.requests.lock().unwrap()[1].contains("if-range: \"one\""));
    assert!(counted("reveille_bootd_upstream_resumes_total", "") >= 3);

    // It changes between two pieces: no download is passed off as whole.
    upstream.halves.forget_permits(2_000);
    let mut stream = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
    stream.write_all(b"GET /mirror/changes HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).await.unwrap();
    *upstream.file.lock().unwrap() = ("\"two\"".into(), octets(1_000_001));
    upstream.halves.add_permits(1_000);
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 400_000, "{} octets", answer.len());
    let (_, body) = get(&daemon, "mirror/changes").await;
    assert!(body == octets(1_000_001), "the next one gets the new version");

    // The budget has room for two of them; a third makes the oldest go.
    upstream.breaks_after.store(usize::MAX, Ordering::SeqCst);
    get(&daemon, "mirror/third").await;
    let kept = std::fs::read_dir(daemon.dir.path().join("state/upstream")).unwrap().map(|entry| entry.unwrap());
    let bytes: u64 = kept.map(|entry| entry.metadata().unwrap().len()).filter(|bytes| *bytes > 1_000).sum();
    assert!(bytes <= 2_500_000, "{bytes}");
    *upstream.file.lock().unwrap() = ("\"large\"".into(), octets(2_500_001));
    let (head, _) = get(&daemon, "mirror/large").await;
    assert!(head.starts_with("HTTP/1.1 507"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_version_is_found_behind_the_machines_back_and_signed_urls_are_asked_for() {
    let (upstream, url, _serving) = Upstream::start(octets(1_000)).await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "mykey").unwrap();
    let extra = format!("check_secs = 0\ntemp_url_key = {{ file = {:?} }}", key.path());
    let daemon = start(&url, &extra).await;
    get(&daemon, "mirror/os 1.raw".replace(' ', "%20").as_str()).await;
    let head = upstream.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("get /base/os%201.raw?temp_url_sig="), "{head}");
    *upstream.file.lock().unwrap() = ("\"two\"".into(), octets(2_000));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (head, body) = get(&daemon, "mirror/os%201.raw").await;
        assert!(head.starts_with("HTTP/1.1 200") && (body == octets(1_000) || body == octets(2_000)), "{head}");
        if body == octets(2_000) {
            break;
        }
        assert!(Instant::now() < deadline, "the new version is not found");
    }
    assert!(upstream.requests.lock().unwrap().iter().any(|head| head.contains("if-none-match: \"one\"")));
}

/// The ranges that were asked for, in order.
fn ranges(upstream: &Upstream) -> Vec<String> {
    let requests = upstream.requests.lock().unwrap();
    let range = |head: &String| head.lines().find_map(|line| line.strip_prefix("range: ")).unwrap_or("none").to_owned();
    requests.iter().map(range).collect()
}

/// The one file in a directory with this extension.
fn one(dir: &std::path::Path, extension: &str) -> Option<std::path::PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|file| file.extension().is_some_and(|own| own == extension))
}

/// The directory of copies once so many octets of the one file are in it; its files as a daemon that is killed at this moment leaves them.
async fn killed_at(daemon: &Daemon, bytes: usize) -> Arc<tempfile::TempDir> {
    let from = daemon.dir.path().join("state/upstream");
    let deadline = Instant::now() + Duration::from_secs(60);
    while one(&from, "new").is_none_or(|file| file.metadata().unwrap().len() != bytes as u64) {
        assert!(Instant::now() < deadline, "{bytes} octets do not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = tempfile::tempdir().unwrap();
    let to = left.path().join("state/upstream");
    std::fs::create_dir_all(&to).unwrap();
    std::fs::create_dir(left.path().join("root")).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    Arc::new(left)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fetch_goes_on_after_a_kill_wherever_it_was() {
    const BYTES: usize = 1_000_000;
    #[derive(Debug, PartialEq)]
    enum Then {
        Same,
        Changes,
        Shrinks,
        KernelRestarts,
        RecordIsTorn,
    }
    let cases = [
        (0, Then::Same, "none"),
        (1, Then::Same, "bytes=1-"),
        (65_537, Then::Same, "bytes=65537-"),
        (BYTES / 2, Then::Same, "bytes=500000-"),
        (BYTES - 1, Then::Same, "bytes=999999-"),
        (BYTES / 2, Then::Changes, "bytes=500000-"),
        (BYTES / 2, Then::Shrinks, "bytes=500000-"),
        (BYTES / 2, Then::KernelRestarts, "none"),
        (BYTES / 2, Then::RecordIsTorn, "none"),
    ];
    for (bytes, then, range) in cases {
        let case = format!("killed after {bytes} octets, then {then:?}");
        let (upstream, url, _serving) = Upstream::start(octets(BYTES)).await;
        upstream.first.store(bytes, Ordering::SeqCst);
        upstream.halves.forget_permits(1_000);
        let daemon = start(&url, "").await;
        let mut stream = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
        stream.write_all(b"GET /mirror/os.raw HTTP/1.0\r\n\r\n").await.unwrap();
        let left = killed_at(&daemon, bytes).await;
        let record = one(&left.path().join("state/upstream"), "part").unwrap();
        let text = std::fs::read_to_string(&record).unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        match then {
            Then::Same => {}
            Then::Changes => *upstream.file.lock().unwrap() = ("\"two\"".into(), octets(BYTES + 1)),
            Then::Shrinks => *upstream.file.lock().unwrap() = ("\"two\"".into(), octets(99)),
            Then::KernelRestarts => std::fs::write(&record, text.replace(boot.trim(), "another")).unwrap(),
            Then::RecordIsTorn => std::fs::write(&record, &text[..text.len() / 2]).unwrap(),
        }
        upstream.halves.add_permits(1_000);
        let again = restart(left, &url, "").await;
        let (head, body) = get(&again, "mirror/os.raw").await;
        let present = upstream.file.lock().unwrap().1.clone();
        assert!(head.starts_with("HTTP/1.1 200") && body == present, "{case}: {} octets, {head}", body.len());
        assert_eq!(ranges(&upstream), ["none", range], "{case}");
        // It is made a copy a moment after its last octet has been served.
        let deadline = Instant::now() + Duration::from_secs(60);
        let copies = again.dir.path().join("state/upstream");
        while one(&copies, "json").is_none() || one(&copies, "part").is_some() || one(&copies, "new").is_some() {
            assert!(Instant::now() < deadline, "{case}: something is left over");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An upstream that does not answer after the restart takes nothing away of what had come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_had_come_outlasts_an_upstream_that_is_down() {
    let image = octets(100_000);
    let (upstream, url, serving) = Upstream::start(image.clone()).await;
    upstream.first.store(40_000, Ordering::SeqCst);
    upstream.halves.forget_permits(1_000);
    let daemon = start(&url, "").await;
    let mut stream = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
    stream.write_all(b"GET /mirror/os.raw HTTP/1.0\r\n\r\n").await.unwrap();
    let left = killed_at(&daemon, 40_000).await;
    let again = restart(left, "http://127.0.0.1:9/base", "").await;
    let (head, _) = get(&again, "mirror/os.raw").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    let mut again = again;
    again.stop().await;
    upstream.halves.add_permits(1_000);
    let again = restart(again.dir.clone(), &url, "").await;
    let (head, body) = get(&again, "mirror/os.raw").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == image, "{head}");
    assert_eq!(ranges(&upstream), ["none", "bytes=40000-"]);
    serving.abort();
}

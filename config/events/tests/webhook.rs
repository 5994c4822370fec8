//! Web hooks against a real HTTP receiver that fails, hangs, redirects, says 410 and restarts, while the daemon goes on, is stopped or is killed.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reveille_config::dto::event::{Epoch, Event, Lost};
use reveille_config::environment::Imagined;
use reveille_config::limit::EVENTS_MAX;
use reveille_config::webhook::Webhook;
use reveille_config::{Config, MacAddr};
use reveille_events::webhook::{Hooks, Pace};
use reveille_events::{Log as _, Ring};
use sha2::Sha256;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// For what must come, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: [[u8; 32]; 2] = [[7; 32], [9; 32]];

/// No wait between tries that would make a test long; how far it has come is written down at once.
const PACE: Pace = Pace {
    first: Duration::from_millis(1),
    most: Duration::from_millis(5),
    asked_most: Duration::from_millis(20),
    save_every: Duration::ZERO,
};

/// What the receiver does with a request.
#[derive(Clone, Copy)]
enum Reply {
    Status(u16),
    /// It takes the request and never answers.
    Hang,
}

/// What the receiver was sent.
#[derive(Clone, PartialEq, Debug)]
struct Received {
    id: String,
    body: Bytes,
    kind: String,
    sequences: Vec<u64>,
    lost: Option<Lost>,
    /// Whether it was answered with success.
    taken: bool,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    received: watch::Sender<Vec<Received>>,
}

struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
    script: Arc<Script>,
    /// A runtime of its own, so that its end breaks off all connections.
    server: Option<Runtime>,
}

impl Receiver {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { listener, address, script: Arc::default(), server: None };
        receiver.started()
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Serves from now on: who came before waits in the listener.
    fn start(&mut self) {
        let (listener, script) = (self.listener.try_clone().unwrap(), self.script.clone());
        let server = runtime();
        server.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let handler = async move |headers: HeaderMap, body: Bytes| script.answer(&headers, body).await;
            axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
        });
        self.server = Some(server);
    }

    /// Breaks everything off.
    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.replies.lock().unwrap().extend(replies);
    }

    async fn until(&self, is_so: impl FnMut(&Vec<Received>) -> bool) -> Vec<Received> {
        let mut received = self.script.received.subscribe();
        let received = tokio::time::timeout(PATIENCE, received.wait_for(is_so)).await.expect("it comes").unwrap();
        received.clone()
    }

    /// Waits until the event `last` was taken.
    async fn until_taken(&self, last: u64) -> Vec<Received> {
        self.until(|all| all.iter().any(|one| one.taken && one.sequences.contains(&last))).await
    }
}

impl Script {
    async fn answer(&self, headers: &HeaderMap, body: Bytes) -> Response {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let (id, stamp) = (text("webhook-id"), text("webhook-timestamp"));
        let signature = |key: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(format!("{id}.{stamp}.").as_bytes());
            mac.update(&body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        assert_eq!(text("webhook-signature"), KEYS.map(|key| signature(&key)).join(" "));
        assert_eq!(text("content-type"), "application/json");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let data = &json["data"];
        assert_eq!((&data["daemon"], &data["webhook"]), (&"x".into(), &"cmdb".into()));
        let events: Vec<Event> = serde_json::from_value(data["events"].clone()).unwrap();
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(204));
        let received = Received {
            id,
            body,
            kind: json["type"].as_str().unwrap().to_owned(),
            sequences: events.iter().map(|event| event.sequence).collect(),
            lost: data.get("lost").map(|lost| serde_json::from_value(lost.clone()).unwrap()),
            taken: matches!(reply, Reply::Status(200..=299)),
        };
        self.received.send_modify(|all| all.push(received));
        match reply {
            Reply::Status(status) => {
                let mut answer = StatusCode::from_u16(status).unwrap().into_response();
                answer.headers_mut().insert("location", HeaderValue::from_static("http://192.0.2.1/"));
                answer.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
                answer
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

/// A hook as a file has it.
fn hook(address: SocketAddr, timeout_secs: u64, more: &str) -> Vec<Webhook> {
    let secret = |key: [u8; 32]| format!("whsec_{}\n", STANDARD.encode(key));
    let world =
        Imagined::with_all_directories().file("/etc/a", 0o600, secret(KEYS[0])).file("/etc/b", 0o600, secret(KEYS[1]));
    let text = format!(
        "[bootd]\nhttp = [\"10.0.0.1:80\"]\nroots = [\"/srv\"]\n[[bootd.webhook]]\nname = \"cmdb\"\n\
         url = \"http://{address}/hook?of=a\"\nsecret = [{{ file = \"/etc/a\" }}, {{ file = \"/etc/b\" }}]\ntimeout_secs = {timeout_secs}\nbatch = 10\n{more}"
    );
    Config::parse(&text, Path::new("x.toml"), &world).unwrap().bootd.unwrap().webhooks
}

fn push(ring: &Ring, n: usize) {
    for _ in 0..n {
        ring.push(|sequence| Event {
            sequence,
            at_unix_millis: 5,
            kind: if sequence % 2 == 0 { "even" } else { "odd" }.into(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            node: None,
            message: "something happened".into(),
            detail: Default::default(),
        });
    }
}

/// What was sent has all of `expected` in order; what came again came with all that was not taken.
fn check(received: &[Received], expected: std::ops::RangeInclusive<u64>) {
    let mut next = *expected.start();
    let mut again: Option<&Received> = None;
    for one in received {
        if let Some(before) = again.filter(|before| before.id == one.id) {
            assert_eq!((&before.body, &before.sequences), (&one.body, &one.sequences), "the same again");
        }
        let first = one.sequences.first().copied().unwrap_or(next);
        assert!(first <= next, "{first} came before {next}: {received:#?}");
        assert!(one.sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order");
        if one.taken {
            next = next.max(one.sequences.last().map_or(next, |last| last + 1));
        }
        again = Some(one);
    }
    assert!(next > *expected.end(), "all of it: {next}");
}

/// The hooks of a daemon that keeps its state in `directory`.
fn start(ring: &Arc<Ring>, directory: &Path, hooks: &[Webhook]) -> Hooks {
    Hooks::start_with("x", ring.clone(), directory, hooks, PACE)
}

/// Waits until it is written down that a receiver has come so far.
async fn until_place(directory: &Path, since: u64) {
    let place = directory.join("webhooks/cmdb.json");
    let wanted = format!("\"since\":{since},");
    let written = async {
        while !std::fs::read_to_string(&place).is_ok_and(|text| text.contains(&wanted)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it is written down");
}

#[tokio::test]
async fn whatever_a_receiver_answers_it_is_sent_everything_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::new();
    let status = Reply::Status;
    receiver.reply([status(500), status(302), status(204), Reply::Hang, status(429), status(400), status(503)]);
    let ring = Arc::new(Ring::after(Epoch(1), 100));
    let mut hooks = start(&ring, directory.path(), &hook(receiver.address, 1, ""));
    // A new hook begins with what happens from now on.
    until_place(directory.path(), 100).await;
    push(&ring, 35);
    let received = receiver.until_taken(135).await;
    check(&received, 101..=135);
    assert!(received.len() >= 6 + 4, "six failures and at least four requests of ten: {received:#?}");
    assert!(received.iter().all(|one| one.kind == "events" && one.lost.is_none() && one.sequences.len() <= 10));
    hooks.stop().await;
}

#[tokio::test]
async fn a_receiver_that_restarts_or_was_gone_and_a_daemon_that_restarts_go_on_where_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::new();
    let ring = Arc::new(Ring::after(Epoch(1), 100));
    let all = hook(receiver.address, 60, "");
    let mut hooks = start(&ring, directory.path(), &all);
    until_place(directory.path(), 100).await;
    push(&ring, 5);
    receiver.until_taken(105).await;
    receiver.stop();
    push(&ring, 20);
    receiver.start();
    check(&receiver.until_taken(125).await, 101..=125);

    until_place(directory.path(), 125).await;
    hooks.stop().await;
    let count = receiver.script.received.borrow().len();
    push(&ring, 5);
    let mut hooks = start(&ring, directory.path(), &all);
    let received = receiver.until_taken(130).await;
    assert_eq!(received[count].sequences, [126, 127, 128, 129, 130]);

    // 410 ends it; a reload begins it again.
    receiver.reply([Reply::Status(410)]);
    push(&ring, 1);
    let again = async {
        while !receiver.script.received.borrow().iter().any(|one| one.taken && one.sequences == [131]) {
            hooks.put_in_force(&all);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is sent again");
    let received = receiver.until_taken(131).await;
    assert_eq!(received.iter().filter(|one| one.sequences == [131]).count(), 2, "{received:#?}");
    check(&received, 101..=131);

    until_place(directory.path(), 131).await;
    hooks.put_in_force(&hook(receiver.address, 60, "kind = [\"even\"]"));
    // What came before the new ones were in force may still go out as before. Two even ones in one request tell that they are.
    let skips = |one: &Received| one.taken && one.sequences.windows(2).any(|pair| pair[1] - pair[0] == 2);
    let in_force = async {
        while !receiver.script.received.borrow().iter().any(skips) {
            push(&ring, 4);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, in_force).await.expect("they come into force");
    let count = receiver.script.received.borrow().len();
    push(&ring, 4);
    let received = receiver.until_taken(ring.last() / 2 * 2).await;
    let rest: Vec<u64> = received[count..].iter().flat_map(|one| one.sequences.clone()).collect();
    assert!(!rest.is_empty() && rest.iter().all(|sequence| sequence % 2 == 0), "{received:#?}");
    hooks.stop().await;
}

#[test]
fn killed_and_started_again_nothing_is_lost_and_what_was_not_written_down_comes_again() {
    let here = runtime();
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::new();
    let ring = Arc::new(Ring::after(Epoch(1), 100));
    let hook = hook(receiver.address, 1, "");
    let live = |life: &Runtime| life.block_on(async { start(&ring, directory.path(), &hook) });
    for last in [120, 140, 160] {
        // Each life in a runtime of its own, which takes all of it along: no task comes to its end.
        let life = runtime();
        let hooks = live(&life);
        if last == 120 {
            here.block_on(until_place(directory.path(), 100));
        } else if last == 140 {
            receiver.reply([Reply::Status(500), Reply::Hang]);
        }
        push(&ring, 20);
        here.block_on(receiver.until(|all| all.iter().any(|one| one.sequences.contains(&(last - 10)))));
        life.shutdown_background();
        drop(hooks);
    }
    let life = runtime();
    let mut hooks = live(&life);
    check(&here.block_on(receiver.until_taken(160)), 101..=160);
    life.block_on(hooks.stop());
}

#[tokio::test]
async fn who_lags_further_than_the_log_reaches_back_is_told_what_it_lost() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::new();
    let ring = Arc::new(Ring::after(Epoch(1), 100));
    push(&ring, 1);
    let all = hook(receiver.address, 60, "");
    std::fs::create_dir(directory.path().join("webhooks")).unwrap();
    let place = directory.path().join("webhooks/cmdb.json");
    std::fs::write(&place, r#"{"stream":"abc","since":50}"#).unwrap();
    let mut hooks = start(&ring, directory.path(), &all);
    let received = receiver.until_taken(101).await;
    assert_eq!(received[0].lost, Some(Lost { from: 51, to: 100 }), "of an earlier run");
    assert_eq!(received[0].id, "abc-51-101");
    until_place(directory.path(), 101).await;
    hooks.stop().await;

    push(&ring, EVENTS_MAX + 5);
    let mut hooks = start(&ring, directory.path(), &all);
    let received = receiver.until_taken(110).await;
    assert_eq!(received[1].lost, Some(Lost { from: 102, to: 106 }), "more than the log keeps");
    hooks.stop().await;

    // Of a log that was ahead: the daemon's state was taken away.
    std::fs::write(&place, format!(r#"{{"stream":"abc","since":{}}}"#, ring.last() + 1)).unwrap();
    let before = receiver.script.received.borrow().len();
    let mut hooks = start(&ring, directory.path(), &all);
    let is_told = |all: &Vec<Received>| all[before..].iter().any(|one| one.lost == Some(Lost { from: 1, to: 106 }));
    let received = receiver.until(is_told).await;
    let told = received[before..].iter().find(|one| one.lost.is_some()).unwrap();
    assert_eq!(told.sequences[0], 107, "it begins with what is known");
    hooks.stop().await;

    // Of a log that has begun anew and grown past the place since.
    let anew = Arc::new(Ring::after(Epoch(2), 0));
    push(&anew, 200);
    std::fs::write(&place, r#"{"stream":"abc","since":101,"epoch":"0000000000000001"}"#).unwrap();
    let before = receiver.script.received.borrow().len();
    let mut hooks = start(&anew, directory.path(), &all);
    let received = receiver.until(|all| all[before..].iter().any(|one| one.sequences.contains(&200))).await;
    assert_eq!(received[before].lost, Some(Lost { from: 1, to: 0 }), "nothing of it is lost, but it is another");
    assert_eq!(received[before].sequences[0], 1);
    assert!(received[before..].iter().all(|one| !one.id.starts_with("abc-")), "no id comes twice");
    hooks.stop().await;
}

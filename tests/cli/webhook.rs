//! Web hooks of a daemon that runs: what a receiver gets when the daemon is killed before it knows, and `reveille webhook test`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::time::Duration;

use reveille_lab::{Deadline, Namespace};
use rustix::process::Signal;
use serde_json::Value;

use crate::site::{REVEILLE, Ran, Site};

const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver in a namespace. A request is answered when the test says with what.
struct Receiver {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

struct Request {
    body: Value,
    answer: mpsc::Sender<&'static str>,
}

impl Request {
    fn macs(&self) -> Vec<String> {
        let events = self.body["data"]["events"].as_array().unwrap();
        events.iter().map(|event| event["mac"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn take(self) {
        let _ = self.answer.send("HTTP/1.1 204 No Content\r\n\r\n");
    }
}

impl Receiver {
    fn start(namespace: &Namespace) -> Self {
        let namespace = namespace.handle().expect("the namespace");
        // The namespace of this thread only; a socket stays where it was made.
        let bind = move || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None).expect("root may change namespaces");
            TcpListener::bind("127.0.0.1:0").expect("a free port")
        };
        let listener = std::thread::spawn(bind).join().expect("a listener");
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    #[track_caller]
    fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request comes")
    }
}

/// Reads requests until their sender is gone.
fn serve(mut stream: std::net::TcpStream, requests: &mpsc::Sender<Request>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut line) = (Vec::new(), String::new());
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
            head.push(std::mem::take(&mut line));
        }
        let field =
            |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let Some(length) = field("content-length: ") else { return };
        let mut body = vec![0; length.parse().unwrap()];
        if lines.read_exact(&mut body).is_err() {
            return;
        }
        let (answer, answers) = mpsc::channel();
        let request = Request { body: serde_json::from_slice(&body).unwrap(), answer };
        let (Ok(()), Ok(text)) = (requests.send(request), answers.recv()) else { return };
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// A site whose dhcpd has the web hook `cmdb`.
fn site_with_a_hook() -> (Site, Receiver) {
    let site = Site::new();
    let receiver = Receiver::start(site.networks.host());
    let secret = site.networks.run().write("hook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let table = format!(
        "workers = 1\n[[dhcpd.webhook]]\nname = \"cmdb\"\nurl = \"http://{}/hook\"\nsecret = {{ file = \"{}\" }}\nbatch = 3\ntimeout_secs = 60\n",
        receiver.address,
        secret.display()
    );
    site.edit("workers = 1\n", &table);
    (site, receiver)
}

#[test]
fn killed_before_it_knows_that_it_was_heard_a_daemon_delivers_again_and_loses_nothing() {
    let (site, receiver) = site_with_a_hook();
    let (mut reserved, mut taken) = (Vec::new(), 0);
    for life in 1..=3 {
        let mut dhcpd = site.start("dhcpd", &[]);
        for _ in 0..4 {
            let n = reserved.len() + 1;
            let (mac, address) = (format!("52:54:00:cc:00:{n:02x}"), format!("10.77.1.{}", 10 + n));
            site.run(&["reservation", "put", &mac, "--scope", "bmc", "--address", &address]).out();
            reserved.push(mac);
        }
        loop {
            let request = receiver.next();
            let macs = request.macs();
            let first = reserved.iter().position(|mac| *mac == macs[0]).expect("one that was reserved");
            let end = first + macs.len();
            assert!(first <= taken, "{macs:?} came, and only {taken} of {reserved:?} were taken");
            assert_eq!(macs, reserved[first..end], "in order, none left out");
            if end == reserved.len() && life < 3 {
                // Its receiver has it, and the daemon never learns.
                dhcpd.signal(Signal::KILL).unwrap();
                dhcpd.wait(Deadline::secs(60)).unwrap();
                break;
            }
            taken = taken.max(end);
            request.take();
            if taken == reserved.len() {
                break;
            }
        }
    }
    assert_eq!((taken, reserved.len()), (12, 12));
}

#[test]
fn a_receiver_is_tried_and_what_it_answers_printed() {
    let (site, receiver) = site_with_a_hook();
    let run = |args: &[&str]| {
        let program = site.networks.host().program(REVEILLE).args(["webhook", "test"]).args(args);
        let output = program.arg("--config").arg(&site.config).output(Deadline::secs(60)).unwrap();
        Ran { code: output.status.code(), out: output.stdout, err: output.stderr }
    };
    let answered = |args: &[&str], answer: &'static str| {
        std::thread::scope(|scope| {
            let ran = scope.spawn(|| run(args));
            let request = receiver.next();
            assert_eq!(
                (&request.body["type"], &request.body["data"]["events"][0]["kind"]),
                (&"test".into(), &"test".into())
            );
            let _ = request.answer.send(answer);
            ran.join().unwrap()
        })
    };
    let out = answered(&["cmdb"], "HTTP/1.1 204 No Content\r\n\r\n").out();
    assert!(out.starts_with("dhcpd's web hook cmdb took it: 204 after "), "{out}");
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
    let error = answered(&["cmdb", "--daemon", "dhcpd"], refusal).error();
    assert!(error.starts_with("dhcpd's web hook cmdb: it refuses (401 Unauthorized) (after "), "{error}");
    let ran = answered(&["cmdb", "--json"], refusal);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&json["ok"], &json["status"], &json["reason"]),
        (&false.into(), &401.into(), &"refused".into()),
        "{json}"
    );

    assert!(run(&["cmbd"]).error().contains("no web hook called cmbd; there are: cmdb"));
    assert!(run(&["cmdb", "--daemon", "bootd"]).error().contains("has no web hooks"));
    site.edit(&format!("http://{}/hook", receiver.address), "http://127.0.0.1:1/hook");
    let error = run(&["cmdb"]).error();
    assert!(error.contains("it cannot be reached: ") && error.contains("refused"), "{error}");
    assert!(!error.contains("whsec_"), "{error}");
}

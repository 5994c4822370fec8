//! [`Fake`]: an HTTP server that keeps what it was asked and answers with octets of the test's choice.
//!
//! It shares nothing with the clients but the wire: requests are read by hand, answers are written as they are given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use reveille_config::Endpoint;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

/// What to do with one request.
pub enum Answer {
    /// Send these octets, then close.
    Octets(Vec<u8>),
    /// Send these octets, then as many zeros, then close.
    Zeros(Vec<u8>, usize),
    /// Close before anything of the request is read, after sending these octets.
    Hasty(Vec<u8>),
    /// Say nothing, and keep the connection.
    Silence,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `GET /v1/leases?scope=bmc`.
    pub line: String,
    /// In small letters, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// The body as JSON; `null` where there is none.
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("a JSON body") }
    }
}

/// The server; it ends with the test's runtime.
pub struct Fake {
    /// Where it listens.
    pub endpoint: Endpoint,
    shared: Arc<Shared>,
    _dir: Option<tempfile::TempDir>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
}

impl Fake {
    /// On a unix socket.
    pub fn unix() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(listener.accept().await.unwrap().0, Arc::clone(&own)));
            }
        });
        Self { endpoint: Endpoint::Unix(path), shared, _dir: Some(dir) }
    }

    /// On TCP loopback.
    pub async fn tcp() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(listener.accept().await.unwrap().0, Arc::clone(&own)));
            }
        });
        Self { endpoint, shared, _dir: None }
    }

    /// Answers the next request that has no answer yet with this.
    pub fn answer(&self, answer: Answer) -> &Self {
        self.shared.answers.lock().unwrap().push_back(answer);
        self
    }

    /// Answers the next request that has no answer yet with this status and body.
    pub fn json(&self, status: u16, body: &Value) -> &Self {
        self.text(status, "application/json", &body.to_string())
    }

    /// The same with any content.
    pub fn text(&self, status: u16, content_type: &str, body: &str) -> &Self {
        let length = body.len();
        self.answer(Answer::Octets(
            format!("HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes(),
        ))
    }

    /// Everything asked since the last look.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    /// The one thing asked since the last look.
    pub fn asked_once(&self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let answer = shared.answers.lock().unwrap().pop_front().expect("an answer for each request");
    if let Answer::Hasty(octets) = answer {
        stream.write_all(&octets).await.unwrap();
        return;
    }
    let asked = read(&mut stream).await;
    shared.asked.lock().unwrap().push(asked);
    match answer {
        Answer::Octets(octets) => stream.write_all(&octets).await.unwrap(),
        Answer::Zeros(head, count) => {
            let zeros = vec![0; 1 << 20];
            let mut left = count;
            // The client may have had enough.
            let mut written = stream.write_all(&head).await;
            while written.is_ok() && left > 0 {
                let piece = left.min(zeros.len());
                written = stream.write_all(&zeros[..piece]).await;
                left -= piece;
            }
        }
        Answer::Silence => std::future::pending().await,
        Answer::Hasty(_) => unreachable!("dealt with above"),
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Asked {
    let mut octets = Vec::new();
    let head = loop {
        if let Some(at) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        assert_ne!(stream.read_buf(&mut octets).await.unwrap(), 0, "the request ends in its head");
    };
    let text = String::from_utf8(octets[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap().strip_suffix(" HTTP/1.1").expect("HTTP/1.1").to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, text)| text.parse().unwrap());
    let mut body = octets.split_off(head + 4);
    while body.len() < length {
        assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0, "the request ends in its body");
    }
    Asked { line, headers, body }
}

//! A plain HTTP/1.1 client over a socket: one request, one connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks one server.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// `null` where it is empty or not JSON.
    pub body: Value,
}

impl Answer {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text in Ironic's doubly wrapped error.
    pub fn fault(&self) -> String {
        let inner = self.body["error_message"].as_str().unwrap_or_default();
        let inner: Value = serde_json::from_str(inner).unwrap_or_default();
        inner["faultstring"].as_str().or(inner["description"].as_str()).unwrap_or_default().to_owned()
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Sends a request with the newest version.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_as(method, path, body, Some("1.115")).await
    }

    /// Sends a request with a version, or none.
    pub async fn send_as(&self, method: &str, path: &str, body: Option<Value>, version: Option<&str>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_raw(method, path, body.as_bytes(), version).await.expect("an answer")
    }

    /// Sends octets; `None` where no whole answer comes back.
    pub async fn send_raw(&self, method: &str, path: &str, body: &[u8], version: Option<&str>) -> Option<Answer> {
        let version = version.map(|v| format!("X-OpenStack-Ironic-API-Version: {v}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{version}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        // A server may refuse before it has read everything.
        let _ = stream.write_all(body).await;
        let mut octets = Vec::new();
        let _ = stream.read_to_end(&mut octets).await;
        let text = String::from_utf8_lossy(&octets);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer { status, headers, body: serde_json::from_str(body).unwrap_or_default() })
    }
}

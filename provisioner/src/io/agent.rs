//! [`AgentClient`]: commands to the agent on a machine, over HTTP/1.1, one connection each.
//!
//! The agent's address has been checked against the agents' networks when it called; what it answers is bounded in size and time.

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reveille_config::limit::BODY_BYTES_MAX;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clock::now;
use super::world::Subject;
use crate::proto::agent::{already_sent, callback_address, command_body};
use crate::proto::node::{AgentCommand, CommandStatus, Failure, Outcome};

/// Until the agent has taken the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the agent has answered; commands that it answers only when they are done look at disks.
const ANSWER: Duration = Duration::from_secs(60);

/// A client of agents.
#[derive(Debug, Clone, Default)]
pub struct AgentClient {}

/// Where one agent is, and what it knows us by.
struct Peer<'a> {
    address: SocketAddrV4,
    token: &'a str,
}

impl AgentClient {
    /// A client.
    pub fn new() -> Self {
        Self {}
    }

    /// Sends a command, unless the agent's own list shows that it has it already.
    pub async fn command(&self, subject: &Subject, command: &AgentCommand) -> Result<Outcome, Failure> {
        let peer = peer(subject)?;
        if !command.is_sync() && !matches!(command, AgentCommand::PowerOff) {
            let commands = peer.commands().await?;
            if let Some(status) = already_sent(&commands, command) {
                return Ok(Outcome::Command(status.clone()));
            }
        }
        // Signed as late as can be: a URL holds for minutes, and a command may have waited.
        let signed = match command {
            AgentCommand::WriteImage { image, configdrive, version } => Some(AgentCommand::WriteImage {
                image: image.signed(&subject.settings, now()),
                configdrive: configdrive.clone(),
                version: version.clone(),
            }),
            _ => None,
        };
        let command = signed.as_ref().unwrap_or(command);
        let body = command_body(&subject.node, &subject.ports, command).to_string();
        let query = format!("?wait={}&agent_token={}", command.is_sync(), peer.token);
        let (status, body) = peer.exchange(Method::POST, "/v1/commands/", &query, body).await?;
        peer.read_status(status, &body)
    }

    /// Asks how a command stands.
    pub async fn poll(&self, subject: &Subject, id: &str) -> Result<Outcome, Failure> {
        let peer = peer(subject)?;
        // The id is the agent's own text: nothing but what belongs in a path segment may get into ours.
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Failure::lasting(format!("the agent at {} gave its command the id {id:?}", peer.address)));
        }
        let query = format!("?agent_token={}", peer.token);
        let (status, body) = peer.exchange(Method::GET, &format!("/v1/commands/{id}"), &query, String::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Err(Failure::lasting(format!(
                "the agent at {} knows nothing of the command any more: it was restarted",
                peer.address
            )));
        }
        peer.read_status(status, &body)
    }
}

fn peer(subject: &Subject) -> Result<Peer<'_>, Failure> {
    let agent = &subject.node.work.agent;
    let address = agent.url.as_deref().and_then(callback_address);
    match (address, agent.token.as_deref()) {
        (Some(address), Some(token)) => Ok(Peer { address, token }),
        _ => Err(Failure::lasting("no agent has called")),
    }
}

impl Peer<'_> {
    /// The agent's list of commands. Where it cannot show it (some releases stumble over their own entries), it is empty.
    async fn commands(&self) -> Result<Vec<CommandStatus>, Failure> {
        #[derive(Deserialize)]
        struct List {
            commands: Vec<Value>,
        }
        let query = format!("?agent_token={}", self.token);
        let (status, body) = self.exchange(Method::GET, "/v1/commands/", &query, String::new()).await?;
        match status {
            StatusCode::OK => {
                let list: List = serde_json::from_slice(&body).map_err(|error| self.nonsense(&error.to_string()))?;
                Ok(list.commands.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
            }
            StatusCode::INTERNAL_SERVER_ERROR => Ok(Vec::new()),
            _ => Err(self.refused(status, &body)),
        }
    }

    fn read_status(&self, status: StatusCode, body: &[u8]) -> Result<Outcome, Failure> {
        if status != StatusCode::OK {
            return Err(self.refused(status, body));
        }
        let status: CommandStatus = serde_json::from_slice(body).map_err(|error| self.nonsense(&error.to_string()))?;
        Ok(Outcome::Command(status))
    }

    fn nonsense(&self, why: &str) -> Failure {
        Failure::lasting(format!("the agent at {} answered something else than its API says: {why}", self.address))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let fault: Option<Value> = serde_json::from_slice(body).ok();
        let words = fault.as_ref().and_then(|fault| fault["faultstring"].as_str()).unwrap_or_default();
        let words: String = words.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let reason = format!("the agent at {} answered {}: {words}", self.address, status.as_u16());
        // 409: it is busy with another command.
        Failure { reason, is_transient: status == StatusCode::CONFLICT || status.is_server_error() }
    }

    /// One request and its answer. Texts of failures carry the path, never the query: the token is in it.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let address = self.address;
        let silent = |secs: Duration| {
            Failure::passing(format!("the agent at {address} gave no answer to {path} within {} s", secs.as_secs()))
        };
        let broken =
            |error: &dyn std::fmt::Display| Failure::passing(format!("the agent at {address}, {path}: {error}"));
        let stream = timeout(CONNECT, TcpStream::connect(address))
            .await
            .map_err(|_| silent(CONNECT))?
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
            let request = Request::builder()
                .method(method)
                .uri(format!("{path}{query}"))
                .header(header::HOST, address.to_string())
                .header(header::ACCEPT, "application/json")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| broken(&error))?;
            let answer = async {
                let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
                let status = answer.status();
                let body = Limited::new(answer.into_body(), BODY_BYTES_MAX)
                    .collect()
                    .await
                    .map_err(|error| broken(&error))?
                    .to_bytes();
                Ok((status, body))
            };
            tokio::pin!(answer, connection);
            let mut connected = true;
            loop {
                tokio::select! {
                    done = &mut answer => return done,
                    _ = &mut connection, if connected => connected = false,
                }
            }
        };
        timeout(ANSWER, exchange).await.map_err(|_| silent(ANSWER))?
    }
}

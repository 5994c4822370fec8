//! [`Ironic`]: the part of Ironic's REST API that people and tests drive a node's life with.

use std::time::Duration;

use ::http::{Method, StatusCode};
use reveille_config::dto::Problem;
use reveille_config::dto::event::{EventPage, EventQuery};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::{Endpoint, MacAddr};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ClientError;
use crate::events::{self, EventStream};
use crate::http::{Http, plain_problem};
use crate::query::{path, segment};

/// The version of Ironic's API that this client speaks.
const API_VERSION: &str = "1.115";

/// How often a locked node is asked again, and after how long.
const LOCKED_RETRIES: u32 = 5;
const LOCKED_PAUSE: Duration = Duration::from_secs(2);

/// A client of the provisioner, or of any Ironic without authentication.
#[derive(Debug, Clone)]
pub struct Ironic {
    http: Http,
}

/// A node as the API shows it; passwords come masked. Fields that this client has no name for are in `rest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its identity.
    pub uuid: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it is in its life: `enroll`, `available`, `wait call-back`, `active` …
    pub provision_state: Option<String>,
    /// Where it is going, while it is.
    pub target_provision_state: Option<String>,
    /// `power on`, `power off`, or not known.
    pub power_state: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// `ipmi`.
    #[serde(default)]
    pub driver: String,
    /// The rest of Ironic's fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A node to be made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// `ipmi`.
    pub driver: String,
    /// `ipmi_address`, `ipmi_username`, `ipmi_password` …
    pub driver_info: Map<String, Value>,
}

/// A network interface of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its identity.
    pub uuid: String,
    /// Its hardware address.
    pub address: MacAddr,
    /// The node it belongs to.
    #[serde(default)]
    pub node_uuid: Option<String>,
}

/// One operation of a JSON patch (RFC 6902).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodePatch {
    /// `add`, `replace` or `remove`.
    pub op: &'static str,
    /// A JSON pointer: `/instance_info/image_source`.
    pub path: String,
    /// The value of an `add` or `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Ironic {
    /// A client of the API at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        let http = Http::new(endpoint)
            .with_header("x-openstack-ironic-api-version", API_VERSION)
            .with_problem(read_ironic_error);
        Self { http }
    }

    /// All nodes, in one list, in the order of the API.
    pub async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Node>,
            /// Where the next page is, if there is one. Its host is how the server sees itself, so only its presence counts.
            next: Option<String>,
        }
        let mut all: Vec<Node> = Vec::new();
        loop {
            let marker = all.last().map(|node| node.uuid.clone());
            let page: Nodes = self
                .http
                .get(&path("/v1/nodes", &[("detail", Some(&"true")), ("marker", marker.as_ref().map(|m| m as _))]))
                .await?;
            // A server that ignores the marker would begin anew for ever.
            let begins_anew = page.nodes.first().is_some_and(|node| all.iter().any(|known| known.uuid == node.uuid));
            if page.nodes.is_empty() || begins_anew {
                return Ok(all);
            }
            all.extend(page.nodes);
            if page.next.is_none() {
                return Ok(all);
            }
        }
    }

    /// A node by name or UUID.
    pub async fn node(&self, name_or_uuid: &str) -> Result<Node, ClientError> {
        self.http.get(&node_path(name_or_uuid, "")).await
    }

    /// Makes a node, in state `enroll`.
    pub async fn create_node(&self, node: &NewNode) -> Result<Node, ClientError> {
        self.http.call(Method::POST, "/v1/nodes", Some(node)).await
    }

    /// Changes a node.
    pub async fn patch_node(&self, name_or_uuid: &str, patch: &[NodePatch]) -> Result<Node, ClientError> {
        when_unlocked(async || self.http.call(Method::PATCH, &node_path(name_or_uuid, ""), Some(&patch)).await).await
    }

    /// Deletes a node and its ports.
    pub async fn delete_node(&self, name_or_uuid: &str) -> Result<(), ClientError> {
        self.http.send::<()>(Method::DELETE, &node_path(name_or_uuid, ""), None).await
    }

    /// Adds a network interface to a node.
    pub async fn create_port(&self, node_uuid: &str, address: MacAddr) -> Result<Port, ClientError> {
        self.http.call(Method::POST, "/v1/ports", Some(&json!({ "node_uuid": node_uuid, "address": address }))).await
    }

    /// A node's network interfaces.
    pub async fn ports(&self, node: &str) -> Result<Vec<Port>, ClientError> {
        #[derive(Deserialize)]
        struct Ports {
            ports: Vec<Port>,
        }
        let ports: Ports =
            self.http.get(&path("/v1/ports", &[("node", Some(&node)), ("detail", Some(&"true"))])).await?;
        Ok(ports.ports)
    }

    /// Asks for a change of provision state: `manage`, `provide`, `active`, `deleted` … It is under way when this returns.
    pub async fn set_provision_state(&self, name_or_uuid: &str, target: &str) -> Result<(), ClientError> {
        let (path, body) = (node_path(name_or_uuid, "/states/provision"), json!({ "target": target }));
        when_unlocked(async || self.http.send(Method::PUT, &path, Some(&body)).await).await
    }

    /// Asks for a change of power: `power on`, `power off`, `rebooting` … It is under way when this returns.
    pub async fn set_power_state(&self, name_or_uuid: &str, target: &str) -> Result<(), ClientError> {
        let (path, body) = (node_path(name_or_uuid, "/states/power"), json!({ "target": target }));
        when_unlocked(async || self.http.send(Method::PUT, &path, Some(&body)).await).await
    }

    /// What happened to a node, oldest first, as the API lists it.
    pub async fn history(&self, name_or_uuid: &str) -> Result<Vec<Map<String, Value>>, ClientError> {
        #[derive(Deserialize)]
        struct History {
            history: Vec<Map<String, Value>>,
        }
        let history: History = self.http.get(&node_path(name_or_uuid, "/history?detail=true")).await?;
        Ok(history.history)
    }

    /// The provisioner's events after `since`, waiting up to `wait` (at most 30 s) for the first.
    pub async fn events(&self, since: u64, wait: Duration) -> Result<EventPage, ClientError> {
        events::page(&self.http, since, wait).await
    }

    /// A page of those events that the query asks for.
    pub async fn events_of(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        events::page_of(&self.http, query).await
    }

    /// A stream of those events that the query asks for.
    pub async fn event_stream(&self, query: &EventQuery) -> Result<EventStream, ClientError> {
        events::stream(&self.http, query).await
    }

    /// Which configuration is in force; of Reveille's provisioner only.
    pub async fn configuration(&self) -> Result<ReloadStatus, ClientError> {
        self.http.get("/v1/configuration").await
    }

    /// `/readyz`: whether it serves, and if not, why.
    pub async fn ready(&self) -> Result<(u16, String), ClientError> {
        self.http.text("/readyz").await
    }
}

/// Asks again while the node is locked by work of its own, as Ironic's stock client does: 5 times, 2 s apart.
async fn when_unlocked<T>(ask: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    for _ in 0..LOCKED_RETRIES {
        match ask().await {
            Err(ClientError::Refused { problem }) if problem.status == 409 && problem.detail.contains("is locked") => {
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

fn node_path(name_or_uuid: &str, rest: &str) -> String {
    format!("/v1/nodes/{}{rest}", segment(name_or_uuid))
}

/// Ironic's error body: `error_message` is a JSON text that holds `faultstring`.
fn read_ironic_error(status: StatusCode, body: &[u8]) -> Problem {
    let words = || {
        let body: Value = serde_json::from_slice(body).ok()?;
        let message = body.get("error_message")?;
        let inner = match message {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
            other => other.clone(),
        };
        Some(inner.get("faultstring").and_then(Value::as_str).or(inner.as_str())?.to_owned())
    };
    plain_problem(status, &words().unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ironics_doubly_wrapped_error() {
        let body = br#"{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"Node x could not be found.\", \"debuginfo\": null}"}"#;
        assert_eq!(read_ironic_error(StatusCode::NOT_FOUND, body).detail, "Node x could not be found.");
        assert_eq!(read_ironic_error(StatusCode::BAD_GATEWAY, b"<html>").detail, "<html>");
        assert_eq!(read_ironic_error(StatusCode::BAD_GATEWAY, b"").detail, "502 Bad Gateway");
    }
}

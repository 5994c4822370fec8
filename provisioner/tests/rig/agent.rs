//! The agent on the machine: looks itself up, calls, and takes commands, answering as a real one did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;

use super::daemons::serve;
use super::http::Client;
use super::machine::Inner;

/// How an agent misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// The image's checksum is wrong.
    Checksum,
    /// It reports another step as done.
    OtherStep,
    /// It lists no `write_image`.
    NoWriteStep,
    /// It never calls.
    Silent,
    /// It answers a command with a body without end.
    HugeBody,
    /// It does not power off.
    StaysOn,
}

struct Agent {
    machine: Arc<Inner>,
    token: String,
    commands: Mutex<Vec<Value>>,
    done: tokio::sync::Notify,
}

/// The recorded answer to the command of this name.
fn recorded(name: &str) -> Value {
    let exchanges: Value = serde_json::from_str(include_str!("../fixtures/agent-deploy.json")).expect("JSON");
    let exchange = exchanges.as_array().unwrap().iter().find(|exchange| exchange["request"]["body"]["name"] == name);
    exchange.unwrap_or_else(|| panic!("no recorded {name}"))["response"]["body"].clone()
}

/// Runs until the machine loses its power.
pub async fn run(machine: Arc<Inner>, cmdline: String) {
    let mut boots = machine.boots();
    boots.mark_unchanged();
    tokio::select! {
        _ = boots.changed() => {}
        _ = live(Arc::clone(&machine), cmdline) => {}
    }
}

async fn live(machine: Arc<Inner>, cmdline: String) {
    let parameter = |name: &str| cmdline.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let api: SocketAddr = parameter("ipa-api-url").unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let mac = parameter("BOOTIF").expect("BOOTIF").to_owned();
    assert_eq!(parameter("ipa-ironic-api-version"), Some("1.67"), "without it the agent would want TLS");
    if machine.state().lie == Some(Lie::Silent) {
        return std::future::pending().await;
    }
    let client = Client::new(api);
    let token = loop {
        let path = format!("/v1/lookup?addresses={}", mac.replace(':', "%3A"));
        // The provisioner may be down: a real agent tries for ten minutes.
        if let Some(answer) = client.send_raw("GET", &path, b"", Some("1.62")).await
            && answer.status == 200
        {
            break answer.body;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let uuid = token["node"]["uuid"].as_str().unwrap().to_owned();
    assert_eq!(token["config"]["heartbeat_timeout"], 10);
    let token = token["config"]["agent_token"].as_str().unwrap().to_owned();
    if token == "******" {
        // A real agent without a token locks itself down for good.
        return std::future::pending().await;
    }
    let agent = Arc::new(Agent {
        machine: Arc::clone(&machine),
        token: token.clone(),
        commands: Mutex::default(),
        done: tokio::sync::Notify::new(),
    });
    let routes = Router::new()
        .route("/v1/commands/", get(list).post(command))
        .route("/v1/commands/{id}", get(status))
        .with_state(Arc::clone(&agent));
    let (address, server) = serve(routes).await;
    let _ends_with_the_agent = AbortOnDrop(server);
    let url = format!("http://{address}");
    loop {
        let body = json!({ "callback_url": url, "agent_token": token, "agent_version": "13.0.0" }).to_string();
        let path = format!("/v1/heartbeat/{uuid}");
        let answer = client.send_raw("POST", &path, body.as_bytes(), Some("1.67")).await;
        let pause = match answer {
            Some(answer) => {
                assert_eq!(answer.status, 202, "the agent takes nothing else: {answer:?}");
                Duration::from_secs(2)
            }
            None => Duration::from_millis(20),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = agent.done.notified() => {}
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Parameters = Query<HashMap<String, String>>;

impl Agent {
    fn refuse(&self, parameters: &HashMap<String, String>) -> Option<Response> {
        let is_known = parameters.get("agent_token") == Some(&self.token);
        let body = json!({ "faultcode": "Client", "faultstring": "401 Unauthorized: Token invalid." });
        (!is_known).then(|| (StatusCode::UNAUTHORIZED, Json(body)).into_response())
    }

    fn log(&self, method: &str, path: &str, body: Value) {
        self.machine.state().agent_calls.push((method.into(), path.into(), body));
    }
}

async fn list(State(agent): State<Arc<Agent>>, Query(parameters): Parameters) -> Response {
    if let Some(refusal) = agent.refuse(&parameters) {
        return refusal;
    }
    agent.log("GET", "/v1/commands/", Value::Null);
    agent.machine.answer().await;
    let commands = agent.commands.lock().unwrap().clone();
    Json(json!({ "commands": commands })).into_response()
}

async fn status(State(agent): State<Arc<Agent>>, Path(id): Path<String>, Query(parameters): Parameters) -> Response {
    if let Some(refusal) = agent.refuse(&parameters) {
        return refusal;
    }
    agent.log("GET", "/v1/commands/<id>", Value::Null);
    agent.machine.answer().await;
    let found = agent.commands.lock().unwrap().iter().find(|status| status["id"] == id).cloned();
    match found {
        Some(status) => Json(status).into_response(),
        None => {
            (StatusCode::NOT_FOUND, Json(json!({ "faultcode": "Client", "faultstring": "Not found" }))).into_response()
        }
    }
}

async fn command(State(agent): State<Arc<Agent>>, Query(parameters): Parameters, Json(body): Json<Value>) -> Response {
    if let Some(refusal) = agent.refuse(&parameters) {
        return refusal;
    }
    agent.log("POST", "/v1/commands/", body.clone());
    let is_busy = agent.commands.lock().unwrap().iter().any(|status| status["command_status"] == "RUNNING");
    if is_busy {
        let body = json!({ "faultcode": "Client", "faultstring": "Agent is busy" });
        return (StatusCode::CONFLICT, Json(body)).into_response();
    }
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let lie = agent.machine.state().lie.clone();
    let mut answer = recorded(&name);
    answer["id"] = json!(format!("{:08}-0000", agent.commands.lock().unwrap().len()));
    assert_eq!(parameters["wait"], if answer["command_status"] == "RUNNING" { "false" } else { "true" }, "{name}");
    match name.as_str() {
        "deploy.get_deploy_steps" if lie == Some(Lie::NoWriteStep) => {
            answer["command_result"]["deploy_steps"] = json!({ "GenericHardwareManager": [] });
        }
        "deploy.get_deploy_steps" if lie == Some(Lie::HugeBody) => {
            answer["command_result"]["more"] = json!("x".repeat(4 << 20));
        }
        "deploy.execute_deploy_step" => {
            agent.machine.state().is_writing = true;
            tokio::spawn(write(Arc::clone(&agent), answer["id"].clone(), body["params"]["step"].clone()));
        }
        "standby.power_off" if lie != Some(Lie::StaysOn) => {
            let machine = Arc::clone(&agent.machine);
            let mut boots = machine.boots();
            boots.mark_unchanged();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                if !boots.has_changed().unwrap_or(true) {
                    machine.set_power(false);
                }
            });
        }
        _ => {}
    }
    agent.commands.lock().unwrap().push(answer.clone());
    agent.machine.answer().await;
    Json(answer).into_response()
}

/// Writes for a moment, then calls out of turn.
async fn write(agent: Arc<Agent>, id: Value, mut step: Value) {
    let mut boots = agent.machine.boots();
    boots.mark_unchanged();
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        if boots.has_changed().unwrap_or(true) {
            return;
        }
        if !agent.machine.state().holds_write {
            break;
        }
    }
    let lie = agent.machine.state().lie.clone();
    if lie == Some(Lie::OtherStep) {
        step["step"] = json!("inject_files");
    }
    let mut commands = agent.commands.lock().unwrap();
    let status = commands.iter_mut().find(|status| status["id"] == id).expect("the command");
    if lie == Some(Lie::Checksum) {
        status["command_status"] = json!("FAILED");
        status["command_error"] = json!({ "type": "ImageChecksumError", "code": 500,
            "message": "Error verifying image checksum", "details": "Image failed to verify against checksum. location: /dev/vda" });
    } else {
        status["command_status"] = json!("SUCCEEDED");
        status["command_result"] = json!({
            "deploy_result": { "result": "prepare_image: image (mbr.raw) written to device /dev/vda root_uuid=0x12345678" },
            "deploy_step": step,
        });
    }
    drop(commands);
    let mut state = agent.machine.state();
    state.is_writing = false;
    state.images_written += u32::from(lie != Some(Lie::Checksum));
    drop(state);
    agent.done.notify_one();
}

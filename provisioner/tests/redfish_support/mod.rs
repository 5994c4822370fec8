//! A Redfish service with the quirks of real ones, each as it was seen, over HTTP or TLS.
//!
//! It shares nothing with the driver but the wire.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const USER: &str = "admin";
pub const PASSWORD: &str = "hunter2";
/// `admin:hunter2` in base64.
const BASIC: &str = "Basic YWRtaW46aHVudGVyMg==";
pub const SYSTEM: &str = "/redfish/v1/Systems/1";

/// What the service is like, and what became of it.
#[derive(Debug, Default)]
pub struct Bmc {
    /// Sessions are offered.
    pub has_sessions: bool,
    /// Even the root wants a user.
    pub guards_root: bool,
    /// The token ends after so many requests.
    pub session_ends_after: Option<usize>,
    /// A change wants `If-Match`.
    pub wants_tag: bool,
    /// Versions are shown as weak ones, and taken as strong ones only.
    pub shows_weak_tags: bool,
    /// Somebody else changes the resource between each look and each change.
    pub changes_meanwhile: bool,
    /// What is allowed is not said; or, with `says_in_info`, elsewhere.
    pub hides_allowed: bool,
    pub says_in_info: bool,
    /// A new power state is shown after so many looks.
    pub lags: usize,
    /// Changes become tasks that end after so many looks; `fails` says how.
    pub task_looks: Option<usize>,
    pub task_fails: bool,
    /// Sends events: the stream, whole.
    pub events: Option<&'static str>,
    /// More than one system.
    pub two_systems: bool,
    /// Insertion of media knows the image only.
    pub plain_media: bool,
    /// What it answers to everything, in place of all else.
    pub answers: Option<Answer>,

    pub is_on: bool,
    pub shown_on: bool,
    pub looks: usize,
    pub boot: BTreeMap<String, Value>,
    pub image: Option<String>,
    pub version: u64,
    pub tokens: BTreeMap<String, usize>,
    pub next_token: usize,
    pub requests: Vec<String>,
    pub resets: Vec<String>,
}

/// An answer that no Redfish service gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The page of a web server.
    Html,
    /// More than there can be.
    Huge,
    /// Nothing, for ever.
    Silence,
    /// JSON of another kind.
    Nonsense,
    /// Elsewhere.
    Redirect,
    /// An error that tells the password.
    Chatty,
    /// The connection ends.
    Hangup,
}

impl Bmc {
    /// A good one, machine off.
    pub fn good() -> Self {
        let boot = [
            ("BootSourceOverrideTarget", "None"),
            ("BootSourceOverrideEnabled", "Disabled"),
            ("BootSourceOverrideMode", "UEFI"),
        ];
        let boot = boot.map(|(name, value)| (name.to_owned(), json!(value))).into();
        Self { has_sessions: true, wants_tag: true, boot, ..Self::default() }
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.tokens.len()
    }

    fn tag(&self) -> String {
        format!("{}\"{}\"", if self.shows_weak_tags { "W/" } else { "" }, self.version)
    }

    fn system(&mut self) -> Value {
        if self.is_on != self.shown_on {
            self.looks += 1;
            if self.looks > self.lags {
                (self.shown_on, self.looks) = (self.is_on, 0);
            }
        }
        let mut reset = json!({ "target": format!("{SYSTEM}/Actions/ComputerSystem.Reset") });
        if self.says_in_info {
            reset["@Redfish.ActionInfo"] = json!(format!("{SYSTEM}/ResetActionInfo"));
        } else if !self.hides_allowed {
            reset["ResetType@Redfish.AllowableValues"] = json!(["On", "ForceOff", "GracefulShutdown", "ForceRestart"]);
        }
        let mut boot = json!(self.boot);
        if !self.hides_allowed {
            boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(["None", "Pxe", "Hdd", "Cd", "UefiHttp"]);
        }
        json!({ "@odata.id": SYSTEM, "PowerState": if self.shown_on { "On" } else { "Off" }, "Boot": boot,
            "Actions": { "#ComputerSystem.Reset": reset }, "Links": { "ManagedBy": [{ "@odata.id": "/redfish/v1/Managers/1" }] } })
    }

    fn answer(&mut self, request: &Asked) -> Response<Full<Bytes>> {
        self.requests.push(format!("{} {}", request.method, request.path));
        let (method, path) = (&request.method, request.path.as_str());
        let is_root = path == "/redfish/v1/";
        if (method, path) == (&Method::POST, "/redfish/v1/SessionService/Sessions") && self.has_sessions {
            if request.body != json!({ "UserName": USER, "Password": PASSWORD }) {
                return refuse(StatusCode::UNAUTHORIZED, "Base.1.8.AccessDenied");
            }
            self.next_token += 1;
            let token = format!("token-{}", self.next_token);
            self.tokens.insert(token.clone(), 0);
            let location = format!("/redfish/v1/SessionService/Sessions/{}", self.next_token);
            let answer = Response::builder().status(201).header("X-Auth-Token", token).header("Location", location);
            return answer.body(Full::default()).unwrap();
        }
        if !is_root || self.guards_root {
            let by_token = request.token.as_ref().is_some_and(|token| self.use_token(token));
            if !by_token && request.basic.as_deref() != Some(BASIC) {
                return refuse(StatusCode::UNAUTHORIZED, "who are you?");
            }
        }
        match (method.as_str(), path) {
            ("GET", "/redfish/v1/") => {
                let mut root = json!({ "Systems": { "@odata.id": "/redfish/v1/Systems" } });
                if self.events.is_some() {
                    root["EventService"] = json!({ "@odata.id": "/redfish/v1/EventService" });
                }
                if self.has_sessions {
                    root["Links"] = json!({ "Sessions": { "@odata.id": "/redfish/v1/SessionService/Sessions" } });
                }
                say(&root)
            }
            ("GET", "/redfish/v1/EventService") => {
                say(&json!({ "ServerSentEventUri": "/redfish/v1/EventService/SSE" }))
            }
            ("GET", "/redfish/v1/EventService/SSE") => {
                let stream = Full::new(self.events.unwrap_or_default().into());
                Response::builder().header("Content-Type", "text/event-stream").body(stream).unwrap()
            }
            ("GET", "/redfish/v1/Systems") if self.two_systems => {
                say(&json!({ "Members": [{ "@odata.id": SYSTEM }, { "@odata.id": "/redfish/v1/Systems/2" }] }))
            }
            ("GET", "/redfish/v1/Systems") => say(&json!({ "Members": [{ "@odata.id": SYSTEM }] })),
            ("GET", SYSTEM) => {
                let system = self.system();
                let tag = self.tag();
                if self.changes_meanwhile {
                    self.version += 1;
                }
                tagged(&system, &tag)
            }
            ("GET", "/redfish/v1/Systems/1/ResetActionInfo") => say(
                &json!({ "Parameters": [{ "Name": "ResetType", "AllowableValues": ["ForceOn", "ForceOff", "PushPowerButton"] }] }),
            ),
            ("PATCH", SYSTEM) => {
                if self.wants_tag && request.tag.is_none() {
                    return refuse(StatusCode::PRECONDITION_REQUIRED, "If-Match");
                }
                let strong = format!("\"{}\"", self.version);
                if request.tag.as_ref().is_some_and(|tag| *tag != strong) {
                    return refuse(StatusCode::PRECONDITION_FAILED, "changed");
                }
                self.version += 1;
                let boot = request.body["Boot"].as_object().cloned().unwrap_or_default();
                self.boot.extend(boot);
                self.done()
            }
            ("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset") => {
                let name = request.body["ResetType"].as_str().unwrap_or_default().to_owned();
                self.resets.push(name.clone());
                match name.as_str() {
                    "On" | "ForceOn" | "ForceRestart" => self.is_on = true,
                    "ForceOff" | "GracefulShutdown" => self.is_on = false,
                    "PushPowerButton" => self.is_on = !self.is_on,
                    _ => return refuse(StatusCode::BAD_REQUEST, "ActionParameterValueNotInList"),
                }
                self.done()
            }
            ("GET", "/redfish/v1/TaskService/TaskMonitors/1") => match self.task_looks {
                Some(0) if self.task_fails => {
                    say(&json!({ "TaskState": "Exception", "Messages": [{ "Message": "no fan" }] }))
                }
                Some(0) => say(&json!({ "TaskState": "Completed" })),
                Some(looks) => {
                    self.task_looks = Some(looks - 1);
                    let mut running = say(&json!({ "TaskState": "Running" }));
                    *running.status_mut() = StatusCode::ACCEPTED;
                    running
                }
                None => refuse(StatusCode::NOT_FOUND, "no task"),
            },
            ("GET", "/redfish/v1/Managers/1") => {
                say(&json!({ "VirtualMedia": { "@odata.id": "/redfish/v1/Managers/1/VirtualMedia" } }))
            }
            ("GET", "/redfish/v1/Managers/1/VirtualMedia") => say(
                &json!({ "Members": [{ "@odata.id": "/redfish/v1/Managers/1/VirtualMedia/Usb" }, { "@odata.id": "/redfish/v1/Managers/1/VirtualMedia/Cd" }] }),
            ),
            ("GET", "/redfish/v1/Managers/1/VirtualMedia/Usb") => say(&json!({ "MediaTypes": ["Floppy", "USBStick"] })),
            ("GET", drive @ "/redfish/v1/Managers/1/VirtualMedia/Cd") => {
                let action = |name: &str| json!({ "target": format!("{drive}/Actions/VirtualMedia.{name}") });
                say(&json!({ "MediaTypes": ["CD", "DVD"], "Image": self.image, "Inserted": self.image.is_some(),
                    "Actions": { "#VirtualMedia.InsertMedia": action("InsertMedia"), "#VirtualMedia.EjectMedia": action("EjectMedia") } }))
            }
            ("POST", "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia") => {
                if self.plain_media && request.body.as_object().is_none_or(|body| body.len() != 1) {
                    return refuse(StatusCode::BAD_REQUEST, "PropertyUnknown");
                }
                if self.image.is_some() {
                    return refuse(StatusCode::CONFLICT, "there is one in it");
                }
                self.image = request.body["Image"].as_str().map(str::to_owned);
                self.done()
            }
            ("POST", "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia") => {
                self.image = None;
                self.done()
            }
            ("DELETE", path) if path.starts_with("/redfish/v1/SessionService/Sessions/") => {
                let number = path.rsplit('/').next().unwrap_or_default();
                self.tokens.remove(&format!("token-{number}"));
                Response::builder().status(204).body(Full::default()).unwrap()
            }
            _ => refuse(StatusCode::NOT_FOUND, "ResourceMissingAtURI"),
        }
    }

    fn use_token(&mut self, token: &str) -> bool {
        let Some(uses) = self.tokens.get_mut(token) else { return false };
        *uses += 1;
        if self.session_ends_after.is_some_and(|max| *uses > max) {
            self.tokens.remove(token);
            return false;
        }
        true
    }

    fn done(&self) -> Response<Full<Bytes>> {
        let answer = Response::builder();
        match self.task_looks {
            Some(_) => answer.status(202).header("Location", "https://10.9.9.9/redfish/v1/TaskService/TaskMonitors/1"),
            None => answer.status(204),
        }
        .body(Full::default())
        .unwrap()
    }
}

/// A request, read.
struct Asked {
    method: Method,
    path: String,
    token: Option<String>,
    basic: Option<String>,
    tag: Option<String>,
    body: Value,
}

fn say(body: &Value) -> Response<Full<Bytes>> {
    Response::builder().header("Content-Type", "application/json").body(Full::new(body.to_string().into())).unwrap()
}

fn tagged(body: &Value, tag: &str) -> Response<Full<Bytes>> {
    let mut answer = say(body);
    answer.headers_mut().insert("ETag", tag.parse().unwrap());
    answer
}

fn refuse(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut answer = say(&json!({ "error": { "code": "Base.1.8.GeneralError", "message": words } }));
    *answer.status_mut() = status;
    answer
}

/// A service that runs.
pub struct Served {
    pub address: SocketAddr,
    bmc: Arc<Mutex<Bmc>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    /// Serves over plain HTTP.
    pub async fn start(bmc: Bmc) -> Self {
        Self::serve(bmc, None).await
    }

    /// Serves over TLS.
    pub async fn start_tls(bmc: Bmc, tls: Arc<rustls::ServerConfig>) -> Self {
        Self::serve(bmc, Some(tokio_rustls::TlsAcceptor::from(tls))).await
    }

    async fn serve(bmc: Bmc, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let bmc = Arc::new(Mutex::new(bmc));
        let shared = Arc::clone(&bmc);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (bmc, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&bmc), request));
                    match tls {
                        None => _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self { address, bmc, task }
    }

    pub fn bmc(&self) -> MutexGuard<'_, Bmc> {
        self.bmc.lock().expect("no test panics while it holds the BMC")
    }
}

async fn answer(bmc: Arc<Mutex<Bmc>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Hangup> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (token, basic, tag) = (header("x-auth-token"), header("authorization"), header("if-match"));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let wrong = bmc.lock().expect("nobody panics").answers;
    match wrong {
        None => Ok(bmc.lock().expect("nobody panics").answer(&Asked { method, path, token, basic, tag, body })),
        Some(Answer::Html) => Ok(Response::new(Full::new("<html><title>Login hunter2</title></html>".into()))),
        Some(Answer::Huge) => Ok(Response::new(Full::new(vec![b' '; 3 << 20].into()))),
        Some(Answer::Nonsense) => Ok(say(&json!([7, { "PowerState": 1 }]))),
        Some(Answer::Redirect) => Ok(Response::builder()
            .status(302)
            .header("Location", "https://evil.example.org/")
            .body(Full::default())
            .unwrap()),
        Some(Answer::Chatty) => Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "you said\nhunter2")),
        Some(Answer::Hangup) => Err(Hangup),
        Some(Answer::Silence) => {
            std::future::pending::<Infallible>().await;
            unreachable!("it waits for ever")
        }
    }
}

/// The connection ends in place of an answer.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it hangs up")
    }
}

impl std::error::Error for Hangup {}

//! [`Talk`]: a conversation with a service, one operation long: its turn, its deadline, who we are, what it has begun.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use metrics::counter;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::Zeroizing;

use super::Inner;
use super::error::{RedfishCause, RedfishError};
use super::exchange::{Ask, JSON, Proof, Said};
use super::known::{Service, Session, farewell};
use crate::io::turns::Turn;
use crate::proto::access::{Authentication, RedfishAccess};
use crate::proto::redfish::{System, Task, linked, message, path, task};

/// Where every service begins.
const ROOT: &str = "/redfish/v1/";
/// Where systems are, where the root does not say so.
const SYSTEMS: &str = "/redfish/v1/Systems";
/// Where sessions are opened, where the root does not say so but is asked for them.
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
/// Between two looks at a task, unless the service wants another time.
const TASK_EVERY: Duration = Duration::from_millis(500);
/// The longest that a service may want.
const TASK_EVERY_MAX: Duration = Duration::from_secs(5);

/// A conversation.
pub(super) struct Talk<'a> {
    inner: &'a Arc<Inner>,
    access: &'a RedfishAccess,
    service: Service,
    deadline: Instant,
    session: Option<Session>,
    step: String,
    _turn: Turn<Service>,
}

impl Drop for Talk<'_> {
    /// The session that was used is given back if nobody uses it soon.
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.inner.known.give_back_later(self.inner, self.service.clone(), session);
        }
    }
}

impl<'a> Talk<'a> {
    /// Waits for its turn.
    pub async fn begin(inner: &'a Arc<Inner>, access: &'a RedfishAccess) -> Result<Self, RedfishError> {
        let deadline = Instant::now() + inner.patience;
        let service = Service::of(access);
        let turn = timeout_at(deadline, inner.turns.take(service.clone())).await.map_err(|_| RedfishError {
            address: access.authority.clone(),
            step: "its turn".to_owned(),
            cause: RedfishCause::Timeout(inner.patience),
        })?;
        Ok(Self { inner, access, service, deadline, session: None, step: String::new(), _turn: turn })
    }

    /// An error at the present step.
    pub fn error(&self, cause: RedfishCause) -> RedfishError {
        RedfishError { address: self.access.authority.clone(), step: self.step.clone(), cause }
    }

    /// The system that is meant.
    pub async fn system(&mut self) -> Result<System, RedfishError> {
        let at = match (&self.access.system, self.inner.known.facts(&self.service).system) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path,
            (None, None) => self.only_system().await?,
        };
        let said = self.get(&at).await?;
        Ok(System::read(&at, &said.body, said.tag()))
    }

    async fn only_system(&mut self) -> Result<String, RedfishError> {
        let root = self.get(ROOT).await?.body;
        let systems = linked(&root, "Systems").unwrap_or(SYSTEMS).to_owned();
        let collection = self.get(&systems).await?.body;
        let members = collection["Members"].as_array();
        let Some(members) = members else { return Err(self.error(RedfishCause::Missing("which systems it has"))) };
        let paths: Vec<&str> = members.iter().filter_map(|member| path(member["@odata.id"].as_str()?)).collect();
        let [only] = *paths else {
            let some = paths.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            return Err(self.error(RedfishCause::Systems { count: paths.len(), some }));
        };
        self.inner.known.note(&self.service, |facts| facts.system = Some(only.to_owned()));
        Ok(only.to_owned())
    }

    /// Reads a resource.
    pub async fn get(&mut self, path: &str) -> Result<Said, RedfishError> {
        self.ask(Method::GET, path, None, None).await
    }

    /// Changes a resource that is still of this version. One that has changed meanwhile is read and changed once more; a weak version, with
    /// which strictly nothing matches, is then shown as a strong one, which is what those services mean.
    pub async fn patch(&mut self, path: &str, body: &Value, tag: Option<String>) -> Result<Said, RedfishError> {
        let said = self.ask(Method::PATCH, path, Some(body), tag.as_deref()).await;
        let Err(RedfishError { cause: RedfishCause::Status { status, .. }, .. }) = &said else { return said };
        if !matches!(*status, StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED) {
            return said;
        }
        let now = self.get(path).await?;
        let now = now.tag().or_else(|| now.body["@odata.etag"].as_str()).map(str::to_owned);
        let strong = match (&now, &tag) {
            (Some(now), Some(before)) if now == before => now.strip_prefix("W/").map(str::to_owned),
            _ => now,
        };
        match self.ask(Method::PATCH, path, Some(body), strong.as_deref()).await {
            Err(error) if matches!(error.cause, RedfishCause::Status { status, .. } if status == StatusCode::PRECONDITION_FAILED) => {
                Err(self.error(RedfishCause::Changing))
            }
            said => said,
        }
    }

    /// Waits for what a service has begun in place of an answer.
    pub async fn follow(&mut self, said: Said) -> Result<(), RedfishError> {
        if said.status != StatusCode::ACCEPTED {
            return Ok(());
        }
        let monitor = said.location().or_else(|| path(said.body["@odata.id"].as_str()?)).map(str::to_owned);
        // It has taken it, and does not say how one could know more.
        let Some(monitor) = monitor else { return Ok(()) };
        let mut wait = said.retry_after();
        loop {
            let at = Instant::now() + wait.unwrap_or(TASK_EVERY).clamp(TASK_EVERY, TASK_EVERY_MAX);
            sleep_until(at.min(self.deadline)).await;
            let said = match self.get(&monitor).await {
                // Some remove a task as soon as it is done.
                Err(RedfishError {
                    cause: RedfishCause::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. },
                    ..
                }) => {
                    return Ok(());
                }
                said => said?,
            };
            wait = said.retry_after();
            match task(said.status.as_u16(), &said.body) {
                Task::Runs => {}
                Task::Done => return Ok(()),
                Task::Failed(words) => return Err(self.error(RedfishCause::Task(words))),
            }
        }
    }

    /// Asks as the user; a session that has ended meanwhile is opened anew, once.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        tag: Option<&str>,
    ) -> Result<Said, RedfishError> {
        let proof = self.proof().await?;
        let used = match &proof {
            Proof::Token(token) => Some(token.clone()),
            _ => None,
        };
        let said = self.exchange(method.clone(), path, body, tag, proof).await?;
        let said = match (said.status, used) {
            (StatusCode::UNAUTHORIZED, Some(token)) => {
                self.inner.known.ended(&self.service, &token);
                self.session = None;
                let proof = self.proof().await?;
                self.exchange(method, path, body, tag, proof).await?
            }
            _ => said,
        };
        self.succeeded(said)
    }

    /// Where the service sends events as they happen; `None`: nowhere.
    pub async fn events(&mut self) -> Result<Option<String>, RedfishError> {
        let root = self.get(ROOT).await?.body;
        let Some(service) = linked(&root, "EventService").map(str::to_owned) else { return Ok(None) };
        let service = self.get(&service).await?.body;
        Ok(service["ServerSentEventUri"].as_str().and_then(path).map(str::to_owned))
    }

    /// Opens that stream. The turn ends with this: others may talk while it flows.
    pub async fn open(mut self, path: &str) -> Result<Incoming, RedfishError> {
        // So the session is one that holds.
        self.get(ROOT).await?;
        let proof = self.proof().await?;
        self.step = format!("GET {path}");
        let ask = Ask { method: Method::GET, path, body: None, tag: None, proof, accepts: "text/event-stream" };
        let bound = (self.deadline, self.inner.patience);
        let opened = self.inner.clients.open(&self.access.trust, &self.service.base, ask, bound).await;
        match opened.map_err(|cause| self.error(cause))? {
            (status, body) if status.is_success() => Ok(body),
            (status, _) => Err(self.error(RedfishCause::Status { status, words: String::new() })),
        }
    }

    fn succeeded(&self, said: Said) -> Result<Said, RedfishError> {
        let words = || message(&said.body, self.secret());
        let cause = match said.status {
            status if status.is_success() => return Ok(said),
            status @ StatusCode::UNAUTHORIZED => RedfishCause::Unauthorized(status),
            StatusCode::FORBIDDEN => RedfishCause::Forbidden(words()),
            status => RedfishCause::Status { status, words: words() },
        };
        Err(self.error(cause))
    }

    fn secret(&self) -> Option<&'a str> {
        self.access.user.as_ref().map(|user| user.password.as_str())
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        tag: Option<&str>,
        proof: Proof,
    ) -> Result<Said, RedfishError> {
        self.step = format!("{method} {path}");
        let ask = Ask { method, path, body, tag, proof, accepts: JSON };
        let bound = (self.deadline, self.inner.patience);
        let said = self.inner.clients.exchange(&self.access.trust, &self.service.base, ask, self.secret(), bound).await;
        said.map_err(|cause| self.error(cause))
    }

    /// How this user shows who it is: by a session, which is opened if none is, or by name and password.
    async fn proof(&mut self) -> Result<Proof, RedfishError> {
        let Some(user) = &self.access.user else { return Ok(Proof::Nothing) };
        let basic = Zeroizing::new(format!("{}:{}", user.name, *user.password));
        let basic = Proof::Basic(Zeroizing::new(STANDARD.encode(basic.as_bytes())));
        if self.access.authentication == Authentication::Basic {
            return Ok(basic);
        }
        if let Some(session) = self.session.take().or_else(|| self.inner.known.session(&self.service, self.access)) {
            let token = session.token.clone();
            self.session = Some(session);
            return Ok(Proof::Token(token));
        }
        let sessions = match self.inner.known.facts(&self.service).sessions {
            Some(sessions) => sessions,
            None => self.look_for_sessions(&basic).await?,
        };
        match (sessions, self.access.authentication) {
            (Some(at), _) => self.log_in(&at).await,
            (None, Authentication::Session) => self.log_in(SESSIONS).await,
            (None, _) => Ok(basic),
        }
    }

    /// Asks the root where sessions are opened. It is readable for everybody (DSP0266, 13.3.1), but not everywhere.
    async fn look_for_sessions(&mut self, basic: &Proof) -> Result<Option<String>, RedfishError> {
        let mut said = self.exchange(Method::GET, ROOT, None, None, Proof::Nothing).await?;
        if said.status == StatusCode::UNAUTHORIZED {
            said = self.exchange(Method::GET, ROOT, None, None, basic.clone()).await?;
        }
        let root = self.succeeded(said)?.body;
        let sessions = root.get("Links").and_then(|links| linked(links, "Sessions")).map(str::to_owned);
        self.inner.known.note(&self.service, |facts| facts.sessions = Some(sessions.clone()));
        Ok(sessions)
    }

    async fn log_in(&mut self, at: &str) -> Result<Proof, RedfishError> {
        let Some(user) = &self.access.user else { return Ok(Proof::Nothing) };
        let body = json!({ "UserName": user.name, "Password": *user.password });
        let said = self.exchange(Method::POST, at, Some(&body), None, Proof::Nothing).await?;
        let refused =
            |status| matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST);
        match said.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                return Err(self.error(RedfishCause::NoSessions));
            }
            status if refused(status) => return Err(self.error(RedfishCause::Unauthorized(status))),
            _ => {}
        }
        let said = self.succeeded(said)?;
        let Some(token) = said.token().filter(|token| !token.is_empty()) else {
            return Err(self.error(RedfishCause::NoToken));
        };
        let location = said.location().or_else(|| path(said.body["@odata.id"].as_str()?)).map(str::to_owned);
        counter!("reveille_redfish_sessions_opened_total").increment(1);
        let before = self.inner.known.opened(&self.service, self.access, token.clone(), location);
        if let Some(before) = before {
            let (inner, base) = (Arc::clone(self.inner), self.service.base.clone());
            tokio::spawn(async move { farewell(&inner, &base, before).await });
        }
        self.session = self.inner.known.session(&self.service, self.access);
        Ok(Proof::Token(token))
    }
}

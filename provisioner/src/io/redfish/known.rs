//! [`Known`]: what is remembered of services, sessions above all.
//!
//! A BMC has few sessions to give. One is opened when it is needed, used again as long as it holds, and given back when it was not used for a
//! while, unless sessions are to be held; none is left behind when the provisioner ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::Method;
use reveille_config::limit::REDFISH_KNOWN_MAX;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::Inner;
use super::exchange::{Ask, JSON, Proof};
use crate::proto::access::{RedfishAccess, Trust};

/// For a service to be told that a session has ended.
const FAREWELL: Duration = Duration::from_secs(5);
/// Services that are told so at a time.
const FAREWELLS_MAX: usize = 64;

/// A service, as one user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub base: String,
    user: Option<String>,
}

impl Service {
    pub fn of(access: &RedfishAccess) -> Self {
        Self { base: access.base(), user: access.user.as_ref().map(|user| user.name.clone()) }
    }
}

/// A session. Never printed.
#[derive(Clone)]
pub(super) struct Session {
    pub token: Zeroizing<String>,
    /// What is deleted to end it.
    pub location: Option<String>,
    /// The password that opened it: another one must not use it.
    password: Zeroizing<String>,
    trust: Trust,
    /// Counts uses, so that one that was used again is not given back.
    used: u64,
}

/// What is remembered of a service.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// Where sessions are opened; `Some(None)`: it has none.
    pub sessions: Option<Option<String>>,
    /// Its only system.
    pub system: Option<String>,
    session: Option<Session>,
}

/// What is remembered.
#[derive(Default)]
pub(super) struct Known {
    facts: Mutex<HashMap<Service, Facts>>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("services", &self.lock().len()).finish()
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<Service, Facts>> {
        self.facts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is remembered, without the session.
    pub fn facts(&self, service: &Service) -> Facts {
        self.lock().get(service).map_or_else(Facts::default, |facts| Facts { session: None, ..facts.clone() })
    }

    /// The session, if one is open that this access may use; it counts as used.
    pub fn session(&self, service: &Service, access: &RedfishAccess) -> Option<Session> {
        let mut known = self.lock();
        let session = known.get_mut(service)?.session.as_mut()?;
        let password = access.user.as_ref().map(|user| &user.password)?;
        if session.password != *password || session.trust != access.trust {
            return None;
        }
        session.used += 1;
        Some(session.clone())
    }

    /// Changes what is remembered.
    pub fn note(&self, service: &Service, change: impl FnOnce(&mut Facts)) {
        let mut known = self.lock();
        if known.len() >= REDFISH_KNOWN_MAX && !known.contains_key(service) {
            // Any without a session will do: it costs that one's next operation a question or two.
            let any = known.iter().find(|(_, facts)| facts.session.is_none()).map(|(service, _)| service.clone());
            if let Some(any) = any {
                known.remove(&any);
            }
        }
        change(known.entry(service.clone()).or_default());
    }

    /// Remembers a session that was opened; gives back the one that was there before.
    pub fn opened(
        &self,
        service: &Service,
        access: &RedfishAccess,
        token: Zeroizing<String>,
        location: Option<String>,
    ) -> Option<Session> {
        let password = access.user.as_ref().map(|user| user.password.clone()).unwrap_or_default();
        let session = Session { token, location, password, trust: access.trust.clone(), used: 1 };
        let mut before = None;
        self.note(service, |facts| before = facts.session.replace(session));
        before
    }

    /// Forgets a session that has ended by itself.
    pub fn ended(&self, service: &Service, token: &str) {
        if let Some(facts) = self.lock().get_mut(service) {
            facts.session.take_if(|session| *session.token == *token);
        }
    }

    /// Forgets all of a service; its session is given back meanwhile.
    pub fn forget(&self, inner: &Arc<Inner>, service: &Service) {
        let session = self.lock().remove(service).and_then(|facts| facts.session);
        if let (Some(session), Ok(runtime)) = (session, tokio::runtime::Handle::try_current()) {
            let (inner, base) = (Arc::clone(inner), service.base.clone());
            runtime.spawn(async move { farewell(&inner, &base, session).await });
        }
    }

    /// Gives a session back if it is not used until then.
    pub fn give_back_later(&self, inner: &Arc<Inner>, service: Service, session: &Session) {
        let Some(after) = inner.given_back_after else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (inner, used, token) = (Arc::clone(inner), session.used, session.token.clone());
        runtime.spawn(async move {
            tokio::time::sleep(after).await;
            let unused = {
                let mut known = inner.known.lock();
                let facts = known.get_mut(&service);
                facts.and_then(|facts| facts.session.take_if(|now| now.token == token && now.used == used))
            };
            if let Some(session) = unused {
                farewell(&inner, &service.base, session).await;
            }
        });
    }

    /// Gives all sessions back.
    pub async fn close_all(&self, inner: &Arc<Inner>) {
        let open: Vec<(String, Session)> = {
            let mut known = self.lock();
            known
                .iter_mut()
                .filter_map(|(service, facts)| Some((service.base.clone(), facts.session.take()?)))
                .collect()
        };
        let mut farewells = JoinSet::new();
        for (base, session) in open {
            if farewells.len() >= FAREWELLS_MAX {
                farewells.join_next().await;
            }
            let inner = Arc::clone(inner);
            farewells.spawn(async move { farewell(&inner, &base, session).await });
        }
        // Who does not answer ends its sessions by itself.
        let _ = timeout(FAREWELL, farewells.join_all()).await;
    }
}

/// Tells a service that a session has ended; whether it listens is its own matter.
pub(super) async fn farewell(inner: &Inner, base: &str, session: Session) {
    let Some(location) = &session.location else { return };
    let proof = Proof::Token(session.token.clone());
    let ask = Ask { method: Method::DELETE, path: location, body: None, tag: None, proof, accepts: JSON };
    let bound = (Instant::now() + FAREWELL, FAREWELL);
    let _ = inner.clients.exchange(&session.trust, base, ask, None, bound).await;
}

//! [`Bootd`]: boot intents and transfers.

use std::time::Duration;

use ::http::Method;
use reveille_config::dto::bootd::{Intent, IntentPut, Transfer};
use reveille_config::dto::dhcpd::Page;
use reveille_config::dto::event::{EventPage, EventQuery};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::{Endpoint, MacAddr};

use crate::ClientError;
use crate::events::{self, EventStream};
use crate::http::Http;
use crate::query::{path, segment};

/// A client of bootd's API.
#[derive(Debug, Clone)]
pub struct Bootd {
    http: Http,
}

impl Bootd {
    /// A client of the bootd at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { http: Http::new(endpoint) }
    }

    /// Puts a machine's boot intent; returns once it is durable and in force.
    pub async fn put_intent(&self, mac: MacAddr, put: &IntentPut) -> Result<Intent, ClientError> {
        self.http.call(Method::PUT, &format!("/v1/intents/{mac}"), Some(put)).await
    }

    /// The boot intent of `mac`.
    pub async fn intent(&self, mac: MacAddr) -> Result<Intent, ClientError> {
        self.http.get(&format!("/v1/intents/{mac}")).await
    }

    /// Deletes the boot intent of `mac`; no error where there is none.
    pub async fn delete_intent(&self, mac: MacAddr) -> Result<(), ClientError> {
        self.http.send::<()>(Method::DELETE, &format!("/v1/intents/{mac}"), None).await
    }

    /// [`Self::put_intent`] for a machine by its UUID or its node: changes all intents that name it, or makes one of its own; gives the first.
    pub async fn put_intent_of(&self, machine: &str, put: &IntentPut) -> Result<Intent, ClientError> {
        self.http.call(Method::PUT, &format!("/v1/intents/{}", segment(machine)), Some(put)).await
    }

    /// The boot intent of a machine, by its MAC, its UUID or its node.
    pub async fn intent_of(&self, machine: &str) -> Result<Intent, ClientError> {
        self.http.get(&format!("/v1/intents/{}", segment(machine))).await
    }

    /// Deletes the boot intents of a machine, by its MAC, its UUID or its node; no error where there is none.
    pub async fn delete_intent_of(&self, machine: &str) -> Result<(), ClientError> {
        self.http.send::<()>(Method::DELETE, &format!("/v1/intents/{}", segment(machine)), None).await
    }

    /// One page of boot intents.
    pub async fn intents(&self, cursor: Option<&str>) -> Result<Page<Intent>, ClientError> {
        let cursor = cursor.as_ref().map(|c| c as _);
        self.http.get(&path("/v1/intents", &[("cursor", cursor)])).await
    }

    /// Downloads under way and the last ended.
    pub async fn transfers(&self) -> Result<Page<Transfer>, ClientError> {
        self.http.get("/v1/transfers").await
    }

    /// Events after `since`, waiting up to `wait` (at most 30 s) for the first.
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

    /// Which configuration is in force.
    pub async fn configuration(&self) -> Result<ReloadStatus, ClientError> {
        self.http.get("/v1/configuration").await
    }

    /// `/readyz`: whether it serves, and if not, why.
    pub async fn ready(&self) -> Result<(u16, String), ClientError> {
        self.http.text("/readyz").await
    }
}

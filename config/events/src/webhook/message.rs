//! [`Message`]: a request's body, id and signature, as Standard Webhooks 1.0 has them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reveille_config::dto::event::{Epoch, Event, EventPage, Lost};
use reveille_config::webhook::{Webhook, signing_key};
use serde::Serialize;
use sha2::Sha256;

/// What is posted, the same at each try.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
}

/// The body: `type`, `timestamp` and `data`.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: jiff::Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    daemon: &'a str,
    webhook: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<Lost>,
    events: &'a [Event],
}

impl Message {
    /// The events of a page that comes after `since`; `stream` tells the places of different hosts apart.
    pub(super) fn of_page(daemon: &str, hook: &Webhook, stream: &str, since: u64, page: &EventPage) -> Self {
        let id = format!("{stream}-{}-{}", since.wrapping_add(1), page.next);
        Self::new(
            id,
            "events",
            Data { daemon, webhook: &hook.name, epoch: page.epoch, lost: page.lost, events: &page.events },
        )
    }

    /// A message with one event that did not happen, for trying a receiver.
    pub(super) fn test(daemon: &str, hook: &Webhook, id: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event {
            sequence: 0,
            at_unix_millis: now.as_millis() as u64,
            kind: "test".into(),
            mac: None,
            node: None,
            message: "a test of this web hook; nothing has happened".into(),
            detail: serde_json::Map::new(),
        };
        Self::new(id, "test", Data { daemon, webhook: &hook.name, epoch: None, lost: None, events: &[event] })
    }

    fn new(id: String, r#type: &str, data: Data<'_>) -> Self {
        // When it happened: the same at each try, also after a restart.
        let of_last = data.events.last().and_then(|event| i64::try_from(event.at_unix_millis).ok());
        let timestamp = of_last.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        let timestamp = timestamp.unwrap_or_else(jiff::Timestamp::now);
        // Strings and numbers into memory: it does not fail.
        let body = serde_json::to_vec(&Body { r#type, timestamp, data }).unwrap_or_default();
        Self { id, body: body.into() }
    }

    /// The value of `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret.
    pub(super) fn signatures(&self, hook: &Webhook, unix_secs: u64) -> String {
        let keys = hook.secrets.iter().filter_map(signing_key);
        let signature = |key: zeroize::Zeroizing<Vec<u8>>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
            mac.update(format!("{}.{unix_secs}.", self.id).as_bytes());
            mac.update(&self.body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        keys.map(signature).collect::<Vec<_>>().join(" ")
    }
}

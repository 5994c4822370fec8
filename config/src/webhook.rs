//! [`Webhook`]: who is sent a daemon's events: the tables `[[dhcpd.webhook]]`, `[[bootd.webhook]]` and `[[provisioner.webhook]]`.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{MacAddr, Secret};

/// What a secret begins with (Standard Webhooks 1.0).
const SECRET_PREFIX: &str = "whsec_";
/// Octets of a key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver of a daemon's events.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Webhook {
    /// What it is called in logs and metrics; its place in the events is kept by this name. Unique in its daemon.
    pub name: String,
    /// Where events are posted: `http` or `https`.
    pub url: String,
    /// What signs them; more than one while a receiver changes from one to the other.
    pub secrets: Vec<Secret>,
    /// The certificates that sign the receiver's, PEM; `None`: those that this host trusts.
    pub ca: Option<PathBuf>,
    /// Of these kinds only; empty: of all that are durable.
    pub kinds: Vec<String>,
    /// Of these scopes only; empty: of all.
    pub scopes: Vec<String>,
    /// Of these machines only; empty: of all.
    pub macs: Vec<MacAddr>,
    /// Events of one request at most; default 100.
    pub batch: usize,
    /// What a receiver has for its answer, seconds; default 10.
    pub timeout_secs: u64,
}

impl fmt::Debug for Webhook {
    /// Not the URL, which may be a secret to some receivers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// The key that a secret holds: `whsec_` and the base64 of 24 to 64 octets.
pub fn signing_key(secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let encoded = secret.expose().strip_prefix(SECRET_PREFIX)?;
    let key = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    KEY_BYTES.contains(&key.len()).then_some(key)
}

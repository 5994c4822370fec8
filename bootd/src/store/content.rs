//! [`Site`]: what a path stands for: a script rendered from an intent, or a file. The same for HTTP and TFTP.
//!
//! Who wins: a machine's intent over a file of that name (the provisioner has the last word on a machine); a file `boot.ipxe` over the
//! built-in one (a directory that a stock Ironic conductor writes is served as it is).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, Intent};
use reveille_config::temp_url::{Algorithm, Grant, TempUrlGuard};
use serde_json::Map;

use super::catalogue::{Catalogue, Lookup, Patience};
use super::machines::Machine;
use super::{NewEvent, Protocol, Store, clock};
use crate::proto::boot_path::{ScriptPath, Whose};
use crate::proto::built_in::{entry, render};
use crate::proto::language::Language;
use crate::proto::path::{Encoding, SafePath, resolve};
use crate::proto::temp_url::{Asked, SignatureRefusal, admit, is_guarded};
use crate::proto::template::Templates;

/// How long a kernel's signature holds: a machine loads it at once, or tries a few times.
const SIGNATURE_SECS: u64 = 1_200;

/// What is served, and under which URL.
#[derive(Debug)]
pub struct Site {
    /// The files.
    pub catalogue: Catalogue,
    /// `http://address:port` as machines reach it.
    pub public_url: String,
    /// What is served only with a signature.
    pub guard: Option<TempUrlGuard>,
    /// Operators' own scripts.
    pub templates: Templates,
    /// What machines boot that nobody knows; none: nothing.
    pub discovery: Option<Intent>,
}

/// What a path stands for.
#[derive(Debug)]
pub enum Content {
    /// A rendered script.
    Script(Script),
    /// A file, or why not.
    File(Lookup),
}

/// A rendered script.
#[derive(Debug, Clone)]
pub struct Script {
    /// The text.
    pub text: Bytes,
    /// The machine it is for; none for those that are for anybody.
    pub machine: Option<Machine>,
}

impl Site {
    /// The script of an intent: by its profile's template, else what is built in. A template that fails on this machine is an error of the operator's, and no script is
    /// better than half of one.
    fn script(&self, language: Language, intent: &Intent, mac: Option<MacAddr>) -> Content {
        let signed;
        let intent = match (language, &self.guard) {
            (Language::Ipxe, Some(guard)) => {
                signed = self.signed(guard, intent);
                &signed
            }
            _ => intent,
        };
        let text = match self.templates.render(language, intent, mac, &self.public_url) {
            None => render(language, mac, &intent.action, &self.public_url),
            Some(Ok(text)) => text,
            Some(Err(error)) => return Content::File(Lookup::Failed(std::io::Error::other(error))),
        };
        let is_of_one = mac.is_some() || intent.uuid.is_some() || intent.node.is_some();
        let machine = is_of_one.then(|| Machine { mac, node: intent.node.clone() });
        Content::Script(Script { text: text.into(), machine })
    }

    /// The intent with temporary URLs for those of its files that are guarded: who may have the script may have them.
    fn signed(&self, guard: &TempUrlGuard, intent: &Intent) -> Intent {
        let mut intent = intent.clone();
        let locations = match &mut intent.action {
            BootAction::Kernel { kernel, initrd, .. } => vec![kernel, initrd],
            BootAction::Script { script } => vec![script],
            BootAction::Disk => Vec::new(),
        };
        for location in locations.into_iter().filter(|location| !location.contains("://")) {
            let (Ok(path), Some(key)) = (resolve(location, Encoding::Plain), guard.keys.first()) else { continue };
            if is_guarded(guard, &path) {
                let path = format!("/{path}");
                let expires_unix = clock::unix_secs() + SIGNATURE_SECS;
                let grant = Grant { method: "GET", expires_unix, path: &path, prefix: None, ip_range: None };
                let signed = grant.signed_path(Algorithm::Sha256, key.expose().as_bytes());
                *location = format!("{}{signed}", self.public_url);
            }
        }
        intent
    }
}

impl Store {
    /// Finds what the path stands for, for somebody who can show no signature.
    pub fn content(&self, path: &SafePath, patience: Patience) -> Content {
        match &self.site.load().guard {
            Some(guard) if is_guarded(guard, path) => Content::File(Lookup::Guarded),
            _ => match self.admitted(path, patience) {
                Content::File(Lookup::Absent) => Content::File(self.copy(path)),
                content => content,
            },
        }
    }

    /// A copy that is there already.
    fn copy(&self, path: &SafePath) -> Lookup {
        let rest = path.as_str().strip_prefix(&*self.copies_below).and_then(|rest| rest.strip_prefix('/'));
        match (&self.copies, rest) {
            (Some(copies), Some(rest)) => copies.copy(rest).map_or(Lookup::Absent, Lookup::Found),
            _ => Lookup::Absent,
        }
    }

    /// Whether a request may have what the path stands for.
    ///
    /// # Errors
    /// The path is guarded, and why the request is none of those that may have it.
    pub fn admit(
        &self,
        method: &Method,
        path: &SafePath,
        query: Option<&str>,
        peer: IpAddr,
    ) -> Result<(), SignatureRefusal> {
        match &self.site.load().guard {
            Some(guard) if is_guarded(guard, path) => {
                let query = query.unwrap_or_default();
                admit(guard, &Asked { method, path, query, peer, now_unix: clock::unix_secs() })
            }
            _ => Ok(()),
        }
    }

    /// Finds what the path stands for, for a request that [`Store::admit`] has let pass.
    pub fn admitted(&self, path: &SafePath, patience: Patience) -> Content {
        let site = self.site.load();
        let named = ScriptPath::parse(path.as_str());
        if let Some(ScriptPath::Own(whose, language)) = named
            && let Some((intent, mac)) = self.intent_of(whose)
        {
            return site.script(language, &intent, mac);
        }
        match (site.catalogue.find(path, patience), named) {
            (Lookup::Absent, Some(ScriptPath::Entry(language))) => {
                let text = Bytes::from_static(entry(language).as_bytes());
                Content::Script(Script { text, machine: None })
            }
            (Lookup::Absent, Some(ScriptPath::Own(Whose::Unknown, language))) => match &site.discovery {
                Some(intent) => site.script(language, intent, None),
                None => Content::File(Lookup::Absent),
            },
            (lookup, _) => Content::File(lookup),
        }
    }

    /// A machine's intent, and its MAC as far as it is known: the one that it asks with, else the one that it has the intent by.
    fn intent_of(&self, whose: Whose<'_>) -> Option<(Arc<Intent>, Option<MacAddr>)> {
        match whose {
            Whose::Mac(mac) => Some((self.intents.get(&mac.into())?, Some(mac))),
            Whose::Named(name, asks_with) => {
                let (_, intent) = self.intents.named(name).into_iter().next()?;
                let mac = asks_with.or(intent.mac);
                Some((intent, mac))
            }
            Whose::Unknown => None,
        }
    }

    /// A script has gone out: remembers whose address that is, and says so in the event stream.
    pub fn script_served(&self, protocol: Protocol, peer: IpAddr, path: &SafePath, script: &Script) {
        let mut detail = Map::new();
        detail.insert("protocol".into(), protocol.name().into());
        detail.insert("peer".into(), peer.to_string().into());
        detail.insert("path".into(), path.as_str().into());
        let (mac, node, message) = match script.machine.clone() {
            Some(machine) => {
                self.machines.learn(peer, machine.clone());
                let Machine { mac, node } = machine;
                let who = mac.map(|mac| format!("{mac} at {peer}")).unwrap_or_else(|| peer.to_string());
                (mac, node, format!("{who} was sent its boot script over {}", protocol.name()))
            }
            None => (None, None, format!("{peer} was sent a script for any machine over {}", protocol.name())),
        };
        self.events.push(NewEvent { kind: "script-served", mac, node, message, detail });
    }
}

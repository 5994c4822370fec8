//! [`Site`]: what a path stands for: a script rendered from an intent, or a file. The same for HTTP and TFTP.
//!
//! Who wins: a machine's intent over a file of that name (the provisioner has the last word on a machine); a file `boot.ipxe` over the
//! built-in one (a directory that a stock Ironic conductor writes is served as it is).

use std::net::IpAddr;

use bytes::Bytes;
use reveille_config::MacAddr;
use serde_json::Map;

use super::catalogue::{Catalogue, Lookup, Patience};
use super::{NewEvent, Protocol, Store};
use crate::proto::path::SafePath;
use crate::proto::script::{ScriptPath, render_entry, render_machine};

/// What is served, and under which URL.
#[derive(Debug)]
pub struct Site {
    /// The files.
    pub catalogue: Catalogue,
    /// `http://address:port` as machines reach it.
    pub public_url: String,
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
    /// The machine it is for; none for the entry script.
    pub mac: Option<MacAddr>,
    /// That machine's node.
    pub node: Option<String>,
}

impl Store {
    /// Finds what the path stands for.
    pub fn content(&self, path: &SafePath, patience: Patience) -> Content {
        let site = self.site.load();
        let named = ScriptPath::parse(path.as_str());
        if let Some(ScriptPath::Machine(mac)) = named
            && let Some(intent) = self.intents.get(mac)
        {
            let text = render_machine(mac, &intent.action, &site.public_url).into();
            return Content::Script(Script { text, mac: Some(mac), node: intent.node.clone() });
        }
        match (site.catalogue.find(path, patience), named) {
            (Lookup::Absent, Some(ScriptPath::Entry)) => {
                Content::Script(Script { text: Bytes::from_static(render_entry().as_bytes()), mac: None, node: None })
            }
            (lookup, _) => Content::File(lookup),
        }
    }

    /// A script has gone out: remembers whose address that is, and says so in the event stream.
    pub fn script_served(&self, protocol: Protocol, peer: IpAddr, path: &SafePath, script: &Script) {
        let mut detail = Map::new();
        detail.insert("protocol".into(), protocol.name().into());
        detail.insert("peer".into(), peer.to_string().into());
        detail.insert("path".into(), path.as_str().into());
        let message = match script.mac {
            Some(mac) => {
                self.machines.learn(peer, mac, script.node.clone());
                format!("{mac} at {peer} was sent its boot script over {}", protocol.name())
            }
            None => format!("{peer} was sent the entry script over {}", protocol.name()),
        };
        self.events.push(NewEvent {
            kind: "script-served",
            mac: script.mac,
            node: script.node.clone(),
            message,
            detail,
        });
    }
}

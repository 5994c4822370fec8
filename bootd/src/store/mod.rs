//! What the boot server remembers: boot intents (durable), the directories it serves, transfers, events, and which machine has which
//! address. No packets are parsed here.

pub mod copies;
pub mod images;

mod catalogue;
mod clock;
mod content;
mod dropbox;
mod events;
mod intents;
mod machines;
mod transfers;

pub use catalogue::{Catalogue, CatalogueError, Lookup, OpenFile, Patience, ReadNow};
pub use content::{Content, Script, Site};
pub use dropbox::{Draft, DropBox, DropBoxRefusal};
pub use events::{Events, NewEvent};
pub use intents::{Intents, IntentsError, WriteError};
pub use machines::{Machine, Machines};
pub use transfers::{Ongoing, Protocol, Transfers};

use std::sync::Arc;

use arc_swap::ArcSwap;

use self::copies::Copies;

/// All of it, shared by the servers and the API.
#[derive(Debug)]
pub struct Store {
    /// What is served and under which URL; replaced as a whole on reload.
    pub site: ArcSwap<Site>,
    /// Copies of the upstream's files, where there is an upstream.
    pub copies: Option<Copies>,
    /// Which paths those are: all below this one.
    pub copies_below: String,
    /// Where machines may write, if anywhere.
    pub dropbox: Option<DropBox>,
    /// Boot intents.
    pub intents: Intents,
    /// The event stream.
    pub events: Arc<Events>,
    /// Downloads.
    pub transfers: Arc<Transfers>,
    /// Which machine has which address.
    pub machines: Machines,
}

#[cfg(test)]
impl Store {
    /// A store that serves the files of one directory and keeps its intents there.
    pub(crate) fn for_tests(root: &std::path::Path) -> Self {
        Self::for_tests_over(root, root)
    }

    /// The same with its intents elsewhere, for files that nobody can write beside.
    pub(crate) fn for_tests_over(root: &std::path::Path, state: &std::path::Path) -> Self {
        let events = Arc::new(Events::new());
        Self {
            site: ArcSwap::from_pointee(Site {
                catalogue: Catalogue::open(&[root.to_owned()]).unwrap(),
                public_url: "http://192.0.2.1".into(),
                guard: None,
                templates: Default::default(),
                discovery: None,
            }),
            copies: None,
            copies_below: String::new(),
            dropbox: None,
            intents: Intents::open(state).unwrap(),
            transfers: Arc::new(Transfers::new(events.clone())),
            events,
            machines: Machines::default(),
        }
    }
}

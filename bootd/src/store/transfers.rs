//! [`Transfers`]: the downloads that are under way, with their progress, and the last that ended.
//!
//! An [`Ongoing`] is the right to report about one; when it is dropped without [`Ongoing::end`], the transfer counts as broken off. How
//! many can be under way is bounded by the servers' own limits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use reveille_config::dto::bootd::Transfer;
use reveille_config::dto::dhcpd::Page;
use reveille_config::limit::{PAGE_MAX, TRANSFERS_ENDED_MAX};
use serde_json::{Map, json};

use super::clock;
use super::events::{Events, NewEvent};
use super::machines::Machine;

/// What a transfer runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// TFTP.
    Tftp,
}

impl Protocol {
    /// As the API and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tftp => "tftp",
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct Transfers {
    next_id: AtomicU64,
    active: DashMap<u64, Arc<Entry>>,
    ended: Mutex<VecDeque<Transfer>>,
    events: Arc<Events>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    protocol: Protocol,
    peer: IpAddr,
    path: String,
    bytes_total: u64,
    bytes_sent: AtomicU64,
    /// Blocks sent again; TFTP only.
    blocks_repeated: AtomicU64,
    started_unix_millis: u64,
    machine: Option<Machine>,
    /// Files have their events; scripts have one of their own kind instead.
    has_events: bool,
}

/// One transfer that is under way.
#[derive(Debug)]
pub struct Ongoing {
    transfers: Arc<Transfers>,
    entry: Arc<Entry>,
    ended: bool,
}

impl Transfers {
    /// An empty table that reports into `events`.
    pub fn new(events: Arc<Events>) -> Self {
        Self { next_id: AtomicU64::new(1), active: DashMap::new(), ended: Mutex::default(), events }
    }

    /// A download of a file begins.
    pub fn begin(
        self: &Arc<Self>,
        protocol: Protocol,
        peer: IpAddr,
        path: &str,
        bytes_total: u64,
        machine: Option<Machine>,
    ) -> Ongoing {
        self.insert(protocol, peer, path, bytes_total, machine, true)
    }

    /// A download of a script begins; the caller makes its event.
    pub fn begin_script(self: &Arc<Self>, protocol: Protocol, peer: IpAddr, path: &str, bytes_total: u64) -> Ongoing {
        self.insert(protocol, peer, path, bytes_total, None, false)
    }

    /// A script has been handed over whole, so that it never was under way; the caller makes its event.
    pub fn script_sent(&self, protocol: Protocol, peer: IpAddr, path: &str, bytes: u64) {
        let now = clock::unix_millis();
        self.keep(Transfer {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            protocol: protocol.name().into(),
            peer,
            path: path.to_owned(),
            bytes_sent: bytes,
            bytes_total: Some(bytes),
            started_unix_millis: now,
            ended_unix_millis: Some(now),
            outcome: Some("complete".into()),
        });
    }

    /// Puts one among the last that ended.
    fn keep(&self, transfer: Transfer) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == TRANSFERS_ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(transfer);
    }

    fn insert(
        self: &Arc<Self>,
        protocol: Protocol,
        peer: IpAddr,
        path: &str,
        bytes_total: u64,
        machine: Option<Machine>,
        has_events: bool,
    ) -> Ongoing {
        let entry = Arc::new(Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            protocol,
            peer,
            path: path.to_owned(),
            bytes_total,
            bytes_sent: AtomicU64::new(0),
            blocks_repeated: AtomicU64::new(0),
            started_unix_millis: clock::unix_millis(),
            machine,
            has_events,
        });
        self.active.insert(entry.id, entry.clone());
        if has_events {
            let message = format!("{peer} fetches {path} ({bytes_total} octets) over {}", protocol.name());
            self.events.push(entry.event("transfer-started", message, None));
        }
        Ongoing { transfers: self.clone(), entry, ended: false }
    }

    /// How many are under way.
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// One page, the newest first; the cursor is the last one's id.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Page<Transfer> {
        let limit = limit.clamp(1, PAGE_MAX);
        let before = before.unwrap_or(u64::MAX);
        let mut items: Vec<Transfer> =
            self.active.iter().filter(|entry| entry.id < before).map(|entry| entry.describe()).collect();
        {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            items.extend(ended.iter().filter(|transfer| transfer.id < before).cloned());
        }
        items.sort_unstable_by_key(|transfer| std::cmp::Reverse(transfer.id));
        // One that ends between the two looks is in both.
        items.dedup_by_key(|transfer| transfer.id);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|last| last.id.to_string()) } else { None };
        Page { items, next }
    }
}

impl Entry {
    fn describe(&self) -> Transfer {
        Transfer {
            id: self.id,
            protocol: self.protocol.name().into(),
            peer: self.peer,
            path: self.path.clone(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            bytes_total: Some(self.bytes_total),
            started_unix_millis: self.started_unix_millis,
            ended_unix_millis: None,
            outcome: None,
        }
    }

    fn event(&self, kind: &'static str, message: String, ended: Option<&Transfer>) -> NewEvent {
        let mut detail = Map::new();
        detail.insert("transfer".into(), self.id.into());
        detail.insert("protocol".into(), self.protocol.name().into());
        detail.insert("peer".into(), self.peer.to_string().into());
        detail.insert("path".into(), self.path.clone().into());
        detail.insert("bytes_total".into(), self.bytes_total.into());
        if let Some(transfer) = ended {
            let millis = transfer.ended_unix_millis.unwrap_or_default().saturating_sub(self.started_unix_millis);
            detail.insert("bytes_sent".into(), transfer.bytes_sent.into());
            detail.insert("duration_millis".into(), millis.into());
            if self.protocol == Protocol::Tftp {
                detail.insert("blocks_repeated".into(), self.blocks_repeated.load(Ordering::Relaxed).into());
            }
            detail.insert("outcome".into(), json!(transfer.outcome));
        }
        let (mac, node) = match &self.machine {
            Some(machine) => (machine.mac, machine.node.clone()),
            None => (None, None),
        };
        NewEvent { kind, mac, node, message, detail }
    }
}

impl Ongoing {
    /// So many octets have been sent in all.
    pub fn set_bytes_sent(&self, bytes: u64) {
        self.entry.bytes_sent.store(bytes, Ordering::Relaxed);
    }

    /// So many blocks have been sent again.
    pub fn set_blocks_repeated(&self, blocks: u64) {
        self.entry.blocks_repeated.store(blocks, Ordering::Relaxed);
    }

    /// Which transfer it is.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// It has ended: `complete`, or why not.
    pub fn end(mut self, outcome: &str) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut transfer = self.entry.describe();
        transfer.ended_unix_millis = Some(clock::unix_millis());
        transfer.outcome = Some(outcome.to_owned());
        if self.entry.has_events {
            let Transfer { peer, path, bytes_sent, protocol, .. } = &transfer;
            let message = format!(
                "{peer} fetched {path} over {protocol}: {outcome}, {bytes_sent} of {} octets",
                self.entry.bytes_total
            );
            self.transfers.events.push(self.entry.event("transfer-ended", message, Some(&transfer)));
        }
        self.transfers.keep(transfer);
        self.transfers.active.remove(&self.entry.id);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.finish("broken off");
    }
}

#[cfg(test)]
mod tests {
    use reveille_events::Log as _;

    use super::*;

    fn table() -> Arc<Transfers> {
        Arc::new(Transfers::new(Arc::new(Events::new())))
    }

    fn begin(transfers: &Arc<Transfers>, path: &str) -> Ongoing {
        transfers.begin(Protocol::Http, "192.0.2.7".parse().unwrap(), path, 100, None)
    }

    #[tokio::test]
    async fn shows_progress_then_the_outcome() {
        let transfers = table();
        let (a, b) = (begin(&transfers, "a"), begin(&transfers, "b"));
        a.set_bytes_sent(40);
        let page = transfers.page(None, 10);
        let seen: Vec<_> = page.items.iter().map(|t| (t.path.as_str(), t.bytes_sent, t.outcome.as_deref())).collect();
        assert_eq!(seen, [("b", 0, None), ("a", 40, None)]);
        a.end("complete");
        drop(b);
        let page = transfers.page(None, 10);
        let seen: Vec<_> = page.items.iter().map(|t| (t.path.as_str(), t.bytes_sent, t.outcome.as_deref())).collect();
        assert_eq!(seen, [("b", 0, Some("broken off")), ("a", 40, Some("complete"))]);
        assert_eq!(transfers.active(), 0);
        let kinds: Vec<_> =
            transfers.events.page_now(0, &Default::default()).events.into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["transfer-started", "transfer-started", "transfer-ended", "transfer-ended"]);
    }

    #[test]
    fn keeps_the_last_ended_and_pages_through_them() {
        let transfers = table();
        for _ in 0..TRANSFERS_ENDED_MAX + 10 {
            begin(&transfers, "x").end("complete");
        }
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = transfers.page(cursor, 100);
            seen.extend(page.items.iter().map(|t| t.id));
            match page.next {
                Some(next) => cursor = Some(next.parse().unwrap()),
                None => break,
            }
        }
        let expected: Vec<u64> = (11..=TRANSFERS_ENDED_MAX as u64 + 10).rev().collect();
        assert_eq!(seen, expected);
    }
}

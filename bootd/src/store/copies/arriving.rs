//! [`Arriving`]: a file on its way from the upstream: how much of it is there, for all who are served from it meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::proto::http::Validators;

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The upstream's strong `ETag` or `Last-Modified`; none: it says neither, and every fetch is another version.
    pub validator: Option<String>,
    /// Octets.
    pub bytes: u64,
    /// When its first octet came, Unix seconds.
    pub began_unix: u64,
}

impl Version {
    /// What tells it from others, for our own clients; the same while it arrives and after.
    pub fn validators(&self) -> Validators {
        let (tag, date) = match self.validator.as_deref() {
            Some(tag) if tag.starts_with('"') => (Some(tag), None),
            Some(date) => (None, httpdate::parse_http_date(date).ok()),
            None => (None, None),
        };
        let began = UNIX_EPOCH + std::time::Duration::from_secs(self.began_unix);
        let last_modified: SystemTime = date.unwrap_or(began);
        let secs = last_modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let etag = tag.map_or_else(|| format!("\"{:x}-{secs:x}\"", self.bytes), str::to_owned);
        Validators { etag, last_modified, bytes: self.bytes }
    }
}

/// Why a file does not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullFailure {
    /// The upstream has none.
    #[error("the upstream has no such file")]
    Absent,
    /// The upstream does not give it.
    #[error("the upstream does not give it: {0}")]
    Upstream(String),
    /// It is larger than what is left of the budget.
    #[error("it has no room in bootd.upstream.disk_bytes_max")]
    NoRoom,
    /// The disk.
    #[error("it cannot be kept: {0}")]
    Disk(String),
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// It is not known yet what comes.
    Asked,
    /// So many octets are there.
    Bytes(u64),
    /// No more will come.
    Failed(PullFailure, u64),
}

/// A file on its way.
#[derive(Debug)]
pub struct Arriving {
    id: u64,
    reserved: AtomicU64,
    begun: OnceLock<(File, Version)>,
    progress: watch::Sender<Progress>,
}

impl Arriving {
    pub(super) fn new(id: u64) -> Self {
        Self { id, reserved: AtomicU64::new(0), begun: OnceLock::new(), progress: watch::Sender::new(Progress::Asked) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(super) fn begun(&self) -> Option<&(File, Version)> {
        self.begun.get()
    }

    /// So many octets are in the file already.
    pub(super) fn begin(&self, file: File, version: Version, bytes: u64) {
        let _ = self.begun.set((file, version));
        self.progress.send_replace(Progress::Bytes(bytes));
    }

    /// More octets, at the end of those that are there. Blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(&self, octets: &[u8], at: u64) -> std::io::Result<()> {
        let (file, _) = self.begun.get().ok_or(std::io::ErrorKind::NotFound)?;
        file.write_all_at(octets, at)?;
        self.progress.send_replace(Progress::Bytes(at + octets.len() as u64));
        Ok(())
    }

    /// No more will come; who waits is told so.
    pub fn fail(&self, why: PullFailure) {
        self.progress.send_modify(|progress| {
            let bytes = if let Progress::Bytes(bytes) = progress { *bytes } else { 0 };
            *progress = Progress::Failed(why, bytes);
        });
    }

    /// Waits until it is known what comes.
    ///
    /// # Errors
    /// Nothing comes.
    pub async fn version(&self) -> Result<Version, PullFailure> {
        let mut progress = self.progress.subscribe();
        let known = progress.wait_for(|progress| *progress != Progress::Asked).await;
        match (self.begun.get(), known.as_deref()) {
            (Some((_, version)), _) => Ok(version.clone()),
            (None, Ok(Progress::Failed(why, _))) => Err(why.clone()),
            // The sender is in `self`, and what has begun is there.
            _ => Err(PullFailure::Upstream("it was given up".into())),
        }
    }

    /// Waits for octets behind `offset`, and says up to where they are there.
    ///
    /// # Errors
    /// None will come.
    pub async fn beyond(&self, offset: u64) -> Result<u64, PullFailure> {
        let mut progress = self.progress.subscribe();
        let there = |progress: &Progress| match progress {
            Progress::Asked => 0,
            Progress::Bytes(bytes) | Progress::Failed(_, bytes) => *bytes,
        };
        let settled = |progress: &Progress| there(progress) > offset || matches!(progress, Progress::Failed(..));
        match progress.wait_for(settled).await.as_deref() {
            Ok(progress) if there(progress) > offset => Ok(there(progress)),
            Ok(Progress::Failed(why, _)) => Err(why.clone()),
            _ => Err(PullFailure::Upstream("it was given up".into())),
        }
    }

    /// Octets that are there. Blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let (file, _) = self.begun.get().ok_or(std::io::ErrorKind::NotFound)?;
        file.read_exact_at(buffer, offset)
    }
}

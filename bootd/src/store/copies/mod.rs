//! [`Copies`]: copies of an upstream's files on disk, as many as the budget has room for, and those that are arriving.
//!
//! It fetches nothing itself. A copy is in place, durable and whole, before anybody finds it; one that is replaced or removed is served to its end by who has it open.
//! What was arriving when the daemon ended goes on where it was, if the upstream still has that version. At the budget the copies that were not asked for longest make room; a file that finds none is refused.

mod arriving;
mod unfinished;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reveille_config::limit::UPSTREAM_FETCHES_MAX;
use serde::{Deserialize, Serialize};

pub use self::arriving::{Arriving, PullFailure, Version};
use self::unfinished::Unfinished;
use super::catalogue::OpenFile;

/// The copies, and what is arriving.
#[derive(Debug)]
pub struct Copies {
    dir: PathBuf,
    bytes_max: u64,
    /// A copy that was compared with the upstream's file so recently is not compared again.
    check: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    copies: HashMap<String, Kept>,
    arriving: HashMap<String, Arc<Arriving>>,
    /// What has come of files when an earlier run ended; of those that are arriving until it is known whether that is of use.
    unfinished: HashMap<String, Unfinished>,
    /// Counts uses, so that they have an order, and names files.
    last: u64,
}

/// A whole copy.
#[derive(Debug)]
struct Kept {
    id: u64,
    version: Version,
    used: u64,
    checked: Option<Instant>,
}

/// What is written beside a copy.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: String,
    version: Version,
}

/// What there is of a file.
#[derive(Debug)]
pub enum Found {
    /// A copy. Whether it should be compared with the upstream's file; who is told so is the only one.
    Copy(OpenFile, bool),
    /// It is on its way.
    Arriving(Arc<Arriving>),
    /// Nothing: the caller has to fetch it, and is the only one.
    Fetch(Arc<Arriving>),
    /// As many are being fetched as may be.
    Busy,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep copies of the upstream's files in {path} (bootd.upstream)", path = .path.display())]
pub struct CopiesError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Copies {
    /// Opens the directory, makes it where it is missing, and finds the copies of earlier runs.
    ///
    /// # Errors
    /// See [`CopiesError`].
    pub fn open(dir: &Path, bytes_max: u64, check: Duration) -> Result<Self, CopiesError> {
        let copies = Self { dir: dir.into(), bytes_max, check, state: Mutex::default() };
        copies.read_dir().map_err(|source| CopiesError { path: dir.into(), source })?;
        // The budget may have become smaller.
        copies.make_room(&mut copies.state(), 0);
        Ok(copies)
    }

    fn read_dir(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let mut state = self.state();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let record = || serde_json::from_slice::<Record>(&std::fs::read(&path).ok()?).ok();
            match (id, path.extension().and_then(|extension| extension.to_str())) {
                (Some(id), Some("json")) => {
                    state.last = state.last.max(id);
                    let bytes = std::fs::metadata(self.data(id)).map(|file| file.len()).ok();
                    let whole = record().filter(|record| bytes == Some(record.version.bytes));
                    let Some(Record { path, version }) = whole else {
                        self.delete(id);
                        continue;
                    };
                    let kept = Kept { id, version, used: id, checked: None };
                    // Two of one path: the daemon ended between the new one and the end of the old one.
                    match state.copies.get(&path).map(|other| other.id) {
                        Some(other) if other > id => self.delete(id),
                        other => {
                            state.copies.insert(path, kept);
                            other.into_iter().for_each(|other| self.delete(other));
                        }
                    }
                }
                (Some(id), Some("data")) => {
                    state.last = state.last.max(id);
                    if !self.record(id).exists() {
                        self.delete(id);
                    }
                }
                (Some(id), Some("new")) => {
                    state.last = state.last.max(id);
                    let other = match unfinished::read(id, &self.part(id), &path) {
                        Some((path, own)) => state.unfinished.insert(path, own).map(|other| other.id),
                        None => Some(id),
                    };
                    other.into_iter().for_each(|other| self.delete_unfinished(other));
                }
                (Some(id), Some("part")) if self.new_data(id).exists() => {}
                // Unfinished, or nothing of ours.
                _ => drop(std::fs::remove_file(&path)),
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id}.data"))
    }

    fn record(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn new_data(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id}.new"))
    }

    fn part(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id}.part"))
    }

    fn delete_unfinished(&self, id: u64) {
        let _ = std::fs::remove_file(self.part(id));
        let _ = std::fs::remove_file(self.new_data(id));
    }

    fn delete(&self, id: u64) {
        // First what makes it a copy. Either may be gone already.
        let _ = std::fs::remove_file(self.record(id));
        let _ = std::fs::remove_file(self.data(id));
    }

    /// The copy of a file, where there is one.
    pub fn copy(&self, path: &str) -> Option<OpenFile> {
        self.open_copy(&mut self.state(), path)
    }

    fn open_copy(&self, state: &mut State, path: &str) -> Option<OpenFile> {
        state.last += 1;
        let used = state.last;
        let kept = state.copies.get_mut(path)?;
        let opened = File::open(self.data(kept.id)).ok().and_then(|file| OpenFile::of_version(file, &kept.version));
        match opened {
            Some(file) => {
                kept.used = used;
                Some(file)
            }
            // Somebody has removed it.
            None => {
                let id = kept.id;
                state.copies.remove(path);
                self.delete(id);
                None
            }
        }
    }

    /// What there is of a file, and who has to do what about it.
    pub fn find(&self, path: &str) -> Found {
        let mut state = self.state();
        if let Some(file) = self.open_copy(&mut state, path) {
            let kept = state.copies.get_mut(path);
            let due = kept.is_some_and(|kept| {
                let due = kept.checked.is_none_or(|checked| checked.elapsed() >= self.check);
                if due {
                    kept.checked = Some(Instant::now());
                }
                due
            });
            return Found::Copy(file, due);
        }
        Self::arrive(&mut state, path)
    }

    /// Begins to fetch a file anew whose copy is old.
    pub fn renew(&self, path: &str) -> Found {
        Self::arrive(&mut self.state(), path)
    }

    fn arrive(state: &mut State, path: &str) -> Found {
        if let Some(arriving) = state.arriving.get(path) {
            return Found::Arriving(arriving.clone());
        }
        if state.arriving.len() >= UPSTREAM_FETCHES_MAX {
            return Found::Busy;
        }
        let id = state.unfinished.get(path).map(|unfinished| unfinished.id).unwrap_or_else(|| {
            state.last += 1;
            state.last
        });
        let arriving = Arc::new(Arriving::new(id));
        state.arriving.insert(path.to_owned(), arriving.clone());
        Found::Fetch(arriving)
    }

    /// Which version the copy is.
    pub fn version(&self, path: &str) -> Option<Version> {
        self.state().copies.get(path).map(|kept| kept.version.clone())
    }

    /// Which version of a file an earlier run has fetched a part of, and how many of its octets; less than all, so that there is something to ask for.
    pub fn unfinished(&self, path: &str) -> Option<(Version, u64)> {
        let state = self.state();
        let Unfinished { version, bytes, .. } = state.unfinished.get(path)?;
        let bytes = version.bytes.saturating_sub(1).min(*bytes);
        (bytes > 0).then(|| (version.clone(), bytes))
    }

    /// The upstream has another version, or none: nobody will go on with this. Blocks.
    pub fn discard(&self, path: &str) {
        if let Some(Unfinished { id, .. }) = self.state().unfinished.remove(path) {
            self.delete_unfinished(id);
        }
    }

    /// It is known what comes: finds room for it and makes its file. Blocks.
    ///
    /// # Errors
    /// No room, or the disk.
    pub fn begin(&self, path: &str, arriving: &Arriving, version: Version) -> Result<(), PullFailure> {
        self.discard(path);
        self.reserve(arriving, version.bytes)?;
        // What is lost without the record, or with a torn one, is only time.
        let _ = unfinished::write(&self.part(arriving.id()), path, &version);
        let file = File::options().read(true).write(true).create_new(true).open(self.new_data(arriving.id()));
        arriving.begin(file.map_err(|error| PullFailure::Disk(error.to_string()))?, version, 0);
        Ok(())
    }

    /// The rest of an unfinished file comes, behind so many of its octets. Blocks.
    ///
    /// # Errors
    /// No room, or the disk.
    pub fn resume(&self, path: &str, arriving: &Arriving, version: Version, bytes: u64) -> Result<(), PullFailure> {
        // It is counted as arriving from here on.
        self.state().unfinished.remove(path);
        self.reserve(arriving, version.bytes)?;
        let open = || {
            let file = File::options().read(true).write(true).open(self.new_data(arriving.id()))?;
            file.set_len(bytes).map(|()| file)
        };
        arriving.begin(open().map_err(|error| PullFailure::Disk(error.to_string()))?, version, bytes);
        Ok(())
    }

    /// It counts from here on, in whatever order others ask.
    fn reserve(&self, arriving: &Arriving, bytes: u64) -> Result<(), PullFailure> {
        let mut state = self.state();
        if !self.make_room(&mut state, bytes) {
            return Err(PullFailure::NoRoom);
        }
        arriving.reserve(bytes);
        Ok(())
    }

    /// All octets have come: makes a copy of it. Blocks.
    ///
    /// # Errors
    /// The disk's; who is served from what has arrived is served on.
    pub fn finish(&self, path: &str, arriving: &Arriving) -> io::Result<()> {
        let id = arriving.id();
        let kept = arriving.begun().ok_or(io::ErrorKind::NotFound)?;
        kept.0.sync_all()?;
        std::fs::rename(self.new_data(id), self.data(id))?;
        let record = Record { path: path.to_owned(), version: kept.1.clone() };
        let unfinished = self.dir.join(format!("{id}.json.new"));
        std::fs::write(&unfinished, serde_json::to_vec(&record)?)?;
        File::open(&unfinished)?.sync_all()?;
        std::fs::rename(&unfinished, self.record(id))?;
        // Of no use without the octets that it is of.
        let _ = std::fs::remove_file(self.part(id));
        File::open(&self.dir)?.sync_all()?;
        let mut state = self.state();
        state.last += 1;
        let kept = Kept { id, version: record.version, used: state.last, checked: Some(Instant::now()) };
        state.arriving.remove(path);
        if let Some(old) = state.copies.insert(path.to_owned(), kept) {
            self.delete(old.id);
        }
        Ok(())
    }

    /// It will not come to its end: forgets it, so that the next who asks begins again; with what an earlier run left, if it was not found out whether that is of use.
    pub fn give_up(&self, path: &str, arriving: &Arriving) {
        let mut state = self.state();
        state.arriving.remove(path);
        if state.unfinished.contains_key(path) {
            return;
        }
        drop(state);
        self.delete_unfinished(arriving.id());
        let _ = std::fs::remove_file(self.dir.join(format!("{}.json.new", arriving.id())));
        if !self.state().copies.values().any(|kept| kept.id == arriving.id()) {
            self.delete(arriving.id());
        }
    }

    /// The upstream has the file no more.
    pub fn forget(&self, path: &str) {
        if let Some(kept) = self.state().copies.remove(path) {
            self.delete(kept.id);
        }
    }

    /// Removes what an earlier run left unfinished and nobody has asked for, then the copies that were not used longest, until there is room for so many octets; false if there cannot be.
    fn make_room(&self, state: &mut State, bytes: u64) -> bool {
        let arriving: u64 = state.arriving.values().map(|arriving| arriving.reserved()).sum();
        let wanted = arriving.saturating_add(bytes);
        if wanted > self.bytes_max {
            return false;
        }
        loop {
            let kept: u64 = state.copies.values().map(|kept| kept.version.bytes).sum();
            let left: u64 = state.unfinished.values().map(|unfinished| unfinished.bytes).sum();
            if wanted.saturating_add(kept).saturating_add(left) <= self.bytes_max {
                return true;
            }
            let unasked = state.unfinished.keys().find(|path| !state.arriving.contains_key(*path)).cloned();
            if let Some(unfinished) = unasked.and_then(|path| state.unfinished.remove(&path)) {
                self.delete_unfinished(unfinished.id);
                continue;
            }
            let oldest = state.copies.iter().min_by_key(|(_, kept)| kept.used).map(|(path, _)| path.clone());
            let Some(kept) = oldest.and_then(|path| state.copies.remove(&path)) else { return false };
            self.delete(kept.id);
        }
    }
}

#[cfg(test)]
mod tests;

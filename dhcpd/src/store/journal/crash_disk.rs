//! A simulated disk for tests: it knows what was synced, and shows what a crash would leave. Not for production.
//!
//! The model is harsh on purpose: unsynced writes survive sector by sector at random, unsynced changes of names one by one at random. It also
//! freezes at the Nth sync, cuts at an octet, runs out of room and fails syncs. Clones are handles of the same disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::PAGE_BYTES;
use super::storage::{Storage, StorageError, StorageFile, StoredFile};

const SECTOR_BYTES: usize = 512;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It all reached the disk, though nobody waited for it.
    Nothing,
    /// None of it did.
    Everything,
    /// Each sector and each change of a name by the toss of a coin, from this seed.
    Random(u64),
}

/// A simulated disk.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    disk: Mutex<Disk>,
    let_go: Condvar,
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    files: Vec<FileState>,
    syncs: u64,
    written: u64,
    salts: u64,
    freeze_at_sync: Option<u64>,
    cut_at_octet: Option<u64>,
    fail_sync: Option<u64>,
    room: Option<(u64, Errno)>,
    frozen: bool,
    held: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Move(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    /// What a reader sees now.
    current: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

fn put(to: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    if to.len() < offset + octets.len() {
        to.resize(offset + octets.len(), 0);
    }
    to[offset..offset + octets.len()].copy_from_slice(octets);
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Move(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

/// SplitMix64: the next number of a reproducible series.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl CrashDisk {
    /// An empty disk.
    pub fn new() -> CrashDisk {
        CrashDisk::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as a journal uses it.
    pub fn storage(&self) -> Box<dyn Storage> {
        Box::new(self.clone())
    }

    /// The disk that a restart would find if the machine lost power now. This one goes on as it was.
    pub fn crash(&self, loss: Loss) -> CrashDisk {
        let disk = self.disk();
        let mut seed = match loss {
            Loss::Random(seed) => seed,
            _ => 0,
        };
        let mut survives = || match loss {
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::Random(_) => next_random(&mut seed) & 1 == 1,
        };
        let mut names = disk.names_durable.clone();
        for change in &disk.name_changes {
            if survives() {
                apply(&mut names, change);
            }
        }
        let files = disk.files.iter().map(|file| {
            let mut octets = file.durable.clone();
            for (offset, write) in &file.unsynced {
                for (index, sector) in write.chunks(SECTOR_BYTES).enumerate() {
                    if survives() {
                        put(&mut octets, offset + index * SECTOR_BYTES, sector);
                    }
                }
            }
            FileState { current: octets.clone(), durable: octets, unsynced: Vec::new() }
        });
        let files = files.collect();
        let disk = Disk { names_durable: names.clone(), names, files, salts: disk.salts, ..Disk::default() };
        CrashDisk(Arc::new(Shared { disk: Mutex::new(disk), let_go: Condvar::new() }))
    }

    /// The sync with this number (from 1, counted over the disk's life) and everything after it fails: the crash comes just before it.
    pub fn freeze_at_sync(&self, sync: u64) {
        self.disk().freeze_at_sync = Some(sync);
    }

    /// Of all octets ever written (zeroing of new segments aside) only so many reach the disk; everything after fails.
    pub fn cut_at_octet(&self, octet: u64) {
        self.disk().cut_at_octet = Some(octet);
    }

    /// The sync with this number fails with EIO; what it was to sync stays unsynced.
    pub fn fail_sync(&self, sync: u64) {
        self.disk().fail_sync = Some(sync);
    }

    /// Takes `octets` more, part of a write perhaps, then refuses with `errno` until [`CrashDisk::give_room`].
    pub fn refuse_after(&self, octets: u64, errno: Errno) {
        self.disk().room = Some((octets, errno));
    }

    /// Ends a refusal.
    pub fn give_room(&self) {
        self.disk().room = None;
    }

    /// Every write waits from now on, until [`CrashDisk::let_go`].
    pub fn hold(&self) {
        self.disk().held = true;
    }

    /// Ends [`CrashDisk::hold`].
    pub fn let_go(&self) {
        self.disk().held = false;
        self.0.let_go.notify_all();
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Octets written so far, zeroing of new segments aside.
    pub fn octets_written(&self) -> u64 {
        self.disk().written
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// What a file holds.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        Some(disk.files[*disk.names.get(name)?].current.clone())
    }

    /// Damage: replaces what a file holds, makes it, or with `None` loses it, all durably.
    pub fn replace(&self, name: &str, content: Option<Vec<u8>>) {
        let mut disk = self.disk();
        let change = match content {
            None => NameChange::Remove(name.to_owned()),
            Some(octets) => {
                disk.files.push(FileState { durable: octets.clone(), current: octets, unsynced: Vec::new() });
                NameChange::Set(name.to_owned(), disk.files.len() - 1)
            }
        };
        let Disk { names, names_durable, .. } = &mut *disk;
        apply(names, &change);
        apply(names_durable, &change);
    }
}

fn error(errno: Errno, what: &str, name: &str) -> StorageError {
    StorageError::sort(format!("{what} {name}"), errno.into())
}

impl Disk {
    fn usable(&self, what: &str, name: &str) -> Result<(), StorageError> {
        if self.frozen { Err(error(Errno::IO, what, name)) } else { Ok(()) }
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn find(&self, what: &str, name: &str) -> Result<usize, StorageError> {
        self.usable(what, name)?;
        self.names.get(name).copied().ok_or_else(|| error(Errno::NOENT, what, name))
    }

    /// How many of `octets` the disk still takes, and the error for the rest.
    fn take_room(&mut self, octets: usize) -> (usize, Option<Errno>) {
        let Some((room, errno)) = &mut self.room else { return (octets, None) };
        let taken = (octets as u64).min(*room) as usize;
        *room -= taken as u64;
        (taken, (taken < octets).then_some(*errno))
    }

    fn sync(&mut self, name: &str) -> Result<(), StorageError> {
        self.usable("sync", name)?;
        self.syncs += 1;
        if self.freeze_at_sync.is_some_and(|sync| self.syncs >= sync) {
            self.frozen = true;
        }
        if self.frozen || self.fail_sync == Some(self.syncs) {
            return Err(StorageError::failed(format!("sync {name}"), io::Error::from(Errno::IO)));
        }
        Ok(())
    }

    fn new_file(&mut self, name: &str) -> usize {
        self.files.push(FileState::default());
        let file = self.files.len() - 1;
        self.change(NameChange::Set(name.to_owned(), file));
        file
    }
}

impl Storage for CrashDisk {
    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        let disk = self.disk();
        disk.usable("list", "the disk")?;
        let stored = |(name, file): (&String, &usize)| StoredFile {
            name: name.clone(),
            bytes: disk.files[*file].current.len() as u64,
        };
        Ok(disk.names.iter().map(stored).collect())
    }

    fn allocate(&self, name: &str, bytes: u64, _between: &mut dyn FnMut()) -> Result<(), StorageError> {
        {
            let mut disk = self.disk();
            disk.usable("allocate", name)?;
            if let (_, Some(errno)) = disk.take_room(bytes as usize) {
                return Err(error(errno, "allocate", name));
            }
            let file = disk.new_file(name);
            let zeros = vec![0; bytes as usize];
            disk.files[file].current = zeros.clone();
            disk.files[file].unsynced.push((0, zeros));
            disk.sync(name)?;
            let state = &mut disk.files[file];
            state.durable = state.current.clone();
            state.unsynced.clear();
        }
        self.sync_directory()
    }

    fn create(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        let mut disk = self.disk();
        disk.usable("create", name)?;
        if let Some((0, errno)) = disk.room {
            return Err(error(errno, "create", name));
        }
        let file = disk.new_file(name);
        Ok(Box::new(CrashFile { disk: self.clone(), file, name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        let file = self.disk().find("open", name)?;
        Ok(Box::new(CrashFile { disk: self.clone(), file, name: name.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.find("rename", from)?;
        disk.change(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.find("remove", name)?;
        disk.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.sync("the directory")?;
        disk.name_changes.clear();
        disk.names_durable = disk.names.clone();
        Ok(())
    }

    fn salt(&self) -> u64 {
        let mut disk = self.disk();
        disk.salts += 1;
        next_random(&mut disk.salts.clone())
    }
}

struct CrashFile {
    disk: CrashDisk,
    file: usize,
    name: String,
}

fn assert_aligned(offset: u64, octets: &[u8]) {
    let page = PAGE_BYTES as u64;
    let aligned = [offset, octets.len() as u64, octets.as_ptr() as u64].iter().all(|value| value.is_multiple_of(page));
    assert!(aligned, "direct I/O wants whole pages: offset {offset}, {} octets at {:p}", octets.len(), octets.as_ptr());
}

impl StorageFile for CrashFile {
    fn bytes(&self) -> Result<u64, StorageError> {
        let disk = self.disk.disk();
        disk.usable("stat", &self.name)?;
        Ok(disk.files[self.file].current.len() as u64)
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, StorageError> {
        assert_aligned(offset, to);
        let disk = self.disk.disk();
        disk.usable("read", &self.name)?;
        let content = &disk.files[self.file].current;
        let from = content.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(to.len());
        to[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        assert_aligned(offset, octets);
        let mut disk = self.disk.disk();
        while disk.held {
            disk = self.disk.0.let_go.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
        disk.usable("write", &self.name)?;
        let (mut taken, mut refused) = disk.take_room(octets.len());
        if let Some(cut) = disk.cut_at_octet
            && disk.written + taken as u64 > cut
        {
            taken = (cut - disk.written) as usize;
            disk.frozen = true;
            refused = Some(Errno::IO);
        }
        disk.written += taken as u64;
        let file = &mut disk.files[self.file];
        put(&mut file.current, offset as usize, &octets[..taken]);
        file.unsynced.push((offset as usize, octets[..taken].to_vec()));
        refused.map_or(Ok(()), |errno| Err(error(errno, "write", &self.name)))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let mut disk = self.disk.disk();
        disk.sync(&self.name)?;
        // Only what was written: a segment is long, and each commit syncs it.
        let FileState { durable, unsynced, .. } = &mut disk.files[self.file];
        unsynced.drain(..).for_each(|(offset, octets)| put(durable, offset, &octets));
        Ok(())
    }
}

//! [`DropBox`]: the directory for what machines write. New files only, straight in it, each durable before anybody is told so.
//!
//! A file that is being written has a name that begins with `.upload-`, which no machine can give; what a crash leaves of those is removed at the start.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reveille_config::limit::DROPBOX_FILES_MAX;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::proto::path::SafePath;

const DRAFT: &str = ".upload-";

/// See the module.
#[derive(Debug)]
pub struct DropBox {
    directory: Arc<OwnedFd>,
    /// Octets of one file.
    pub file_bytes_max: u64,
    next: AtomicU64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DropBoxRefusal {
    /// A path with directories, or a hidden name.
    #[error("only plain names are taken, without directories")]
    Name,
    /// There is one of that name.
    #[error("there is a file of that name")]
    Exists,
    /// There are [`DROPBOX_FILES_MAX`].
    #[error("the drop-box is full")]
    Full,
    /// The disk's error.
    #[error("the drop-box cannot be written")]
    Disk(#[source] io::Error),
}

impl DropBoxRefusal {
    /// The word that metrics count it under.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Name => "write-name",
            Self::Exists => "write-exists",
            Self::Full => "write-full",
            Self::Disk(_) => "write-failed",
        }
    }

    fn of(errno: Errno) -> Self {
        match errno {
            Errno::EXIST => Self::Exists,
            errno => Self::Disk(errno.into()),
        }
    }
}

impl DropBox {
    /// Opens the directory and removes what an earlier run has left half written.
    ///
    /// # Errors
    /// It cannot be opened, read or written.
    pub fn open(directory: &Path, file_bytes_max: u64) -> io::Result<Self> {
        let directory =
            rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if entry.file_name().to_bytes().starts_with(DRAFT.as_bytes()) {
                rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(Self { directory: Arc::new(directory), file_bytes_max, next: AtomicU64::new(0) })
    }

    /// Begins a file of this name. Waits for the disk.
    ///
    /// # Errors
    /// See [`DropBoxRefusal`]; a file of that name that appears later is found by [`Draft::keep`].
    pub fn create(&self, path: &SafePath) -> Result<Draft, DropBoxRefusal> {
        let name = path.as_str();
        if name.contains('/') || name.starts_with('.') {
            return Err(DropBoxRefusal::Name);
        }
        let directory = &self.directory;
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Err(DropBoxRefusal::Exists),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(DropBoxRefusal::of(errno)),
        }
        let held = Dir::read_from(directory).map_err(DropBoxRefusal::of)?.take(DROPBOX_FILES_MAX + 2).count();
        // `.` and `..` are among them.
        if held >= DROPBOX_FILES_MAX + 2 {
            return Err(DropBoxRefusal::Full);
        }
        let draft = format!("{DRAFT}{}", self.next.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(directory, &draft, flags, Mode::from(0o640)).map_err(DropBoxRefusal::of)?;
        Ok(Draft { directory: self.directory.clone(), draft: Some(draft), name: name.to_owned(), file: fd.into() })
    }
}

/// A file that is being written; it is gone when this is dropped before it is kept.
#[derive(Debug)]
pub struct Draft {
    directory: Arc<OwnedFd>,
    draft: Option<String>,
    name: String,
    file: File,
}

impl Draft {
    /// Appends octets.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)
    }

    /// Makes the file durable under its name.
    ///
    /// # Errors
    /// There is a file of that name by now, or the disk's error.
    pub fn keep(mut self) -> Result<(), DropBoxRefusal> {
        self.file.sync_all().map_err(DropBoxRefusal::Disk)?;
        if let Some(draft) = &self.draft {
            let directory = &self.directory;
            rustix::fs::renameat_with(directory, draft, directory, &self.name, RenameFlags::NOREPLACE)
                .map_err(DropBoxRefusal::of)?;
            self.draft = None;
        }
        rustix::fs::fsync(&self.directory).map_err(DropBoxRefusal::of)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            // What is left here the next start removes.
            let _ = rustix::fs::unlinkat(&self.directory, draft, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::path::{Encoding, resolve};

    #[test]
    fn files_are_new_and_whole_and_straight_in_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".upload-9"), "half").unwrap();
        std::fs::write(dir.path().join("there"), "old").unwrap();
        let dropbox = DropBox::open(dir.path(), 10).unwrap();
        let create = |name: &str| dropbox.create(&resolve(name, Encoding::Plain).unwrap());
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["there"], "what was half written is gone");
        for (name, why) in [("a/b", "write-name"), (".hidden", "write-name"), ("there", "write-exists")] {
            assert_eq!(create(name).unwrap_err().label(), why, "{name}");
        }
        let (mut one, mut other, given_up) = (create("new").unwrap(), create("/new").unwrap(), create("no").unwrap());
        one.write(b"one").unwrap();
        other.write(b"other").unwrap();
        drop(given_up);
        one.keep().unwrap();
        assert_eq!(other.keep().unwrap_err().label(), "write-exists", "the first to be whole has the name");
        assert_eq!(names(), ["new", "there"]);
        assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), b"one");
    }
}

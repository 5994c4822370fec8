//! [`Environment`]: what the configuration refers to outside its file: files, directories and variables.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::limit::SECRET_BYTES_MAX;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; `mode` holds its permission bits.
    File {
        /// The permission bits, as in `chmod`.
        mode: u32,
    },
    /// A directory.
    Directory,
    /// A socket, a device …
    Other,
}

/// What [`crate::Config::parse`] asks about the world, so that tests need no files.
pub trait Environment {
    /// What `path` leads to, symbolic links followed; an error where nothing is there or it cannot be told.
    fn kind(&self, path: &Path) -> io::Result<Kind>;
    /// The text of the file that holds a secret, at most [`SECRET_BYTES_MAX`] octets.
    fn secret_file(&self, path: &Path) -> io::Result<Zeroizing<String>>;
    /// The value of an environment variable, where it is set and UTF-8.
    fn variable(&self, name: &str) -> Option<Zeroizing<String>>;
}

/// The real one: this host's files and this process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let metadata = std::fs::metadata(path)?;
        Ok(match metadata.file_type() {
            kind if kind.is_file() => Kind::File { mode: metadata.permissions().mode() & 0o7777 },
            kind if kind.is_dir() => Kind::Directory,
            _ => Kind::Other,
        })
    }

    fn secret_file(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX + 1));
        std::fs::File::open(path)?.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
        if text.len() > SECRET_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {SECRET_BYTES_MAX} octets")));
        }
        Ok(text)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        std::env::var(name).ok().map(Zeroizing::new)
    }
}

/// An imagined one for tests: exactly the files, directories and variables it was given.
#[derive(Clone, Default)]
pub struct Imagined {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, (u32, String)>,
    variables: BTreeMap<String, String>,
    all_directories: bool,
}

impl Imagined {
    /// Every directory exists; no file and no variable does.
    pub fn with_all_directories() -> Self {
        Self { all_directories: true, ..Self::default() }
    }

    /// Adds a directory.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directories.insert(path.into());
        self
    }

    /// Adds a file with its permission bits.
    pub fn file(mut self, path: impl Into<PathBuf>, mode: u32, content: impl Into<String>) -> Self {
        self.files.insert(path.into(), (mode, content.into()));
        self
    }

    /// Sets a variable.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl Environment for Imagined {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        match self.files.get(path) {
            Some(&(mode, _)) => Ok(Kind::File { mode }),
            None if self.all_directories || self.directories.contains(path) => Ok(Kind::Directory),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn secret_file(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let (_, content) = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Zeroizing::new(content.clone()))
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        self.variables.get(name).cloned().map(Zeroizing::new)
    }
}

//! [`Catalogue`]: the directories whose files are served, and how a file of theirs is opened.
//!
//! Read only. A [`SafePath`] is opened below a root with `openat2` and `RESOLVE_BENEATH`: the kernel follows links as long as they stay
//! below the root (a stock Ironic conductor writes relative links) and refuses those that leave it. A root is held open, so renaming
//! it does not change what is served until the next reload.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::copies::Version;
use super::images::{IMAGES, SHA256, digest_of_link};
use crate::proto::digest::Digest;
use crate::proto::http::Validators;
use crate::proto::path::SafePath;

/// The roots, in the order in which they are searched.
#[derive(Debug)]
pub struct Catalogue {
    roots: Vec<OwnedFd>,
}

/// A root cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the directory {path} (bootd.roots); it must exist and be readable", path = .path.display())]
pub struct CatalogueError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Whether an answer may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Only what the kernel has in memory: for threads that serve others.
    Cached,
    /// However long it takes: for a thread of its own.
    Blocking,
}

/// What was found.
#[derive(Debug)]
pub enum Lookup {
    /// A regular file.
    Found(OpenFile),
    /// No such file, or not a regular one.
    Absent,
    /// A link leads out of the root.
    Escape,
    /// The file is there but may not be read.
    Forbidden,
    /// Only who shows a signature may have it.
    Guarded,
    /// It cannot be told without waiting for the disk ([`Patience::Cached`] only).
    WouldBlock,
    /// The system refuses: too many open files, an input/output error.
    Failed(std::io::Error),
}

impl Catalogue {
    /// Opens the roots.
    ///
    /// # Errors
    /// The first root that is not a directory or may not be opened.
    pub fn open(roots: &[PathBuf]) -> Result<Self, CatalogueError> {
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| CatalogueError { path: path.to_owned(), source: errno.into() })
        };
        Ok(Self { roots: roots.iter().map(|path| open(path)).collect::<Result<_, _>>()? })
    }

    /// Opens the file in the first root that has it.
    pub fn find(&self, path: &SafePath, patience: Patience) -> Lookup {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if patience == Patience::Cached {
            resolve |= ResolveFlags::CACHED;
        }
        // NONBLOCK: opening a FIFO that somebody left there must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let image = ImagePath::parse(path.as_str());
        for root in &self.roots {
            // A name is read once, and what it meant then is opened: it may mean another image a moment later.
            let digest = match image {
                Some(ImagePath::Digest(digest)) => Some(digest),
                Some(ImagePath::Name) => link_target(root, path, resolve).and_then(|target| digest_of_link(&target)),
                None => None,
            };
            let own = digest.map(|digest| format!("{IMAGES}/{SHA256}/{digest}"));
            let path = own.as_deref().unwrap_or(path.as_str());
            return match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                Ok(fd) => match OpenFile::new(fd) {
                    Ok(Some(mut file)) => {
                        if let Some(digest) = digest {
                            file.validators.etag = format!("\"sha256-{digest}\"");
                        }
                        Lookup::Found(file)
                    }
                    Ok(None) => continue,
                    Err(errno) => Lookup::Failed(errno.into()),
                },
                // NXIO: a socket; LOOP: a circle of links.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO | Errno::LOOP) => continue,
                Err(Errno::AGAIN) if patience == Patience::Cached => Lookup::WouldBlock,
                Err(Errno::XDEV) => Lookup::Escape,
                Err(Errno::ACCESS | Errno::PERM) => Lookup::Forbidden,
                Err(errno) => Lookup::Failed(errno.into()),
            };
        }
        Lookup::Absent
    }

    /// Whether the kernel can open files this way at all (Linux 5.6 and later, and no seccomp filter against it).
    pub fn is_supported() -> Result<(), std::io::Error> {
        rustix::fs::openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH)?;
        Ok(())
    }
}

/// A path that may be one of a content-addressed image.
#[derive(Clone, Copy)]
enum ImagePath {
    /// `images/sha256/<digest>`.
    Digest(Digest),
    /// `images/<name>`, which may be a link to one.
    Name,
}

impl ImagePath {
    fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(IMAGES)?.strip_prefix('/')?;
        match digest_of_link(rest) {
            Some(digest) => Some(Self::Digest(digest)),
            None => (!rest.contains('/')).then_some(Self::Name),
        }
    }
}

/// Where a link leads, if the path is one and that can be told with this patience.
fn link_target(root: &OwnedFd, path: &SafePath, resolve: ResolveFlags) -> Option<String> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = rustix::fs::openat2(root, path.as_str(), flags, Mode::empty(), resolve).ok()?;
    rustix::fs::readlinkat(link, "", Vec::new()).ok()?.into_string().ok()
}

/// A regular file, held open: what is served stays the same file whatever happens to its name.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    /// Octets when it was opened.
    pub bytes: u64,
    /// What identifies its contents, as of then.
    pub validators: Validators,
    modified_unix_nanos: i128,
    /// The file system knows no reads that do not wait.
    always_blocks: AtomicBool,
}

/// See [`OpenFile::is_in_memory`].
const SAMPLED_BYTES: usize = 256 << 10;

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What a read that may not wait came to.
#[derive(Debug)]
pub enum ReadNow {
    /// All of it.
    Done,
    /// Not (all) in memory: read it on a thread that may wait.
    WouldBlock,
    /// The file has become shorter.
    Short,
    /// The disk's error.
    Failed(std::io::Error),
}

impl OpenFile {
    /// A file that is open already, however it may be used.
    #[cfg(test)]
    pub(crate) fn for_tests(file: File) -> Self {
        Self::new(file.into()).unwrap().expect("a regular file")
    }

    /// None: not a regular file.
    fn new(fd: OwnedFd) -> Result<Option<Self>, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(None);
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let modified_unix_nanos = modified(&stat);
        Ok(Some(Self {
            file: fd.into(),
            bytes,
            validators: Validators::of_file(stat.st_ino, bytes, modified_unix_nanos),
            modified_unix_nanos,
            always_blocks: AtomicBool::new(false),
        }))
    }

    /// A whole copy of a version of an upstream's file; none if it has another length.
    pub(super) fn of_version(file: File, version: &Version) -> Option<Self> {
        let own = Self::new(file.into()).ok()??;
        let validators = version.validators();
        (own.bytes == validators.bytes).then_some(Self { validators, ..own })
    }

    /// Fills the buffers from `offset` with what is in memory. A part of it is no use to a caller: then it would block.
    pub fn read_now(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> ReadNow {
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if wanted == 0 {
            return ReadNow::Done;
        }
        if self.always_blocks.load(Ordering::Relaxed) {
            return ReadNow::WouldBlock;
        }
        match rustix::io::preadv2(&self.file, buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(n) if n == wanted => ReadNow::Done,
            Ok(0) => ReadNow::Short,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => ReadNow::WouldBlock,
            Err(Errno::OPNOTSUPP | Errno::INVAL) => {
                self.always_blocks.store(true, Ordering::Relaxed);
                ReadNow::WouldBlock
            }
            Err(errno) => ReadNow::Failed(errno.into()),
        }
    }

    /// Whether the octets `offset..offset + bytes` can be sent without waiting for the disk, as far as samples tell: one octet of each
    /// [`SAMPLED_BYTES`], and the last. What was dropped between two samples, or after them, costs whoever sends it one wait.
    pub fn is_in_memory(&self, offset: u64, bytes: usize) -> ReadNow {
        let last = bytes.saturating_sub(1);
        for at in (0..last).step_by(SAMPLED_BYTES).chain([last]) {
            match self.read_now(&mut [IoSliceMut::new(&mut [0])], offset + at as u64) {
                ReadNow::Done => {}
                other => return other,
            }
        }
        ReadNow::Done
    }

    /// Fills the buffer from `offset`, however long that takes.
    ///
    /// # Errors
    /// The disk's error; `UnexpectedEof` where the file has become shorter.
    pub fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    /// Whether the file is as it was when it was opened. Asked before the last octets of a download go out: one that was overwritten in
    /// place meanwhile may have mixed old and new octets and must not look complete.
    pub fn is_unchanged(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| {
            modified(&stat) == self.modified_unix_nanos && u64::try_from(stat.st_size) == Ok(self.bytes)
        })
    }
}

fn modified(stat: &rustix::fs::Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::path::{Encoding, resolve};
    use std::os::unix::fs::symlink;

    fn found(catalogue: &Catalogue, path: &str) -> String {
        match catalogue.find(&resolve(path, Encoding::Plain).unwrap(), Patience::Blocking) {
            Lookup::Found(file) => {
                let mut text = vec![0; file.bytes as usize];
                file.read_blocking(&mut text, 0).unwrap();
                String::from_utf8(text).unwrap()
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn finds_below_the_roots_only() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir_all(one.join("sub")).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(one.join("sub/file"), "from one").unwrap();
        std::fs::write(two.join("file"), "from two").unwrap();
        std::fs::create_dir(two.join("sub")).unwrap();
        std::fs::write(two.join("sub/file"), "hidden by one").unwrap();
        symlink("sub/file", one.join("inside")).unwrap();
        symlink("../inside", one.join("sub/up-and-back")).unwrap();
        symlink("../secret", one.join("outside")).unwrap();
        symlink(dir.path().join("secret"), one.join("absolute")).unwrap();
        symlink("/proc/self/root/etc/passwd", one.join("magic")).unwrap();
        symlink("circle", one.join("circle")).unwrap();
        rustix::fs::mknodat(CWD, one.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let catalogue = Catalogue::open(&[one, two]).unwrap();
        for (path, expected) in [
            ("sub/file", "from one"),
            ("file", "from two"),
            ("inside", "from one"),
            ("sub/up-and-back", "from one"),
            ("outside", "Escape"),
            ("absolute", "Escape"),
            ("magic", "Escape"),
            ("circle", "Absent"),
            ("fifo", "Absent"),
            ("sub", "Absent"),
            ("sub/file/x", "Absent"),
            ("missing", "Absent"),
        ] {
            assert_eq!(found(&catalogue, path), expected, "{path}");
        }
    }

    #[test]
    fn notices_a_change_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, "old").unwrap();
        let catalogue = Catalogue::open(&[dir.path().to_owned()]).unwrap();
        let open = || match catalogue.find(&resolve("image", Encoding::Plain).unwrap(), Patience::Blocking) {
            Lookup::Found(file) => file,
            other => panic!("{other:?}"),
        };
        let replaced = open();
        std::fs::write(dir.path().join("new"), "new").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        let mut text = [0; 3];
        replaced.read_blocking(&mut text, 0).unwrap();
        assert!(replaced.is_unchanged() && &text == b"old", "a file that was replaced by name is served to its end");
        let truncated = open();
        assert_ne!(truncated.validators, replaced.validators);
        std::fs::write(&path, "n").unwrap();
        assert!(!truncated.is_unchanged());
        let error = truncated.read_blocking(&mut text, 0).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_missing_root_is_named() {
        let error = Catalogue::open(&["/does/not/exist".into()]).unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }
}

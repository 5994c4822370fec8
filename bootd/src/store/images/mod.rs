//! [`Images`]: content-addressed images below a root: `images/sha256/<digest>`, and names that are relative links to them, `images/<name>`.
//!
//! What makes images, names and removes them works on the directory, beside a bootd that serves it; it needs no daemon. Everything takes effect by one
//! rename or unlink, so who reads sees the old or the new and nothing between. Invariant: the octets of a file below `sha256/` are those that its name says, unless
//! the disk has changed them ([`Images::verify`] tells), and never change.

mod ingest;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

pub use self::ingest::Ingest;
use crate::proto::digest::{Digest, Hasher};

/// Octets of a name.
const NAME_BYTES_MAX: usize = 128;
/// The directory of images below a root.
pub(super) const IMAGES: &str = "images";
/// The directory of the digests below that.
pub(super) const SHA256: &str = "sha256";
/// How a file begins that is not whole yet.
const UNFINISHED: &str = ".new-";
/// Octets hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The images of one root.
#[derive(Debug)]
pub struct Images {
    dir: PathBuf,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is.
    pub digest: Digest,
    /// Octets.
    pub bytes: u64,
    /// What it is called, in the order of the alphabet.
    pub names: Vec<String>,
    /// When it was added, Unix seconds.
    pub added_unix: u64,
}

/// Why something was not done; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The disk or the directory.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The octets are not those that were promised.
    #[error("the SHA-256 is {found}, not {expected}: nothing was added")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// No name.
    #[error(
        "{0:?} is no name of an image: letters, digits, `.`, `_` and `-`, no `.` first, {NAME_BYTES_MAX} octets at most, and not `{SHA256}`"
    )]
    Name(String),
    /// Something else has the name.
    #[error("{} is there and is no name of an image; remove it, or choose another name", .0.display())]
    Taken(PathBuf),
    /// There is none.
    #[error("there is no image {0}; see: reveille image list")]
    Absent(String),
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Disk { path, source }
}

impl Images {
    /// The images below a root; the directories are made where they are missing.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let dir = root.join(IMAGES);
        let digests = dir.join(SHA256);
        DirBuilder::new().recursive(true).mode(0o755).create(&digests).map_err(disk(&digests))?;
        Ok(Self { dir })
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(SHA256).join(digest.to_string())
    }

    /// Held while names and files change, so that two commands do not meet.
    fn lock(&self) -> Result<File, ImageError> {
        let path = self.dir.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(disk(&path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| disk(&path)(errno.into()))?;
        Ok(file)
    }

    /// Begins an image; it is there once it is finished.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn begin(&self) -> Result<Ingest<'_>, ImageError> {
        Ingest::begin(self)
    }

    /// Whether a text can be an image's name.
    ///
    /// # Errors
    /// [`ImageError::Name`].
    pub fn check_name(name: &str) -> Result<(), ImageError> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        let good = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with('.')
            && name != SHA256;
        if good { Ok(()) } else { Err(ImageError::Name(name.into())) }
    }

    /// Has the name mean this image from now on; downloads under way go on with what they began with. The caller holds the lock.
    fn name(&self, name: &str, digest: Digest) -> Result<(), ImageError> {
        Self::check_name(name)?;
        let path = self.dir.join(name);
        match path.symlink_metadata() {
            Ok(found) if !found.is_symlink() || self.target(name).is_none() => return Err(ImageError::Taken(path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(disk(&path)(error)),
        }
        let link = self.dir.join(format!("{UNFINISHED}name-{}", std::process::id()));
        let _ = std::fs::remove_file(&link);
        symlink(format!("{SHA256}/{digest}"), &link).map_err(disk(&link))?;
        std::fs::rename(&link, &path).map_err(disk(&path))?;
        sync(&self.dir)
    }

    /// Which image a name means.
    fn target(&self, name: &str) -> Option<Digest> {
        let target = std::fs::read_link(self.dir.join(name)).ok()?;
        digest_of_link(target.to_str()?)
    }

    /// Every image, in the order of the digests.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let mut images = BTreeMap::new();
        for (name, metadata) in entries(&self.dir.join(SHA256))? {
            // Its name is the digest as we write it; anything else there is not ours.
            if let Some(digest) = name.parse::<Digest>().ok().filter(|digest| digest.to_string() == name) {
                let added_unix = unix_secs(metadata.modified());
                images.insert(digest, Image { digest, bytes: metadata.len(), names: Vec::new(), added_unix });
            }
        }
        for (name, metadata) in entries(&self.dir)? {
            if metadata.is_symlink()
                && let Some(image) = self.target(&name).and_then(|digest| images.get_mut(&digest))
            {
                image.names.push(name);
            }
        }
        images.values_mut().for_each(|image| image.names.sort());
        Ok(images.into_values().collect())
    }

    /// The image of a name or a digest.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn find(&self, name: &str) -> Result<Image, ImageError> {
        let wanted = name.parse::<Digest>().ok();
        let found = self
            .list()?
            .into_iter()
            .find(|image| wanted == Some(image.digest) || image.names.iter().any(|own| own == name));
        found.ok_or_else(|| ImageError::Absent(name.into()))
    }

    /// Takes a name away; an image that nothing names any more stays until [`Images::collect`]. By its digest, an image goes with all its names.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn remove(&self, name: &str) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        let image = self.find(name)?;
        let by_digest = name.parse::<Digest>().is_ok() && !image.names.iter().any(|own| own == name);
        for own in image.names.iter().filter(|own| by_digest || *own == name) {
            let path = self.dir.join(own);
            std::fs::remove_file(&path).map_err(disk(&path))?;
        }
        if by_digest {
            let path = self.path(image.digest);
            std::fs::remove_file(&path).map_err(disk(&path))?;
            sync(&self.dir.join(SHA256))?;
        }
        sync(&self.dir)
    }

    /// Reads an image and says whether it still is what its name says; tells how far it has come.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn verify(&self, image: &Image, mut progress: impl FnMut(u64)) -> Result<bool, ImageError> {
        let path = self.path(image.digest);
        let mut file = File::open(&path).map_err(disk(&path))?;
        let (mut hasher, mut chunk) = (Hasher::default(), vec![0; CHUNK_BYTES]);
        loop {
            match file.read(&mut chunk).map_err(disk(&path))? {
                0 => return Ok(hasher.finish() == image.digest),
                read => {
                    hasher.update(&chunk[..read]);
                    progress(read as u64);
                }
            }
        }
    }

    /// Removes images that nothing names and that were added `age` ago or earlier, and what was left unfinished then. Tells what went.
    ///
    /// # Errors
    /// See [`ImageError`]; what went before it is gone.
    pub fn collect(&self, age: Duration, now: SystemTime) -> Result<Vec<Image>, ImageError> {
        let _lock = self.lock()?;
        let is_old = |then: u64| unix_secs(Ok(now)).saturating_sub(then) >= age.as_secs();
        let digests = self.dir.join(SHA256);
        for (name, metadata) in entries(&digests)? {
            if name.starts_with(UNFINISHED) && is_old(unix_secs(metadata.modified())) {
                let path = digests.join(name);
                std::fs::remove_file(&path).map_err(disk(&path))?;
            }
        }
        let unnamed = self.list()?.into_iter().filter(|image| image.names.is_empty() && is_old(image.added_unix));
        let mut gone = Vec::new();
        for image in unnamed {
            let path = self.path(image.digest);
            std::fs::remove_file(&path).map_err(disk(&path))?;
            gone.push(image);
        }
        sync(&digests)?;
        Ok(gone)
    }
}

/// The digest that a name's link leads to, where it is one of ours.
pub(super) fn digest_of_link(target: &str) -> Option<Digest> {
    target.strip_prefix(SHA256)?.strip_prefix('/')?.parse().ok()
}

/// Names and metadata (links not followed) of a directory; what is not UTF-8 is not ours.
fn entries(dir: &Path) -> Result<Vec<(String, Metadata)>, ImageError> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(disk(dir))? {
        let entry = entry.map_err(disk(dir))?;
        match (entry.file_name().into_string(), entry.metadata()) {
            (Ok(name), Ok(metadata)) => all.push((name, metadata)),
            // It has gone meanwhile.
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            (_, Err(error)) => return Err(disk(&entry.path())(error)),
            (Err(_), _) => {}
        }
    }
    Ok(all)
}

fn sync(dir: &Path) -> Result<(), ImageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk(dir))
}

fn unix_secs(time: io::Result<SystemTime>) -> u64 {
    time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;

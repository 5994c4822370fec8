//! [`Ingest`]: an image on its way in: octets into a file beside the images, hashed as they come, and at the end one rename.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ImageError, Images, SHA256, UNFINISHED, disk, sync};
use crate::proto::digest::{Digest, Hasher};

/// An image on its way in. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Ingest<'a> {
    images: &'a Images,
    path: PathBuf,
    file: File,
    hasher: Hasher,
}

impl<'a> Ingest<'a> {
    pub(super) fn begin(images: &'a Images) -> Result<Self, ImageError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{UNFINISHED}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = images.dir.join(SHA256).join(name);
        // What a process of the same number left behind.
        let _ = std::fs::remove_file(&path);
        let file = File::options().write(true).create_new(true).mode(0o444).open(&path).map_err(disk(&path))?;
        Ok(Self { images, path, file, hasher: Hasher::default() })
    }

    /// More octets.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(octets);
        self.file.write_all(octets).map_err(disk(&self.path))
    }

    /// The octets have all come: checks them against what was promised, puts the image in place, durable, and has the name mean it.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn finish(self, expected: Option<Digest>, name: Option<&str>) -> Result<Digest, ImageError> {
        name.map_or(Ok(()), Images::check_name)?;
        let found = self.hasher.clone().finish();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ImageError::Mismatch { expected, found });
        }
        self.file.sync_all().map_err(disk(&self.path))?;
        let _lock = self.images.lock()?;
        let path = self.images.path(found);
        // The same octets over the same octets: whoever has the old file open goes on with it.
        std::fs::rename(&self.path, &path).map_err(disk(&path))?;
        sync(&self.images.dir.join(SHA256))?;
        if let Some(name) = name {
            self.images.name(name, found)?;
        }
        Ok(found)
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _ = std::fs::remove_file(&self.path);
    }
}

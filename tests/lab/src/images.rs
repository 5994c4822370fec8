//! The two guest images: what a machine runs while it is deployed, and what it is deployed with.
//!
//! [`ensure_agent_image`] is Debian with the unmodified ironic-python-agent, a kernel and an initial root that a boot
//! server hands out. [`ensure_os_image`] is a small whole-disk image that says on its serial line, as a [`BootMarker`],
//! which build booted from which disk under which host name. Both are made by the shell scripts of `images/`, which this
//! program carries in itself, from Debian's packages and the Python package index; they need root.
//!
//! An image is kept in [`cache_dir`](crate::packages::cache_dir) under a key over everything that goes into its build,
//! so that a changed recipe makes a new image. What they deliberately do not do: follow the archives. A cached image
//! stays as it is until its recipe changes or its directory is removed.

mod cache;
mod marker;
mod recipe;

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

pub use cache::ImageError;
pub use marker::BootMarker;

/// How far the making of an image is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Which image: `agent` or `os`.
    pub image: &'static str,
    /// What is being done, in a few words.
    pub phase: String,
    /// How much is done, 0 to 1: an estimate from what each phase usually takes. It never falls.
    pub fraction: f64,
}

/// The agent's guest, for a boot server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentImage {
    /// Its kernel, a bzImage. It wants `console=ttyS0` and the agent's `ipa-…` parameters on its line.
    pub kernel: PathBuf,
    /// Its initial root, a cpio archive.
    pub initramfs: PathBuf,
}

/// The operating system, as a raw disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OsImage {
    /// The image: an MBR, one active partition, a boot loader.
    pub path: PathBuf,
    /// The SHA-256 of the file, lowercase hexadecimal.
    pub sha256: String,
    /// Its size, bytes; at most 64 MiB.
    pub size_bytes: u64,
    /// A digest of what its partition holds: 16 hexadecimal digits, which a guest says in its [`BootMarker`].
    pub build_id: String,
    /// What the line of a guest that booted this image from its disk contains: [`BootMarker::parse`] reads the line.
    pub marker: &'static str,
}

/// The agent image, built if the cache has none: about a minute, and some 150 MB of downloads.
///
/// # Errors
/// When the build fails, with the end of its log; nothing half-made stays.
pub fn ensure_agent_image(progress: &mut dyn FnMut(Progress)) -> Result<AgentImage, ImageError> {
    let dir = cache::ensure(&recipe::AGENT, progress)?;
    Ok(AgentImage { kernel: dir.join("deploy.kernel"), initramfs: dir.join("deploy.initramfs") })
}

/// The operating-system image, built if the cache has none: a few seconds.
///
/// # Errors
/// When the build fails, with the end of its log; nothing half-made stays.
pub fn ensure_os_image(progress: &mut dyn FnMut(Progress)) -> Result<OsImage, ImageError> {
    let dir = cache::ensure(&recipe::OS, progress)?;
    let word = |name: &str| {
        let path = dir.join(name);
        let text = fs::read_to_string(&path).map_err(ImageError::io(format!("read {}", path.display())))?;
        Ok::<_, ImageError>(text.split_whitespace().next().unwrap_or_default().to_owned())
    };
    let (sha256, build_id) = (word("os.raw.sha256")?, word("build-id")?);
    let path = dir.join("os.raw");
    let meta = fs::metadata(&path).map_err(ImageError::io(format!("look at {}", path.display())))?;
    Ok(OsImage { path, sha256, size_bytes: meta.len(), build_id, marker: BootMarker::WORD })
}

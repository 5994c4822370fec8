//! [`Unfinished`]: what had come of a file when the daemon ended, so that its fetch goes on there.
//!
//! A record beside the octets says of which version they are. It counts within one run of the kernel only: a daemon that is killed leaves behind what it wrote, a
//! machine that loses its power may not, and syncing the octets of each fetch as they come would cost more than the rare second fetch.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::arriving::Version;

/// A file whose fetch has not come to its end.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) id: u64,
    pub(super) version: Version,
    /// Octets that are there, from the first on.
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: String,
    version: Version,
    /// Which run of the kernel.
    boot: String,
}

/// Writes the record of a file that begins to come.
///
/// # Errors
/// The disk's; without the record the fetch begins anew after a restart.
pub(super) fn write(record: &Path, path: &str, version: &Version) -> io::Result<()> {
    let own = Record { path: path.to_owned(), version: version.clone(), boot: boot()? };
    std::fs::write(record, serde_json::to_vec(&own)?)
}

/// The path of an unfinished file and what there is of it; none: nothing that could be gone on with.
pub(super) fn read(id: u64, record: &Path, data: &Path) -> Option<(String, Unfinished)> {
    let Record { path, version, boot: then } = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    let bytes = std::fs::metadata(data).ok()?.len();
    let goes_on = version.validator.is_some() && bytes > 0 && bytes <= version.bytes && boot().ok()? == then;
    goes_on.then_some((path, Unfinished { id, version, bytes }))
}

/// A name for this run of the kernel (random(4)).
fn boot() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

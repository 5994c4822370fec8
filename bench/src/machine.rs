//! What the figures were measured on, and how long that disk takes to keep a promise.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use reveille_dhcpd::store::journal::{AlignedBuffer, FileStorage, PAGE_BYTES, Storage};
use serde_json::{Value, json};

use crate::histogram::Histogram;

/// Syncs that are timed.
const SYNCS: usize = 300;
/// Pages that paced writes go to in turn.
const PACED_PAGES: u64 = 1_024;

/// The processor, the kernel, the cores, the disk below `directory`, and how busy the machine is.
///
/// # Errors
/// /proc is not there.
pub fn describe(directory: &Path) -> anyhow::Result<Value> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let cpuinfo = read("/proc/cpuinfo")?;
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let load: f64 = read("/proc/loadavg")?.split(' ').next().unwrap_or("0").parse()?;
    Ok(json!({
        "processor": processor.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism()?.get(),
        "kernel": read("/proc/sys/kernel/osrelease")?.trim(),
        "disk": disk(directory)?,
        "load_average_at_start": load,
    }))
}

/// The file system and the device below a directory, e.g. `ext4 on /dev/vda`.
fn disk(directory: &Path) -> anyhow::Result<String> {
    let device = fs::metadata(directory)?.dev();
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let found = mounts.lines().find_map(|line| {
        let (place, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        (place.split(' ').nth(2)? == wanted).then(|| Some(format!("{} on {}", source.next()?, source.next()?)))?
    });
    Ok(found.unwrap_or_else(|| format!("device {wanted}")))
}

/// How long writing 4 KiB into a file that is there and fdatasync take, microseconds: median and 99th percentile.
///
/// # Errors
/// The directory cannot be written.
pub fn fdatasync_micros(directory: &Path) -> anyhow::Result<(f64, f64)> {
    let path = directory.join("fdatasync");
    let file = File::options().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; SYNCS * 4096], 0)?;
    file.sync_all()?;
    let mut histogram = Histogram::default();
    for at in 0..SYNCS {
        let begin = Instant::now();
        file.write_all_at(&[at as u8; 4096], (at * 4096) as u64)?;
        file.sync_data()?;
        histogram.add(begin.elapsed().as_nanos() as u64);
    }
    drop(file);
    fs::remove_file(path)?;
    Ok((histogram.micros_at(0.5), histogram.micros_at(0.99)))
}

/// How long a durable write of 4 KiB takes, as the journal does it (past the page cache, into blocks that are there), one each millisecond for `time`.
///
/// # Errors
/// The directory cannot be written, or its file system knows no direct writes.
pub fn paced_sync(directory: &Path, time: Duration) -> anyhow::Result<Histogram> {
    let storage = FileStorage::open(&directory.join("paced-sync")).context("cannot measure the disk")?;
    storage.allocate("file", PACED_PAGES * PAGE_BYTES as u64, &mut || {})?;
    let mut file = storage.open("file")?;
    let page = AlignedBuffer::zeroed(PAGE_BYTES);
    let mut histogram = Histogram::default();
    let (begin, mut at) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let write = Instant::now();
        file.write_durable((at % PACED_PAGES) * PAGE_BYTES as u64, page.as_slice())?;
        histogram.add(write.elapsed().as_nanos() as u64);
        at += 1;
        std::thread::sleep(Duration::from_millis(1).saturating_sub(write.elapsed()));
    }
    drop(file);
    fs::remove_dir_all(directory.join("paced-sync"))?;
    Ok(histogram)
}

//! What `open` does: finds the files, replays them, decides between a torn tail and damage, and leaves a directory that can be written on.
//!
//! It changes nothing before everything was read and judged. Invariant: what replay shows is durable when it returns (rule R7).

use super::aligned::AlignedBuffer;
use super::format::{FileHeader, FileName, HeaderError, PAGE_BYTES, Purpose};
use super::reader::{BlockReader, read_header};
use super::segments::{LiveSegment, OpenSegment};
use super::storage::{Storage, StorageError};
use super::{OpenError, Recovered, Sequence};

/// Receives each record of the snapshot (with the sequence that the snapshot covers), then each later record of the log.
pub type Replay<'a> = &'a mut dyn FnMut(Sequence, u8, &[u8]);

/// What the record of a plain binding takes in a segment, or less.
const BIND_BYTES: u64 = 32;

/// Is told about how many records there may be, before the first of them: as many as there is room for.
pub type Expect<'a> = &'a mut dyn FnMut(usize);

/// What recovery hands to the running journal.
pub(super) struct Found {
    pub(super) journal: u64,
    /// The sequence that the next record gets.
    pub(super) next: Sequence,
    pub(super) live: Vec<LiveSegment>,
    /// `None`: the directory was empty.
    pub(super) open: Option<OpenSegment>,
    pub(super) spares: Vec<(FileName, u64)>,
    pub(super) next_number: u64,
    pub(super) report: Recovered,
}

/// A file with a good header.
struct Headed {
    name: FileName,
    header: FileHeader,
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> OpenError {
        OpenError::Storage(error)
    }
}

fn corrupt(name: FileName, offset: u64, what: impl Into<String>) -> OpenError {
    OpenError::Corrupt { file: name.to_string(), offset, what: what.into() }
}

/// Reads and checks the header of a log segment or snapshot (crash case C22).
fn headed(storage: &dyn Storage, name: FileName, bytes: u64) -> Result<Headed, OpenError> {
    let header = read_header(storage.open(&name.to_string())?.as_ref())?.map_err(|error| match error {
        HeaderError::Version(found) => OpenError::Version { file: name.to_string(), found },
        error => corrupt(name, 0, error.to_string()),
    })?;
    let named = match name {
        FileName::Log(number) => header.purpose == Purpose::Log && header.number == number,
        FileName::Snapshot(covered) => header.purpose == Purpose::Snapshot && header.number == covered,
        _ => false,
    };
    if !named {
        return Err(corrupt(name, 24, "its header does not fit its name"));
    }
    if bytes != header.bytes {
        return Err(corrupt(
            name,
            bytes.min(header.bytes),
            format!("it has {bytes} octets, its header says {}", header.bytes),
        ));
    }
    Ok(Headed { name, header })
}

/// Recovers a directory (docs/journal-format.md, "Rules" and "Crash cases").
pub(super) fn recover(storage: &dyn Storage, expect: Expect<'_>, replay: Replay<'_>) -> Result<Found, OpenError> {
    let mut logs = Vec::new();
    let mut snapshots = Vec::new();
    let mut spares = Vec::new();
    let mut leftovers = Vec::new();
    let mut next_number = 1;
    for file in storage.list()? {
        match FileName::parse(&file.name) {
            Some(name @ FileName::Log(number)) => {
                next_number = next_number.max(number + 1);
                logs.push((name, file.bytes));
            }
            Some(name @ FileName::Spare(number)) => {
                next_number = next_number.max(number + 1);
                spares.push((name, file.bytes));
            }
            Some(name @ FileName::Snapshot(_)) => snapshots.push((name, file.bytes)),
            Some(FileName::SnapshotUnfinished) => leftovers.push(FileName::SnapshotUnfinished),
            None => {}
        }
    }
    logs.sort_unstable();
    snapshots.sort_unstable();

    // Only the newest snapshot counts: it got its name when it was complete (C17, C18).
    let snapshot = snapshots.pop().map(|(name, bytes)| headed(storage, name, bytes)).transpose()?;
    leftovers.extend(snapshots.into_iter().map(|(name, _)| name));
    let logs = logs.into_iter().map(|(name, bytes)| headed(storage, name, bytes)).collect::<Result<Vec<_>, _>>()?;

    let mut all = snapshot.iter().chain(&logs);
    let journal = all.next().map_or_else(|| storage.salt(), |first| first.header.journal);
    if let Some(foreign) = all.find(|file| file.header.journal != journal) {
        return Err(corrupt(foreign.name, 16, "it belongs to another journal"));
    }

    let mut report = Recovered::default();
    let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.header.follows);
    // Segments that end at or before what the snapshot covers are not needed (C19).
    let unneeded = logs.windows(2).take_while(|pair| pair[1].header.follows <= covered).count();
    let (unneeded, needed) = logs.split_at(unneeded);
    expect(records_at_most(snapshot.as_ref(), needed));
    if let Some(snapshot) = &snapshot {
        report.snapshot_sequence = Some(covered);
        report.snapshot_bytes = snapshot.header.bytes;
        report.snapshot_records = replay_snapshot(storage, snapshot, replay)?;
    }

    let open = replay_log(storage, covered, needed, replay, &mut report)?;
    if open.is_none() && snapshot.is_some() {
        return Err(OpenError::Missing { what: format!("all log segments after sequence {covered}") });
    }

    for file in leftovers.into_iter().chain(unneeded.iter().map(|file| file.name)) {
        storage.remove(&file.to_string())?;
    }
    storage.sync_directory()?;

    let (next, open) = open.map_or((1, None), |(next, open)| (next, Some(open)));
    report.last_sequence = next - 1;
    report.segments = needed.len();
    let live =
        needed.iter().map(|file| LiveSegment { number: file.header.number, follows: file.header.follows }).collect();
    Ok(Found { journal, next, live, open, spares, next_number, report })
}

/// The snapshot's records, and as many as the segments have room for.
fn records_at_most(snapshot: Option<&Headed>, needed: &[Headed]) -> usize {
    let records = snapshot.map_or(0, |snapshot| snapshot.header.first);
    let octets: u64 = needed.iter().map(|segment| segment.header.bytes).sum();
    usize::try_from(records.saturating_add(octets / BIND_BYTES)).unwrap_or(0)
}

fn replay_snapshot(storage: &dyn Storage, snapshot: &Headed, replay: Replay<'_>) -> Result<u64, OpenError> {
    let mut reader = BlockReader::new(storage.open(&snapshot.name.to_string())?, &snapshot.header);
    while let Some(block) = reader.next_block()? {
        for (_, kind, payload) in block.records() {
            replay(snapshot.header.follows, kind, payload);
        }
    }
    let records = reader.next_sequence() - 1;
    if records != snapshot.header.first || reader.offset() != snapshot.header.bytes {
        let what = format!("a block is damaged; {records} of {} records are before it", snapshot.header.first);
        return Err(corrupt(snapshot.name, reader.offset(), what));
    }
    Ok(records)
}

/// Replays the chain of segments and opens the last for writing. `None` without any segment.
fn replay_log(
    storage: &dyn Storage,
    covered: Sequence,
    needed: &[Headed],
    replay: Replay<'_>,
    report: &mut Recovered,
) -> Result<Option<(Sequence, OpenSegment)>, OpenError> {
    let Some(first) = needed.first() else { return Ok(None) };
    if first.header.follows > covered {
        let what = format!("the log from sequence {} to {}", covered + 1, first.header.follows);
        return Err(OpenError::Missing { what });
    }
    let mut follows = first.header.follows;
    let mut before: Option<(FileName, u64)> = None;
    for (index, segment) in needed.iter().enumerate() {
        if segment.header.follows != follows || segment.header.first <= follows {
            // The segment before ends too early (C21), or one between them is gone (C23).
            let (name, offset) = before.unwrap_or((segment.name, 40));
            let what =
                format!("it ends with sequence {follows}, {} follows on {}", segment.name, segment.header.follows);
            return Err(corrupt(name, offset, what));
        }
        let mut reader = BlockReader::new(storage.open(&segment.name.to_string())?, &segment.header);
        while let Some(block) = reader.next_block()? {
            for (sequence, kind, payload) in block.records() {
                if sequence > covered {
                    replay(sequence, kind, payload);
                    report.log_records += 1;
                }
            }
        }
        follows = reader.next_sequence() - 1;
        report.log_bytes += reader.offset() - PAGE_BYTES as u64;
        before = Some((segment.name, reader.offset()));
        if index + 1 == needed.len() {
            if follows < covered {
                let what = format!("it ends with sequence {follows}, but the snapshot covers {covered}");
                return Err(corrupt(segment.name, reader.offset(), what));
            }
            let open = open_tail(segment, reader, report)?;
            return Ok(Some((follows + 1, open)));
        }
    }
    Ok(None)
}

/// Judges what lies behind the last valid block of the last segment (rule R12), and makes what is before it durable (R7).
fn open_tail(segment: &Headed, mut reader: BlockReader, report: &mut Recovered) -> Result<OpenSegment, OpenError> {
    let offset = reader.offset();
    if let Some(later) = reader.find_later(offset)? {
        let what = format!("a block is damaged, a valid one follows at {} (sequence {})", later.offset, later.last);
        return Err(corrupt(segment.name, offset, what));
    }
    let torn = reader.torn_octets()?;
    if let Some(octets) = torn {
        report.torn_commits += 1;
        report.torn_bytes += octets;
        tracing::warn!(file = %segment.name, offset, octets, "cut a commit that was never finished; nothing was promised on it");
    }
    reader.file_mut().sync()?;
    let mut file = reader.into_file();
    if torn.is_some() {
        file.write_durable(offset, AlignedBuffer::zeroed(PAGE_BYTES).as_slice())?;
    }
    let header = &segment.header;
    Ok(OpenSegment { file, number: header.number, salt: header.salt, offset, bytes: header.bytes })
}

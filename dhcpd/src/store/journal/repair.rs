//! Makes a damaged directory usable again, keeps all it had, and says what is lost (docs/journal-format.md, "Repair").
//!
//! It never guesses: records after the first bad block of the log are not applied, since what they build on is unknown. Invariant: nothing is
//! deleted, and what is to be used instead is durable before anything gets another name (C27).

use std::path::Path;

use super::entry::RECORD_OVERHEAD_BYTES;
use super::format::{FileHeader, FileName, HeaderError, Purpose};
use super::reader::{BlockReader, read_header};
use super::segments::activate;
use super::snapshot::{SnapshotFile, put_in_force};
use super::storage::Storage;
use super::{FileStorage, JournalOptions, OpenError, Sequence, recovery};

/// A place from which on a file was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, by the name it had.
    pub file: String,
    /// The first octet that was not used.
    pub offset: u64,
    /// Octets from there to the file's end.
    pub octets: u64,
    /// What is wrong.
    pub what: String,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Where files were cut off.
    pub damage: Vec<Damage>,
    /// Records of the snapshot that are lost, as far as its header says.
    pub snapshot_records_lost: u64,
    /// The last sequence of the log that was kept.
    pub kept_through: Sequence,
    /// The highest sequence seen anywhere: at least those after [`RepairReport::kept_through`] up to this one are lost.
    pub seen_through: Sequence,
    /// The sequence that the next record gets: past all that can ever have been given, also in what cannot be read.
    pub next_sequence: Sequence,
    /// The names under which the files as they were before are kept, in the same directory.
    pub copies: Vec<String>,
}

/// Repairs the journal in a directory that no daemon holds. `None`: it opens as it is, and nothing was changed but a torn tail.
///
/// # Errors
/// The directory is in use, the disk does not do it (there must be room for a second copy of what is kept), or a file is of another version.
pub fn repair(path: &Path) -> Result<Option<RepairReport>, OpenError> {
    repair_storage(&FileStorage::open(path)?, JournalOptions::default().segment_bytes)
}

/// [`repair`] on any storage.
///
/// # Errors
/// As [`repair`].
pub fn repair_storage(storage: &dyn Storage, segment_bytes: u64) -> Result<Option<RepairReport>, OpenError> {
    match recovery::recover(storage, &mut |_| {}, &mut |_, _, _| {}) {
        Ok(_) => return Ok(None),
        Err(OpenError::Corrupt { .. } | OpenError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let files = Files::survey(storage)?;
    // Past every sequence there was, so that none is given twice (R4) and the new snapshot's name is nobody else's.
    let covers = files.highest + files.unreadable_max + 1;
    let report = RepairReport { seen_through: files.highest, next_sequence: covers + 1, ..RepairReport::default() };
    let mut salvage = Salvage { storage, report, highest: files.highest, to: SnapshotFile::create(storage, covers)? };
    salvage.snapshot(&files)?;
    salvage.log(&files)?;
    let Salvage { mut report, mut to, .. } = salvage;
    to.seal(files.journal)?;

    // The segment that carries the sequence on comes first, then what it goes on from, and only then the old files go (C27).
    let number = files.next_number;
    let spare = FileName::Spare(number);
    storage.allocate(&spare.to_string(), segment_bytes, &mut || {})?;
    let header = FileHeader {
        purpose: Purpose::Log,
        journal: files.journal,
        number: number + 1,
        salt: storage.salt(),
        follows: covers,
        first: covers + 1,
        bytes: segment_bytes,
    };
    activate(storage, spare, &header)?;
    put_in_force(storage, covers)?;
    for (name, _) in &files.all {
        let aside = format!("cut-{}-{name}", files.cut_number);
        storage.rename(&name.to_string(), &aside)?;
        report.copies.push(aside);
    }
    storage.sync_directory()?;
    Ok(Some(report))
}

/// What there is, without judging more than headers.
struct Files {
    /// All logs and snapshots, with their headers where these are good.
    all: Vec<(FileName, Result<FileHeader, String>)>,
    journal: u64,
    /// The highest sequence seen.
    highest: Sequence,
    /// No more records than these can be where nothing can be read.
    unreadable_max: u64,
    next_number: u64,
    cut_number: u64,
}

impl Files {
    fn survey(storage: &dyn Storage) -> Result<Files, OpenError> {
        let mut files =
            Files { all: Vec::new(), journal: 0, highest: 0, unreadable_max: 0, next_number: 1, cut_number: 1 };
        let mut listed = storage.list()?;
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for file in listed {
            if let Some((number, _)) = file.name.strip_prefix("cut-").and_then(|rest| rest.split_once('-')) {
                files.cut_number =
                    files.cut_number.max(number.parse::<u64>().map_or(1, |number| number.saturating_add(1)));
            }
            let Some(name) = FileName::parse(&file.name) else { continue };
            if let FileName::Log(number) | FileName::Spare(number) = name {
                files.next_number = files.next_number.max(number.saturating_add(1));
            }
            if matches!(name, FileName::Log(_) | FileName::Snapshot(_)) {
                let header = match read_header(storage.open(&file.name)?.as_ref())? {
                    Err(HeaderError::Version(found)) => return Err(OpenError::Version { file: file.name, found }),
                    Err(error) => Err(error.to_string()),
                    Ok(header) => match (name, header.purpose) {
                        (FileName::Log(number), Purpose::Log) if number == header.number => Ok(header),
                        (FileName::Snapshot(covered), Purpose::Snapshot) if covered == header.number => Ok(header),
                        _ => Err("its header does not fit its name".to_owned()),
                    },
                };
                // Every segment might end in damage that hides records; none holds more than this.
                if let FileName::Log(_) = name {
                    files.unreadable_max += file.bytes / RECORD_OVERHEAD_BYTES as u64;
                }
                files.all.push((name, header));
            }
        }
        files.choose_journal(storage);
        for (name, header) in &files.all {
            // The name of a snapshot tells how far sequences went even when nothing else of it can be read.
            if let FileName::Snapshot(covered) = name {
                files.highest = files.highest.max(*covered);
            }
            let Ok(header) = header else { continue };
            files.highest = files.highest.max(header.follows);
            if header.purpose == Purpose::Log {
                files.highest = files.highest.max(header.first - 1);
                let mut reader = BlockReader::new(storage.open(&name.to_string())?, header);
                while let Some(found) = reader.find_later(reader.offset())? {
                    files.highest = files.highest.max(found.last);
                    reader.skip_past(&found);
                }
            }
        }
        Ok(files)
    }

    /// Files of another journal than most are as good as unreadable.
    fn choose_journal(&mut self, storage: &dyn Storage) {
        let journals: Vec<u64> =
            self.all.iter().filter_map(|(_, header)| Some(header.as_ref().ok()?.journal)).collect();
        let most = journals.iter().max_by_key(|id| journals.iter().filter(|other| other == id).count());
        self.journal = most.copied().unwrap_or_else(|| storage.salt());
        for (_, header) in &mut self.all {
            if header.as_ref().is_ok_and(|header| header.journal != self.journal) {
                *header = Err("it belongs to another journal".to_owned());
            }
        }
    }
}

struct Salvage<'a> {
    storage: &'a dyn Storage,
    report: RepairReport,
    highest: Sequence,
    to: SnapshotFile,
}

impl Salvage<'_> {
    fn damaged(&mut self, name: FileName, offset: u64, what: impl Into<String>) -> Result<(), OpenError> {
        let file = name.to_string();
        let octets = self.storage.open(&file)?.bytes()?.saturating_sub(offset);
        self.report.damage.push(Damage { file, offset, octets, what: what.into() });
        Ok(())
    }

    /// Keeps every valid block of the newest snapshot: its records do not depend on each other.
    fn snapshot(&mut self, files: &Files) -> Result<(), OpenError> {
        let snapshots = files.all.iter().filter(|(name, _)| matches!(name, FileName::Snapshot(_)));
        let Some((name, header)) = snapshots.max_by_key(|(name, _)| *name) else { return Ok(()) };
        let header = match header {
            Ok(header) => header,
            Err(what) => return self.damaged(*name, 0, what),
        };
        self.report.kept_through = header.follows;
        let mut reader = BlockReader::new(self.storage.open(&name.to_string())?, header);
        let mut kept = 0;
        loop {
            while let Some(block) = reader.next_block()? {
                for (_, kind, payload) in block.records() {
                    self.to.put(kind, payload)?;
                    kept += 1;
                }
            }
            let offset = reader.offset();
            let later = reader.find_later(offset)?;
            if later.is_some() || kept < header.first {
                self.damaged(*name, offset, "a block is damaged")?;
            }
            match later {
                Some(found) => reader.skip_to(&found),
                None => break,
            }
        }
        self.report.snapshot_records_lost = header.first.saturating_sub(kept);
        Ok(())
    }

    /// Keeps the log up to the first bad block.
    fn log(&mut self, files: &Files) -> Result<(), OpenError> {
        let covered = self.report.kept_through;
        let logs: Vec<_> = files.all.iter().filter(|(name, _)| matches!(name, FileName::Log(_))).collect();
        let mut ended: Option<Sequence> = None;
        for (index, (name, header)) in logs.iter().enumerate() {
            let next = logs.get(index + 1).and_then(|(_, header)| header.as_ref().ok());
            let needed = next.is_none_or(|next| next.follows > covered);
            let header = match header {
                Ok(_) if !needed => continue,
                Ok(header) => header,
                Err(what) => {
                    self.damaged(*name, 0, what)?;
                    if needed { return Ok(()) } else { continue }
                }
            };
            if ended.is_some_and(|ended| ended != header.follows) {
                return self.damaged(*name, 0, format!("it follows on sequence {}, which is missing", header.follows));
            }
            let mut reader = BlockReader::new(self.storage.open(&name.to_string())?, header);
            while let Some(block) = reader.next_block()? {
                for (sequence, kind, payload) in block.records() {
                    if sequence > covered {
                        self.to.put(kind, payload)?;
                        self.report.kept_through = sequence;
                    }
                }
            }
            let end = reader.next_sequence() - 1;
            let offset = reader.offset();
            if next.is_some_and(|next| next.follows != end) || (next.is_none() && end < self.highest) {
                return self.damaged(*name, offset, format!("no valid block follows sequence {end}"));
            }
            ended = Some(end);
        }
        Ok(())
    }
}

//! The octets of file headers, block headers and file names (docs/journal-format.md).
//!
//! Pure: no files, no state. What is read here comes from a disk that may be damaged: every decode is checked and none panics.

use super::{Sequence, entry};

/// A page: the unit of alignment of every write.
pub const PAGE_BYTES: usize = 4_096;
/// The version of the format that this code writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// Octets of a block header.
pub const BLOCK_HEADER_BYTES: usize = 32;

const FILE_MAGIC: [u8; 8] = *b"REVEILLE";
const BLOCK_MAGIC: [u8; 4] = *b"RVCB";
const FILE_HEADER_BYTES: usize = 68;

/// `octets` rounded up to whole pages.
pub fn page_ceil(octets: usize) -> usize {
    octets.next_multiple_of(PAGE_BYTES)
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A segment of the log.
    Log,
    /// A snapshot of the whole state.
    Snapshot,
}

/// The header of a log segment or snapshot, on its first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file is for.
    pub purpose: Purpose,
    /// Random, the same in all files of a journal.
    pub journal: u64,
    /// The segment's number, or the sequence that the snapshot covers.
    pub number: u64,
    /// Enters the checksum of each block.
    pub salt: u64,
    /// Sequence of the last record before this file's.
    pub follows: Sequence,
    /// Sequence of its first record, or the number of records of a snapshot.
    pub first: u64,
    /// Length of the file in octets.
    pub bytes: u64,
}

/// Why a page is not a file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Another program's file, or a header that never was written.
    #[error("is not a file of a journal")]
    Magic,
    /// Written by another version.
    #[error("has format version {0}, this program reads version {VERSION} only")]
    Version(u32),
    /// Damaged.
    #[error("has a damaged header")]
    Checksum,
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&octets[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&octets[at..at + 8]);
    u64::from_le_bytes(bytes)
}

impl FileHeader {
    /// Writes the header to the start of `page`, which is [`PAGE_BYTES`] long, and zeroes the rest.
    pub fn encode(&self, page: &mut [u8]) {
        page.fill(0);
        page[0..8].copy_from_slice(&FILE_MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let purpose: u32 = match self.purpose {
            Purpose::Log => 1,
            Purpose::Snapshot => 2,
        };
        page[12..16].copy_from_slice(&purpose.to_le_bytes());
        let fields = [self.journal, self.number, self.salt, self.follows, self.first, self.bytes];
        for (field, to) in fields.iter().zip(page[16..64].chunks_exact_mut(8)) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&page[..64]);
        page[64..68].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the header at the start of `page`.
    pub fn decode(page: &[u8]) -> Result<FileHeader, HeaderError> {
        if page.len() < FILE_HEADER_BYTES || page[0..8] != FILE_MAGIC {
            return Err(HeaderError::Magic);
        }
        let version = u32_at(page, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let purpose = match u32_at(page, 12) {
            1 => Purpose::Log,
            2 => Purpose::Snapshot,
            _ => return Err(HeaderError::Checksum),
        };
        if crc32c::crc32c(&page[..64]) != u32_at(page, 64) {
            return Err(HeaderError::Checksum);
        }
        let field = |index: usize| u64_at(page, 16 + 8 * index);
        Ok(FileHeader {
            purpose,
            journal: field(0),
            number: field(1),
            salt: field(2),
            follows: field(3),
            first: field(4),
            bytes: field(5),
        })
    }
}

/// The header of a commit block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Octets from the block's start to the end of its last record.
    pub length: usize,
    /// The number of the file that it was written for.
    pub number: u64,
    /// Sequence of its first record.
    pub first: Sequence,
    /// How many records, at least 1.
    pub records: u32,
    checksum: u32,
}

impl BlockHeader {
    /// Sequence of the block's last record.
    pub fn last(&self) -> Sequence {
        self.first.saturating_add(u64::from(self.records).saturating_sub(1))
    }

    /// Reads a block header without judging the block, if the magic is there and the fields are sane in themselves.
    pub fn decode(octets: &[u8]) -> Option<BlockHeader> {
        if octets.len() < BLOCK_HEADER_BYTES || octets[0..4] != BLOCK_MAGIC {
            return None;
        }
        let header = BlockHeader {
            length: u32_at(octets, 4) as usize,
            number: u64_at(octets, 8),
            first: u64_at(octets, 16),
            records: u32_at(octets, 24),
            checksum: u32_at(octets, 28),
        };
        (header.length > BLOCK_HEADER_BYTES && header.records > 0 && header.first > 0).then_some(header)
    }

    /// Whether `block` (at least `length` octets, beginning with this header) is whole.
    pub fn is_valid(&self, block: &[u8], salt: u64) -> bool {
        block.len() >= self.length
            && checksum(&block[..self.length], salt) == self.checksum
            && entry::count(&block[BLOCK_HEADER_BYTES..self.length]) == Some(u64::from(self.records))
    }
}

/// Completes a block in place: `block[32..length]` holds the records, the header is written before them, what follows is zeroed.
pub fn seal_block(block: &mut [u8], length: usize, number: u64, salt: u64, first: Sequence, records: u32) {
    block[0..4].copy_from_slice(&BLOCK_MAGIC);
    block[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    block[8..16].copy_from_slice(&number.to_le_bytes());
    block[16..24].copy_from_slice(&first.to_le_bytes());
    block[24..28].copy_from_slice(&records.to_le_bytes());
    let checksum = checksum(&block[..length], salt);
    block[28..32].copy_from_slice(&checksum.to_le_bytes());
    block[length..].fill(0);
}

fn checksum(block: &[u8], salt: u64) -> u32 {
    let checksum = crc32c::crc32c(&salt.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &block[..28]);
    crc32c::crc32c_append(checksum, &block[BLOCK_HEADER_BYTES..])
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// `log-<number>`
    Log(u64),
    /// `spare-<number>`
    Spare(u64),
    /// `snapshot-<sequence>`
    Snapshot(Sequence),
    /// `snapshot.tmp`
    SnapshotUnfinished,
}

impl FileName {
    /// Reads a name; `None` for a file that is none of the journal's concern.
    pub fn parse(name: &str) -> Option<FileName> {
        if name == "snapshot.tmp" {
            return Some(FileName::SnapshotUnfinished);
        }
        let (what, number) = name.split_once('-')?;
        if number.len() != 16 || !number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let number = u64::from_str_radix(number, 16).ok()?;
        match what {
            "log" => Some(FileName::Log(number)),
            "spare" => Some(FileName::Spare(number)),
            "snapshot" => Some(FileName::Snapshot(number)),
            _ => None,
        }
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileName::Log(number) => write!(f, "log-{number:016x}"),
            FileName::Spare(number) => write!(f, "spare-{number:016x}"),
            FileName::Snapshot(sequence) => write!(f, "snapshot-{sequence:016x}"),
            FileName::SnapshotUnfinished => f.write_str("snapshot.tmp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader {
        purpose: Purpose::Log,
        journal: 0x1122_3344_5566_7788,
        number: 3,
        salt: 0xdead_beef,
        follows: 41,
        first: 42,
        bytes: 65_536,
    };

    /// Version 1 on the disk. If this test fails, do not change the test: give the format a new version.
    #[test]
    fn golden_octets_of_version_1() {
        let mut page = [0xaa; PAGE_BYTES];
        HEADER.encode(&mut page);
        let hex: String = page[..68].iter().map(|b| format!("{b:02x}")).collect();
        let fields = [
            "52455645494c4c45", // magic
            "01000000",         // version
            "01000000",         // purpose
            "8877665544332211", // journal
            "0300000000000000", // number
            "efbeadde00000000", // salt
            "2900000000000000", // follows
            "2a00000000000000", // first
            "0000010000000000", // bytes
            "e0c75df8",         // CRC-32C, computed by an independent program
        ];
        assert_eq!(hex, fields.concat());
        assert!(page[68..].iter().all(|b| *b == 0));

        let mut block = vec![0; BLOCK_HEADER_BYTES];
        entry::push(&mut block, 1, b"a lease");
        let length = block.len();
        block.resize(PAGE_BYTES, 0xff);
        seal_block(&mut block, length, 3, 99, 42, 1);
        let hex: String = block[..length].iter().map(|b| format!("{b:02x}")).collect();
        let fields = [
            "52564342",         // magic
            "2a000000",         // length
            "0300000000000000", // number
            "2a00000000000000", // first
            "01000000",         // records
            "0688c2e8",         // CRC-32C of salt 99, the above and the record, computed by an independent program
            "070001",           // length and kind of the record
            "61206c65617365",   // payload
        ];
        assert_eq!(hex, fields.concat());
        assert!(block[length..].iter().all(|b| *b == 0));
    }

    #[test]
    fn every_flipped_bit_of_a_file_header_is_noticed() {
        let mut page = [0; PAGE_BYTES];
        HEADER.encode(&mut page);
        assert_eq!(FileHeader::decode(&page), Ok(HEADER));
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        page[8] = 2;
        assert_eq!(FileHeader::decode(&page), Err(HeaderError::Version(2)));
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_noticed() {
        let mut records = vec![0; BLOCK_HEADER_BYTES];
        entry::push(&mut records, 1, b"a lease");
        let length = records.len();
        records.resize(PAGE_BYTES, 0xff);
        seal_block(&mut records, length, 3, 99, 42, 1);
        let judge = |block: &[u8], salt| {
            BlockHeader::decode(block).is_some_and(|header| {
                header.number == 3 && header.first == 42 && header.length <= block.len() && header.is_valid(block, salt)
            })
        };
        assert!(judge(&records, 99));
        assert!(!judge(&records, 98), "another salt");
        for bit in 0..length * 8 {
            let mut flipped = records.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!judge(&flipped, 99), "bit {bit}");
        }
    }

    #[test]
    fn names_are_read_as_written() {
        for name in [FileName::Log(1), FileName::Spare(u64::MAX), FileName::Snapshot(0), FileName::SnapshotUnfinished] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in ["lock", "log-1", "log-000000000000000G", "log-000000000000000A", "cut-1-log-0000000000000001", ""]
        {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}

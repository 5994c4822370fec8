//! Reads the blocks of one file in order, through a sliding window.
//!
//! It stops at the first block that is not valid (rule R3) and says where; what that means is for `recovery` and `repair` to judge.

use reveille_config::limit::JOURNAL_RING_BYTES_MAX;

use super::aligned::AlignedBuffer;
use super::format::{BLOCK_HEADER_BYTES, BlockHeader, FileHeader, HeaderError, PAGE_BYTES, Purpose, page_ceil};
use super::storage::{StorageError, StorageFile};
use super::{Sequence, entry};

const WINDOW_BYTES: usize = 1 << 20;

/// A valid block.
pub struct Block<'a> {
    /// Sequence of its first record.
    pub first: Sequence,
    octets: &'a [u8],
}

impl<'a> Block<'a> {
    /// Its records with their sequences.
    pub fn records(&self) -> impl Iterator<Item = (Sequence, u8, &'a [u8])> {
        (self.first..).zip(entry::records(self.octets)).map(|(sequence, (kind, payload))| (sequence, kind, payload))
    }
}

/// A valid block found by [`BlockReader::find_later`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it begins.
    pub offset: u64,
    /// Octets with padding.
    pub octets: u64,
    /// Sequence of its last record.
    pub last: Sequence,
    /// How many records.
    pub records: u64,
}

/// Reads the header page of a file. The outer error is the storage's, the inner one judges the octets.
pub fn read_header(file: &dyn StorageFile) -> Result<Result<FileHeader, HeaderError>, StorageError> {
    let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
    let read = file.read_at(0, page.as_mut_slice())?;
    Ok(FileHeader::decode(&page.as_slice()[..read]))
}

/// A position in a file of blocks.
pub struct BlockReader {
    file: Box<dyn StorageFile>,
    number: u64,
    salt: u64,
    window: AlignedBuffer,
    window_offset: u64,
    window_filled: usize,
    offset: u64,
    next: Sequence,
}

impl BlockReader {
    /// Starts at the first block.
    pub fn new(file: Box<dyn StorageFile>, header: &FileHeader) -> BlockReader {
        BlockReader {
            file,
            number: header.number,
            salt: header.salt,
            window: AlignedBuffer::default(),
            window_offset: 0,
            window_filled: 0,
            offset: PAGE_BYTES as u64,
            next: match header.purpose {
                Purpose::Log => header.first,
                Purpose::Snapshot => 1,
            },
        }
    }

    /// Where the next block begins, or would.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The sequence that the next block's first record bears, or would.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// Gives the file back.
    pub fn into_file(self) -> Box<dyn StorageFile> {
        self.file
    }

    /// The file.
    pub fn file_mut(&mut self) -> &mut dyn StorageFile {
        self.file.as_mut()
    }

    /// Has `length` octets from `offset` in the window, or as many as the file has; says how many.
    fn load(&mut self, offset: u64, length: usize) -> Result<usize, StorageError> {
        let inside =
            offset.checked_sub(self.window_offset).and_then(|skip| self.window_filled.checked_sub(skip as usize));
        if let Some(have) = inside
            && have >= length
        {
            return Ok(length);
        }
        self.window.resize(page_ceil(length).max(WINDOW_BYTES));
        self.window_filled = 0;
        self.window_filled = self.file.read_at(offset, self.window.as_mut_slice())?;
        self.window_offset = offset;
        Ok(self.window_filled.min(length))
    }

    fn loaded(&self, offset: u64, length: usize) -> &[u8] {
        let skip = (offset - self.window_offset) as usize;
        &self.window.as_slice()[skip..skip + length]
    }

    /// The header at `offset` if it bears this file's number and its length is possible.
    fn header_at(&mut self, offset: u64) -> Result<Option<BlockHeader>, StorageError> {
        let length = self.load(offset, BLOCK_HEADER_BYTES)?;
        let header = BlockHeader::decode(self.loaded(offset, length));
        let possible = BLOCK_HEADER_BYTES + JOURNAL_RING_BYTES_MAX;
        Ok(header.filter(|header| header.number == self.number && header.length <= possible))
    }

    fn is_valid(&mut self, offset: u64, header: &BlockHeader) -> Result<bool, StorageError> {
        let length = self.load(offset, header.length)?;
        Ok(length == header.length && header.is_valid(self.loaded(offset, length), self.salt))
    }

    /// The next block; `None` where no valid block follows.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, StorageError> {
        let offset = self.offset;
        let Some(header) = self.header_at(offset)?.filter(|header| header.first == self.next) else { return Ok(None) };
        if !self.is_valid(offset, &header)? {
            return Ok(None);
        }
        self.offset += page_ceil(header.length) as u64;
        self.next = header.last() + 1;
        let octets = &self.loaded(offset, header.length)[BLOCK_HEADER_BYTES..];
        Ok(Some(Block { first: header.first, octets }))
    }

    /// At the end: the length of a block that was begun here and is not whole. `None` where nothing of one is to be seen.
    pub fn torn_octets(&mut self) -> Result<Option<u64>, StorageError> {
        let next = self.next;
        let header = self.header_at(self.offset)?.filter(|header| header.first == next);
        Ok(header.map(|header| page_ceil(header.length) as u64))
    }

    /// The first valid block of this file, with a sequence not below the expected one, on any page from `from` on.
    pub fn find_later(&mut self, from: u64) -> Result<Option<Found>, StorageError> {
        let mut offset = from;
        while self.load(offset, PAGE_BYTES)? == PAGE_BYTES {
            if let Some(header) = self.header_at(offset)?
                && header.first >= self.next
                && self.is_valid(offset, &header)?
            {
                let octets = page_ceil(header.length) as u64;
                return Ok(Some(Found { offset, octets, last: header.last(), records: u64::from(header.records) }));
            }
            offset += PAGE_BYTES as u64;
        }
        Ok(None)
    }

    /// Goes on at a block that [`BlockReader::find_later`] found.
    pub fn skip_to(&mut self, found: &Found) {
        self.offset = found.offset;
        self.next = found.last + 1 - found.records;
    }

    /// Goes on behind a block that [`BlockReader::find_later`] found.
    pub fn skip_past(&mut self, found: &Found) {
        self.offset = found.offset + found.octets;
        self.next = found.last + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::crash_disk::CrashDisk;
    use super::super::format::seal_block;
    use super::super::storage::Storage;
    use super::*;

    const HEADER: FileHeader =
        FileHeader { purpose: Purpose::Log, journal: 1, number: 5, salt: 77, follows: 9, first: 10, bytes: 12_288 };

    fn block(number: u64, salt: u64, first: Sequence) -> Vec<u8> {
        let mut block = vec![0; BLOCK_HEADER_BYTES];
        entry::push(&mut block, 3, b"payload");
        let length = block.len();
        block.resize(PAGE_BYTES, 0);
        seal_block(&mut block, length, number, salt, first, 1);
        block
    }

    /// Rule R3: each field is judged by itself, also under a checksum that fits.
    #[test]
    fn a_block_counts_only_with_this_number_salt_and_sequence() {
        let cases = [
            ("as it should be", block(5, 77, 10), true),
            ("C10: of an earlier life of the file, were the salt the same", block(4, 77, 10), false),
            ("forged without the salt", block(5, 78, 10), false),
            ("a sequence too early", block(5, 77, 9), false),
            ("a sequence too late", block(5, 77, 11), false),
        ];
        for (what, octets, counts) in cases {
            let disk = CrashDisk::new();
            disk.replace("file", Some([vec![0; PAGE_BYTES], octets, vec![0; PAGE_BYTES]].concat()));
            let mut reader = BlockReader::new(disk.open("file").expect("it is there"), &HEADER);
            let records = reader.next_block().expect("reads").map(|block| block.records().collect::<Vec<_>>().len());
            assert_eq!(records, counts.then_some(1), "{what}");
            assert_eq!(reader.offset(), if counts { 8_192 } else { 4_096 }, "{what}");
        }
    }

    #[test]
    fn a_length_beyond_the_file_or_the_limit_is_no_block() {
        for length in [0, 31, 32, 8_193, 1 << 23, u32::MAX] {
            let mut octets = block(5, 77, 10);
            octets[4..8].copy_from_slice(&length.to_le_bytes());
            let disk = CrashDisk::new();
            disk.replace("file", Some([vec![0; PAGE_BYTES], octets].concat()));
            let mut reader = BlockReader::new(disk.open("file").expect("it is there"), &HEADER);
            assert!(reader.next_block().expect("reads").is_none(), "{length}");
        }
    }
}

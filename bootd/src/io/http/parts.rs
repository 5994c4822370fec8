//! [`Parts`]: of what a body consists, in order: parts of a file, and the lines between them where there are several.
//!
//! The form of several is `multipart/byteranges` (RFC 9110 section 14.6).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::http::ByteRange;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Octets that are not the file's; never empty.
    Text(Bytes),
    /// Octets of the file; at least one.
    File {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// What is still to come.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: VecDeque<Part>,
    bytes: u64,
    file_bytes: u64,
}

impl Parts {
    /// One part of the file, or nothing.
    pub(super) fn one(offset: u64, bytes: u64) -> Self {
        let mut parts = Self::default();
        parts.push_file(offset, bytes);
        parts
    }

    /// Several, each with its head. The boundary is a token that the file's octets need not avoid: each head tells how many follow.
    pub(super) fn many(ranges: &[ByteRange], total: u64, boundary: &str) -> Self {
        let mut parts = Self::default();
        for range in ranges {
            parts.push_text(format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/{total}\r\n\r\n"
            ));
            parts.push_file(range.first, range.bytes());
        }
        parts.push_text(format!("\r\n--{boundary}--\r\n"));
        parts
    }

    fn push_text(&mut self, text: String) {
        self.bytes += text.len() as u64;
        self.parts.push_back(Part::Text(text.into()));
    }

    fn push_file(&mut self, offset: u64, bytes: u64) {
        if bytes > 0 {
            self.bytes += bytes;
            self.file_bytes += bytes;
            self.parts.push_back(Part::File { offset, bytes });
        }
    }

    /// Octets of all that is still to come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Octets of the file among them.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let part = self.parts.pop_front()?;
        match &part {
            Part::Text(text) => self.bytes -= text.len() as u64,
            Part::File { bytes, .. } => {
                self.bytes -= bytes;
                self.file_bytes -= bytes;
            }
        }
        Some(part)
    }
}

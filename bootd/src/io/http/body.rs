//! [`FileBody`]: octets of a file as the body of a response, of known length, in pieces.
//!
//! Large ones go from the kernel's memory to the socket by [`super::lane`], small ones are copied. What the kernel has in memory goes out at once; anything
//! else is read first on a thread that may wait for the disk, so that a cold page holds up one download and nobody else. The last octets go out only
//! if the file is still as it was when it was opened; otherwise the connection ends short of the announced length.

use std::io::IoSliceMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinError, JoinHandle};

use super::arriving::ArrivingBody;
use super::lane::{Lane, PIECE_BYTES, Piece};
use super::parts::{Part, Parts};
use super::report::Report;
use crate::io::Counters;
use crate::io::said::{Cause, is_due};
use crate::store::{Ongoing, OpenFile, ReadNow};

/// Octets read at a time where they are copied (small files, TLS, HTTP/2): large enough that system calls do not count, small enough for thousands of them.
const CHUNK_BYTES: usize = 64 << 10;
/// Bodies of so many octets and more go out without being copied. Shorter ones share a write with their head.
const OFFLOAD_BYTES_MIN: u64 = 64 << 10;

/// Why a body ends short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The file was changed while it was served.
    #[error("the file was changed while it was served")]
    Changed,
    /// The upstream, from which it was arriving.
    #[error("the upstream broke off")]
    Upstream,
    /// The disk.
    #[error("the file cannot be read")]
    Unreadable,
}

impl BodyError {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Changed => "file changed",
            Self::Upstream => "upstream broke off",
            Self::Unreadable => "file unreadable",
        }
    }
}

/// A response's body.
#[derive(Debug)]
pub enum ServedBody {
    /// Octets in memory, or none.
    Octets(Option<Bytes>),
    /// Octets of a file.
    File(Box<FileBody>),
    /// Octets of a file that is on its way from the upstream.
    Arriving(Box<ArrivingBody>),
}

/// Octets of a file.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<OpenFile>,
    /// What has not begun yet.
    parts: Parts,
    /// Of the part that goes out now.
    offset: u64,
    left: u64,
    reading: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
    /// Where the connection takes pieces of files; none for a body that is better copied.
    lane: Option<Lane>,
    report: Arc<Report>,
}

impl FileBody {
    /// Parts of the file, to go out by the lane of their connection where it has one.
    pub(super) fn new(
        file: OpenFile,
        parts: Parts,
        lane: Option<Lane>,
        ongoing: Ongoing,
        counters: Arc<Counters>,
    ) -> Self {
        let bytes = parts.file_bytes();
        let lane = lane.filter(|_| bytes >= OFFLOAD_BYTES_MIN);
        let report = Arc::new(Report::new(bytes, ongoing, counters));
        Self { file: Arc::new(file), parts, offset: 0, left: 0, reading: None, lane, report }
    }

    /// Octets that are still to come.
    fn bytes_left(&self) -> u64 {
        self.left + self.parts.bytes()
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        while self.left == 0 {
            match self.parts.next() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => return Poll::Ready(Some(Ok(text))),
                Some(Part::File { offset, bytes }) => (self.offset, self.left) = (offset, bytes),
            }
        }
        let chunk = match self.lane.clone() {
            Some(lane) => ready!(self.poll_piece(cx, &lane)),
            None => ready!(self.poll_copy(cx)),
        };
        if let Ok(chunk) = &chunk {
            self.offset += chunk.len() as u64;
            self.left -= chunk.len() as u64;
        }
        if let Err(error) = &chunk {
            // What hyper is told of it ends the connection.
            let _ = self.report.fail(*error);
        }
        Poll::Ready(Some(chunk))
    }

    /// Puts the next piece into the lane, once it is in memory.
    fn poll_piece(&mut self, cx: &mut Context<'_>, lane: &Lane) -> Poll<Result<Bytes, BodyError>> {
        let bytes = self.left.min(PIECE_BYTES as u64) as usize;
        match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                outcome(read)?;
            }
            None => match self.file.is_in_memory(self.offset, bytes) {
                ReadNow::Done => {}
                ReadNow::WouldBlock => {
                    self.read_elsewhere(bytes);
                    return self.poll_piece(cx, lane);
                }
                ReadNow::Short => return Poll::Ready(Err(BodyError::Changed)),
                ReadNow::Failed(error) => return Poll::Ready(Err(unreadable(&error))),
            },
        }
        let is_last = bytes as u64 == self.left && self.parts.file_bytes() == 0;
        let (file, report) = (self.file.clone(), self.report.clone());
        Poll::Ready(Ok(lane.put(Piece { file, offset: self.offset, bytes, is_last, report })))
    }

    /// Reads the next chunk.
    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        let wanted = self.left.min(CHUNK_BYTES as u64) as usize;
        let chunk = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                outcome(read)?
            }
            None => {
                let mut chunk = vec![0; wanted];
                match self.file.read_now(&mut [IoSliceMut::new(&mut chunk)], self.offset) {
                    ReadNow::Done => chunk,
                    ReadNow::WouldBlock => {
                        self.read_elsewhere(wanted);
                        return self.poll_copy(cx);
                    }
                    ReadNow::Short => return Poll::Ready(Err(BodyError::Changed)),
                    ReadNow::Failed(error) => return Poll::Ready(Err(unreadable(&error))),
                }
            }
        };
        if chunk.len() as u64 == self.left && self.parts.file_bytes() == 0 && !self.file.is_unchanged() {
            return Poll::Ready(Err(BodyError::Changed));
        }
        self.report.sent(chunk.len());
        Poll::Ready(Ok(chunk.into()))
    }

    fn read_elsewhere(&mut self, bytes: usize) {
        let (file, offset) = (self.file.clone(), self.offset);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut octets = vec![0; bytes];
            file.read_blocking(&mut octets, offset).map(|()| octets)
        }));
    }
}

/// What a read on another thread came to.
fn outcome(read: Result<std::io::Result<Vec<u8>>, JoinError>) -> Result<Vec<u8>, BodyError> {
    match read {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(BodyError::Changed),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => Err(BodyError::Unreadable),
    }
}

fn unreadable(error: &std::io::Error) -> BodyError {
    if is_due(Cause::Unreadable) {
        tracing::error!(%error, "a served file cannot be read");
    }
    BodyError::Unreadable
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Octets(octets) => Poll::Ready(octets.take().map(|octets| Ok(Frame::data(octets)))),
            Self::File(body) => body.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
            Self::Arriving(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Octets(octets) => octets.is_none(),
            Self::File(body) => body.bytes_left() == 0,
            Self::Arriving(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Octets(octets) => SizeHint::with_exact(octets.as_ref().map_or(0, |octets| octets.len() as u64)),
            Self::File(body) => SizeHint::with_exact(body.bytes_left()),
            Self::Arriving(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Protocol, Store};
    use http_body_util::BodyExt as _;

    /// A descriptor that cannot be read fails as a disk does.
    #[tokio::test]
    async fn a_disk_that_cannot_be_read_ends_its_download_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::for_tests(dir.path());
        for bytes in [10, OFFLOAD_BYTES_MIN] {
            for lane in [None, Some(Lane::default())] {
                let file = std::fs::File::create(dir.path().join("image")).unwrap();
                file.set_len(bytes).unwrap();
                let file = OpenFile::for_tests(file);
                let ongoing = store.transfers.begin(Protocol::Http, "192.0.2.7".parse().unwrap(), "image", bytes, None);
                let body = FileBody::new(file, Parts::one(0, bytes), lane, ongoing, Arc::new(Counters::new()));
                let mut body = ServedBody::File(Box::new(body));
                let error = body.frame().await.unwrap().unwrap_err();
                assert_eq!(error, BodyError::Unreadable);
                drop(body);
                let ended = store.transfers.page(None, 1).items.remove(0);
                assert_eq!((ended.outcome.as_deref(), ended.bytes_sent), (Some("file unreadable"), 0));
            }
        }
    }
}

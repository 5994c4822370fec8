//! [`FileBody`]: octets of a file as the body of a response, of known length, read in chunks.
//!
//! What the kernel has in memory is read on the spot; anything else on a thread that may wait for the disk, so that a cold page holds
//! up one download and nobody else. The last octets go out only if the file is still as it was when it was opened; otherwise the body ends
//! with an error, and hyper closes the connection short of the announced length.

use std::io::IoSliceMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::io::Counters;
use crate::store::{Ongoing, OpenFile, Protocol, ReadNow};

/// Octets read at a time: large enough that system calls do not count, small enough for the cache.
const CHUNK_BYTES: usize = 256 << 10;

/// Why a body ends short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The file was changed while it was served.
    #[error("the file was changed while it was served")]
    Changed,
    /// The disk.
    #[error("the file cannot be read")]
    Unreadable,
}

impl BodyError {
    const fn label(self) -> &'static str {
        match self {
            Self::Changed => "file changed",
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
}

/// Octets of a file.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<OpenFile>,
    offset: u64,
    left: u64,
    sent: u64,
    reading: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
    ongoing: Option<Ongoing>,
    counters: Arc<Counters>,
}

impl FileBody {
    /// The octets `offset..offset + bytes` of the file.
    pub fn new(file: OpenFile, offset: u64, bytes: u64, ongoing: Ongoing, counters: Arc<Counters>) -> Self {
        let file = Arc::new(file);
        Self { file, offset, left: bytes, sent: 0, reading: None, ongoing: Some(ongoing), counters }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = self.left.min(CHUNK_BYTES as u64) as usize;
        let chunk = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                match read {
                    Ok(Ok(chunk)) => chunk,
                    Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Some(Err(BodyError::Changed)));
                    }
                    Ok(Err(error)) => return Poll::Ready(Some(Err(unreadable(&error)))),
                    Err(_) => return Poll::Ready(Some(Err(BodyError::Unreadable))),
                }
            }
            None => {
                let mut chunk = vec![0; wanted];
                match self.file.read_now(&mut [IoSliceMut::new(&mut chunk)], self.offset) {
                    ReadNow::Done => chunk,
                    ReadNow::WouldBlock => {
                        let (file, offset) = (self.file.clone(), self.offset);
                        self.reading = Some(tokio::task::spawn_blocking(move || {
                            file.read_blocking(&mut chunk, offset).map(|()| chunk)
                        }));
                        return self.poll_chunk(cx);
                    }
                    ReadNow::Short => return Poll::Ready(Some(Err(BodyError::Changed))),
                    ReadNow::Failed(error) => return Poll::Ready(Some(Err(unreadable(&error)))),
                }
            }
        };
        if chunk.len() as u64 == self.left && !self.file.is_unchanged() {
            return Poll::Ready(Some(Err(BodyError::Changed)));
        }
        self.offset += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        self.sent += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk.into())))
    }

    fn end(&mut self, outcome: &'static str) {
        if let Some(ongoing) = self.ongoing.take() {
            self.counters.ended(Protocol::Http, outcome, self.sent);
            ongoing.end(outcome);
        }
    }
}

fn unreadable(error: &std::io::Error) -> BodyError {
    tracing::error!(%error, "a served file cannot be read");
    BodyError::Unreadable
}

impl Drop for FileBody {
    fn drop(&mut self) {
        self.end(if self.left == 0 { "complete" } else { "broken off by the client" });
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Octets(octets) => Poll::Ready(octets.take().map(|octets| Ok(Frame::data(octets)))),
            Self::File(body) => {
                let chunk = ready!(body.poll_chunk(cx));
                match &chunk {
                    Some(Ok(_)) => {
                        if let Some(ongoing) = &body.ongoing {
                            ongoing.set_bytes_sent(body.sent);
                        }
                    }
                    Some(Err(error)) => body.end(error.label()),
                    None => body.end("complete"),
                }
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Octets(octets) => octets.is_none(),
            Self::File(body) => body.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Octets(octets) => octets.as_ref().map_or(0, |octets| octets.len() as u64),
            Self::File(body) => body.left,
        })
    }
}

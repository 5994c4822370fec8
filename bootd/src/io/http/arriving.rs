//! [`ArrivingBody`]: octets of a file that is still on its way from the upstream, as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::body::BodyError;
use super::report::Report;
use crate::io::Counters;
use crate::proto::http::ByteRange;
use crate::store::Ongoing;
use crate::store::copies::Arriving;

/// Octets of one piece.
const CHUNK_BYTES: u64 = 64 << 10;

/// The body.
#[derive(Debug)]
pub struct ArrivingBody {
    pieces: mpsc::Receiver<Result<Bytes, BodyError>>,
    reader: AbortHandle,
    left: u64,
    report: Report,
}

impl ArrivingBody {
    /// These octets of the file.
    pub(super) fn new(file: Arc<Arriving>, range: ByteRange, ongoing: Ongoing, counters: Arc<Counters>) -> Self {
        // One that waits to be sent, and one that is being read.
        let (into, pieces) = mpsc::channel(1);
        let reader = tokio::spawn(read(file, range, into)).abort_handle();
        let left = range.bytes();
        Self { pieces, reader, left, report: Report::new(left, ongoing, counters) }
    }
}

async fn read(file: Arc<Arriving>, range: ByteRange, into: mpsc::Sender<Result<Bytes, BodyError>>) {
    let mut offset = range.first;
    while offset <= range.last {
        let piece = match file.beyond(offset).await {
            Ok(there) => {
                let end = there.min(range.last + 1).min(offset + CHUNK_BYTES);
                let mut piece = vec![0; (end - offset) as usize];
                // What has just come is in memory, nearly always.
                let read = tokio::task::block_in_place(|| file.read(&mut piece, offset));
                read.map(|()| Bytes::from(piece)).map_err(|_| BodyError::Unreadable)
            }
            Err(_) => Err(BodyError::Upstream),
        };
        offset += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let is_over = piece.is_err();
        if into.send(piece).await.is_err() || is_over {
            return;
        }
    }
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // It ends without the last octet only with a task that was ended with the runtime.
        let piece = ready!(self.pieces.poll_recv(cx)).unwrap_or(Err(BodyError::Upstream));
        match &piece {
            Ok(piece) => {
                self.left -= piece.len() as u64;
                self.report.sent(piece.len());
            }
            Err(why) => drop(self.report.fail(*why)),
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for ArrivingBody {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

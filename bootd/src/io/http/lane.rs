//! [`Lane`]: how octets of files get from the page cache to the socket without passing user space, below hyper.
//!
//! hyper writes octets that it is given and knows nothing of files. So a body gives it *stand-ins*, slices of one buffer that nobody ever reads, of
//! the right length, and puts the piece of the file that each stands for into its connection's lane. The stream below hyper, [`Offload`], knows
//! stand-ins by their address and sends in their place what the lane holds, in order, with `sendfile`.
//!
//! Invariant: hyper's queue and the lane hold the same pieces in the same order. hyper keeps frames as they are only where the stream below it
//! writes vectors, which [`Offload`] says it does.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::body::BodyError;
use super::report::Report;
use crate::io::said::{Cause, is_due};
use crate::store::OpenFile;

/// Octets of the longest piece. A connection has about two of them under way.
pub(super) const PIECE_BYTES: usize = 2 << 20;

static STAND_IN: LazyLock<Bytes> = LazyLock::new(|| vec![0; PIECE_BYTES].into());

fn is_stand_in(octets: &[u8]) -> bool {
    !octets.is_empty() && STAND_IN.as_ptr_range().contains(&octets.as_ptr())
}

/// Octets of a file that are due on a connection.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) file: Arc<OpenFile>,
    pub(super) offset: u64,
    /// At least 1, at most [`PIECE_BYTES`].
    pub(super) bytes: usize,
    /// Nothing of the body comes after it: it goes out only if the file is still as it was when it was opened.
    pub(super) is_last: bool,
    pub(super) report: Arc<Report>,
}

/// The pieces that a connection has to send. Clones are the same lane.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    pieces: Arc<Mutex<VecDeque<Piece>>>,
}

impl Lane {
    fn pieces(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece, and gives what hyper is to be given for it.
    pub(super) fn put(&self, piece: Piece) -> Bytes {
        let stand_in = STAND_IN.slice(..piece.bytes);
        self.pieces().push_back(piece);
        stand_in
    }
}

/// A stream that files can be sent on.
pub trait Sendfile {
    /// Sends octets of a file; says how many (0: the file ends before `offset`).
    fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: &OpenFile,
        offset: u64,
        bytes: usize,
    ) -> Poll<io::Result<usize>>;
}

macro_rules! sendfile {
    ($($stream:ty),*) => {$(
        impl Sendfile for $stream {
            fn poll_sendfile(&self, cx: &mut Context<'_>, file: &OpenFile, offset: u64, bytes: usize) -> Poll<io::Result<usize>> {
                let send = || {
                    let mut offset = offset;
                    Ok(rustix::fs::sendfile(self.as_fd(), file, Some(&mut offset), bytes)?)
                };
                loop {
                    ready!(self.poll_write_ready(cx))?;
                    match self.try_io(Interest::WRITABLE, send) {
                        // Not ready after all.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        sent => return Poll::Ready(sent),
                    }
                }
            }
        }
    )*};
}
sendfile!(TcpStream, UnixStream);

/// A connection's stream, and the lane of what goes out on it.
#[derive(Debug)]
pub(super) struct Offload<S> {
    stream: S,
    lane: Lane,
}

impl<S> Offload<S> {
    pub(super) fn new(stream: S, lane: Lane) -> Self {
        Self { stream, lane }
    }
}

impl<S: Sendfile> Offload<S> {
    /// Sends of the first piece, in the place of `bytes` octets of a stand-in.
    fn poll_piece(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<usize>> {
        let mut pieces = self.lane.pieces();
        let Some(piece) = pieces.front_mut() else {
            return Poll::Ready(Err(io::Error::other("a stand-in without its piece of a file")));
        };
        if piece.is_last && !piece.file.is_unchanged() {
            return Poll::Ready(Err(piece.report.fail(BodyError::Changed)));
        }
        match ready!(self.stream.poll_sendfile(cx, &piece.file, piece.offset, bytes.min(piece.bytes))) {
            Ok(0) => Poll::Ready(Err(piece.report.fail(BodyError::Changed))),
            Ok(sent) => {
                piece.report.sent(sent);
                piece.offset += sent as u64;
                piece.bytes -= sent;
                if piece.bytes == 0 {
                    pieces.pop_front();
                }
                Poll::Ready(Ok(sent))
            }
            Err(error) if is_of_peer(&error) => Poll::Ready(Err(error)),
            Err(error) => {
                if is_due(Cause::CannotSend) {
                    tracing::error!(%error, "a served file cannot be sent");
                }
                Poll::Ready(Err(piece.report.fail(BodyError::Unreadable)))
            }
        }
    }
}

/// Whether the connection is to blame and not the file.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::BrokenPipe
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Offload<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Sendfile + Unpin> AsyncWrite for Offload<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if is_stand_in(buf) {
            return self.poll_piece(cx, buf.len());
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.iter().position(|buf| is_stand_in(buf)) {
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
            Some(at) if bufs[..at].iter().all(|buf| buf.is_empty()) => self.poll_piece(cx, bufs[at].len()),
            Some(at) => Pin::new(&mut self.stream).poll_write_vectored(cx, &bufs[..at]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

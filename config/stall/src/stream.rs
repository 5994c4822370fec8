//! [`Stalled`]: a stream that fails when its peer takes nothing of what waits for it for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::STALL_MAX;

/// A stream whose peer is expected to read: a write that waits for [`STALL_MAX`] ends with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Stalled<S> {
    stream: S,
    waits: bool,
    over: Pin<Box<Sleep>>,
}

impl<S> Stalled<S> {
    /// Over this stream.
    pub fn new(stream: S) -> Self {
        Self { stream, waits: false, over: Box::pin(sleep(STALL_MAX)) }
    }

    /// Passes on what became of a write; one that waits for too long fails.
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !std::mem::replace(&mut self.waits, true) {
            self.over.as_mut().reset(Instant::now() + STALL_MAX);
        }
        ready!(self.over.as_mut().poll(cx));
        self.waits = false;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.judge(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(shut, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(written, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_served_and_who_does_not_read_is_not() {
        for (pause, served) in [(STALL_MAX / 2, true), (STALL_MAX * 2, false)] {
            let (mut peer, ours) = tokio::io::duplex(10);
            let reading = async move {
                let mut octets = [0; 10];
                for _ in 0..10 {
                    tokio::time::sleep(pause).await;
                    if peer.read(&mut octets).await.is_err() {
                        break;
                    }
                }
            };
            let writing = async move { Stalled::new(ours).write_all(&[7; 100]).await };
            let (written, ()) = tokio::join!(writing, reading);
            let ended = written.map_err(|error| error.kind());
            assert_eq!(ended, if served { Ok(()) } else { Err(io::ErrorKind::TimedOut) });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_say_waits_for_nobody() {
        let (mut peer, ours) = tokio::io::duplex(10);
        let mut stream = Stalled::new(ours);
        let asking = async {
            tokio::time::sleep(STALL_MAX * 3).await;
            peer.write_all(b"?").await.unwrap();
            peer.read_u8().await.unwrap()
        };
        let answering = async {
            stream.read_u8().await.unwrap();
            stream.write_all(b"!").await.unwrap();
        };
        assert_eq!(tokio::join!(asking, answering).0, b'!');
    }
}

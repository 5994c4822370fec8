//! Tells HTTP/1 from HTTP/2 with prior knowledge (RFC 9113 §3.3) by what a client says first, where TLS has not settled it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0 and 1.1.
    One,
    /// HTTP/2.
    Two,
}

/// A stream of which the first octets were read already.
#[derive(Debug)]
pub struct Begun<S> {
    first: [u8; PREFACE.len()],
    from: usize,
    to: usize,
    stream: S,
}

impl<S> Begun<S> {
    /// One of which nothing was read.
    pub fn fresh(stream: S) -> Self {
        Self { first: [0; PREFACE.len()], from: 0, to: 0, stream }
    }
}

/// Reads until it is clear which version the client speaks. A stream that ends before that is of version 1, which knows how to say so.
///
/// # Errors
/// The stream's.
pub async fn detect<S: AsyncRead + Unpin>(stream: S) -> io::Result<(Version, Begun<S>)> {
    let mut begun = Begun::fresh(stream);
    loop {
        let read = begun.stream.read(&mut begun.first[begun.to..]).await?;
        begun.to += read;
        if read == 0 || begun.first[..begun.to] != PREFACE[..begun.to] {
            return Ok((Version::One, begun));
        }
        if begun.to == PREFACE.len() {
            return Ok((Version::Two, begun));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.from == self.to {
            return Pin::new(&mut self.stream).poll_read(context, to);
        }
        let octets = to.remaining().min(self.to - self.from);
        to.put_slice(&self.first[self.from..self.from + octets]);
        self.from += octets;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_octets_tell_and_none_is_lost() {
        let preface = std::str::from_utf8(PREFACE).unwrap();
        for (said, version) in [
            (&*format!("{preface}more"), Version::Two),
            ("GET / HTTP/1.1\r\n\r\n", Version::One),
            ("PUT /v1/reservations HTTP/1.1\r\n\r\n", Version::One),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r_", Version::One),
            ("PRI", Version::One),
            ("", Version::One),
        ] {
            let (found, mut begun) = detect(said.as_bytes()).await.unwrap();
            let mut all = String::new();
            begun.read_to_string(&mut all).await.unwrap();
            assert_eq!((found, &*all), (version, said));
        }
    }
}

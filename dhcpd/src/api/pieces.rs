//! [`Pieces`]: a request's body as it comes, within its limits: octets in all, time in all, and time without an octet.
//!
//! Whoever sends too much or too slowly is told so, and holds nothing but its connection meanwhile.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::problem::ApiError;

/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A body that is being read.
#[derive(Debug)]
pub struct Pieces {
    body: Body,
    bytes_max: usize,
    come: usize,
    time_max: Duration,
    deadline: Instant,
}

impl Pieces {
    /// The body of a request, from now on.
    ///
    /// # Errors
    /// 413 where it says itself that it is too long.
    pub fn of(request: Request, bytes_max: usize, time_max: Duration) -> Result<Self, ApiError> {
        let body = request.into_body();
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_long(bytes_max));
        }
        Ok(Self { body, bytes_max, come: 0, time_max, deadline: Instant::now() + time_max })
    }

    /// How long it may become: as it says itself, or else what is allowed.
    pub fn upper(&self) -> usize {
        self.body.size_hint().upper().map_or(self.bytes_max, |upper| upper as usize).min(self.bytes_max)
    }

    /// What comes next; `None` at its end.
    ///
    /// # Errors
    /// 408, 413, or 400 where it broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let silent = Instant::now() + SILENCE_MAX;
            let come = timeout_at(silent.min(self.deadline), self.body.frame()).await;
            let frame = come.map_err(|_| match silent < self.deadline {
                true => {
                    ApiError::too_slow(format!("nothing more of the body has come for {} s", SILENCE_MAX.as_secs()))
                }
                false => ApiError::too_slow(format!("the body has not come within {} s", self.time_max.as_secs())),
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let broken = |error: axum::Error| ApiError::malformed(None, format!("the body broke off: {error}"));
            // Trailers say nothing here.
            let Ok(octets) = frame.map_err(broken)?.into_data() else { continue };
            self.come += octets.len();
            if self.come > self.bytes_max {
                return Err(too_long(self.bytes_max));
            }
            return Ok(Some(octets));
        }
    }
}

fn too_long(bytes_max: usize) -> ApiError {
    ApiError::too_long(format!("at most {bytes_max} octets"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use hyper::body::Frame;
    use tokio::sync::mpsc;

    use super::*;

    const TIME_MAX: Duration = Duration::from_secs(60);

    /// A body of what is sent, without saying how much that will be.
    struct Sent(mpsc::Receiver<Bytes>);

    impl axum::body::HttpBody for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
        }
    }

    async fn all(body: Body, bytes_max: usize) -> Result<usize, StatusCode> {
        let status = |error: ApiError| error.into_response().status();
        let mut pieces = Pieces::of(Request::new(body), bytes_max, TIME_MAX).map_err(status)?;
        let mut octets = 0;
        while let Some(piece) = pieces.next().await.map_err(status)? {
            octets += piece.len();
        }
        Ok(octets)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_long_or_too_slow_is_refused() {
        const LONG: Result<usize, StatusCode> = Err(StatusCode::PAYLOAD_TOO_LARGE);
        const SLOW: Result<usize, StatusCode> = Err(StatusCode::REQUEST_TIMEOUT);
        assert_eq!(all(Body::from("12345"), 5).await, Ok(5));
        assert_eq!(all(Body::from("123456"), 5).await, LONG);
        // Pieces of two octets with so many seconds between them; whether it ends.
        for (pieces, pause, ends, expected) in [
            (2, 0, true, Ok(4)),
            (3, 0, true, LONG),
            (2, 10, true, Ok(4)),
            (2, 16, true, SLOW),
            (2, 0, false, SLOW),
            (0, 0, false, SLOW),
        ] {
            let (sender, receiver) = mpsc::channel(1);
            let sending = async move {
                for _ in 0..pieces {
                    let _ = sender.send(Bytes::from_static(b"12")).await;
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
                if !ends {
                    sender.closed().await;
                }
            };
            let reading = all(Body::new(Sent(receiver)), 5);
            assert_eq!(tokio::join!(reading, sending).0, expected, "{pieces} with {pause} s, ends: {ends}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_for_ever_is_cut() {
        let (sender, receiver) = mpsc::channel(1);
        let sending = async move {
            while sender.send(Bytes::from_static(b"1")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await
            }
        };
        let begun = Instant::now();
        assert_eq!(tokio::join!(all(Body::new(Sent(receiver)), 1 << 20), sending).0, Err(StatusCode::REQUEST_TIMEOUT));
        assert!(begun.elapsed() < TIME_MAX + Duration::from_secs(2));
    }
}

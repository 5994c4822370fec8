//! [`Answers`]: the answers of one HTTP/2 connection.
//!
//! The flow control of HTTP/2 (RFC 9113 §5.2) is above the stream: a client that gives no window has nothing written to it, and answers every ping. hyper asks a body for its next piece when there
//! is room for it; so a body that has given one and is not asked again waits for its reader. A body that has nothing to give yet (a stream of events without news) waits for nobody.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep, sleep_until};

use crate::STALL_MAX;

/// Octets given at a time, so that a slow reader is soon asked for more.
const PIECE_BYTES: usize = 16 << 10;

/// The answers of a connection that wait for their reader. Clones are the same connection's.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// How many answers there were.
    count: u64,
    /// Since when each has waited.
    since: BTreeMap<u64, Instant>,
}

impl Answers {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of an answer, watched.
    pub fn watch<B: Body<Data = Bytes>>(&self, body: B) -> Watched<B> {
        let mut waiting = self.waiting();
        waiting.count += 1;
        Watched { body: Box::pin(body), rest: Bytes::new(), answers: self.clone(), number: waiting.count }
    }

    /// Resolves when the reader has taken nothing of an answer for [`STALL_MAX`].
    pub async fn stalled(&self) {
        loop {
            let longest = self.waiting().since.values().min().copied();
            match longest {
                // One that begins to wait meanwhile is seen in time.
                None => sleep(STALL_MAX).await,
                Some(since) if since.elapsed() >= STALL_MAX => return,
                Some(since) => sleep_until(since + STALL_MAX).await,
            }
        }
    }
}

/// A body of which is known whether its reader takes it.
#[derive(Debug)]
pub struct Watched<B> {
    body: Pin<Box<B>>,
    /// What is left of a piece.
    rest: Bytes,
    answers: Answers,
    number: u64,
}

impl<B> Watched<B> {
    /// Whether it waits from now on.
    fn waits(&self, is_so: bool) {
        let mut waiting = self.answers.waiting();
        match is_so {
            true => waiting.since.insert(self.number, Instant::now()),
            false => waiting.since.remove(&self.number),
        };
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            // Whoever asks has room.
            self.waits(false);
            match ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(octets) => self.rest = octets,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = PIECE_BYTES.min(self.rest.len());
        let piece = self.rest.split_to(piece);
        self.waits(true);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.waits(false);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    /// Whether the reader of the answers is told to have stalled within so long.
    async fn stalls_within(answers: &Answers, time: Duration) -> bool {
        tokio::time::timeout(time, answers.stalled()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_is_served_and_who_takes_nothing_is_not() {
        let answers = Answers::default();
        let mut body = answers.watch(Full::new(Bytes::from(vec![7; 10 * PIECE_BYTES])));
        assert_eq!(body.size_hint().exact(), Some(10 * PIECE_BYTES as u64));
        let mut taken = 0;
        for _ in 0..5 {
            taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            assert!(!stalls_within(&answers, STALL_MAX / 2).await);
        }
        assert_eq!(body.size_hint().exact(), Some(10 * PIECE_BYTES as u64 - taken as u64));
        assert!(!body.is_end_stream());
        // Another that is read does not help the one that is not.
        let mut other = answers.watch(Full::new(Bytes::from(vec![7; 10 * PIECE_BYTES])));
        other.frame().await.unwrap().unwrap();
        assert!(stalls_within(&answers, STALL_MAX).await);
        drop((body, other));
        assert!(!stalls_within(&answers, STALL_MAX * 3).await, "what is gone waits for nobody");
    }

    /// A body that gives one piece, and then has none yet.
    struct Quiet(bool);

    impl Body for Quiet {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match std::mem::replace(&mut self.0, true) {
                false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"news"))))),
                true => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_news_is_left_alone() {
        let answers = Answers::default();
        let mut body = answers.watch(Quiet(false));
        body.frame().await.unwrap().unwrap();
        let asking = tokio::time::timeout(Duration::from_secs(1), body.frame());
        assert!(asking.await.is_err(), "there is nothing yet");
        assert!(!stalls_within(&answers, STALL_MAX * 3).await);
    }
}

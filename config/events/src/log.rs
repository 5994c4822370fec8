//! [`Log`]: events with sequences, which readers page through.

use std::time::Duration;

use metrics::{Gauge, gauge};
use reveille_config::dto::event::{Epoch, EventPage, EventQuery};

/// The events of a daemon. Sequences grow, also over restarts for as long as the log is the same; a reader with a place of another log, or ahead of this one, learns
/// that it has missed something.
pub trait Log: Send + Sync + 'static {
    /// Which log it is; never changes.
    fn epoch(&self) -> Epoch;
    /// The sequence up to which everything has been told.
    fn last(&self) -> u64;
    /// What is there now after `since` of what the query asks for, at most its `limit`. It may be empty and still say how far the reader has come.
    fn page_now(&self, since: u64, query: &EventQuery) -> EventPage;
    /// Resolves when there may be events after `since`.
    fn grown(&self, since: u64) -> impl Future<Output = ()> + Send;
}

/// A random epoch, for a log that begins.
///
/// # Errors
/// The system has no random numbers.
pub fn new_epoch() -> Result<Epoch, getrandom::Error> {
    getrandom::u64().map(Epoch)
}

/// The events after `since` that the query asks for; waits up to its `wait_secs` while there are none. `daemon` is counted as having one more reader meanwhile.
pub async fn page(daemon: &str, log: &impl Log, since: u64, query: &EventQuery) -> EventPage {
    let _waiting = Waiting::begin(daemon);
    let mut page = log.page_now(since, query);
    let wait = tokio::time::sleep(Duration::from_secs(query.wait_secs));
    let mut wait = std::pin::pin!(wait);
    while page.events.is_empty() && page.lost.is_none() {
        let seen = page.next;
        tokio::select! {
            () = &mut wait => break,
            () = log.grown(seen) => page = log.page_now(seen, query),
        }
    }
    page
}

/// A reader that waits, counted for as long as this lives: also one that goes away meanwhile.
struct Waiting(Gauge);

impl Waiting {
    fn begin(daemon: &str) -> Self {
        let gauge = gauge!(format!("reveille_{daemon}_event_readers"));
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Ring;
    use crate::ring::tests::push;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_next_event_it_asks_for_or_the_end_of_the_wait() {
        let ring = Arc::new(Ring::after(Epoch(1), 100));
        let test = EventQuery { wait_secs: 30, kinds: vec!["test".into()], ..EventQuery::default() };
        let waiting = tokio::spawn({
            let (ring, test) = (ring.clone(), test.clone());
            async move { page("x", &*ring, 100, &test).await }
        });
        tokio::task::yield_now().await;
        push(&ring, "other", 1);
        tokio::task::yield_now().await;
        push(&ring, "test", 1);
        assert_eq!(waiting.await.unwrap().events.len(), 1);
        let (page, began) = (page("x", &*ring, ring.last(), &test), tokio::time::Instant::now());
        assert_eq!(page.await.events.len(), 0);
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}

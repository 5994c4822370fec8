//! [`Turns`]: one at a time for each BMC, and so many in all.
//!
//! Many BMCs stumble over two conversations at once. Whoever waits for its turn waits in the order of coming.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who is being talked to. What it holds of a BMC goes when nobody talks to it or waits to.
pub struct Turns<K> {
    all: Arc<Semaphore>,
    held: Arc<Mutex<Held<K>>>,
}

/// For each BMC how many talk to it or wait to, and their turn.
type Held<K> = HashMap<K, (usize, Arc<Semaphore>)>;

impl<K> fmt::Debug for Turns<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("free", &self.all.available_permits()).finish_non_exhaustive()
    }
}

/// A turn; it ends when this is dropped.
pub struct Turn<K: Eq + Hash> {
    key: K,
    held: Arc<Mutex<Held<K>>>,
    own: Option<OwnedSemaphorePermit>,
    all: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// At most so many at a time.
    pub fn new(at_a_time_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(at_a_time_max)), held: Arc::default() }
    }

    /// Waits until it is this one's turn. Who stops waiting gives its place up.
    pub async fn take(&self, key: K) -> Turn<K> {
        let semaphore = {
            let mut held = lock(&self.held);
            let (count, semaphore) = held.entry(key.clone()).or_insert_with(|| (0, Arc::new(Semaphore::new(1))));
            *count += 1;
            Arc::clone(semaphore)
        };
        let mut turn = Turn { key, held: Arc::clone(&self.held), own: None, all: None };
        turn.own = semaphore.acquire_owned().await.ok();
        turn.all = Arc::clone(&self.all).acquire_owned().await.ok();
        turn
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some((count, _)) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

fn lock<K>(held: &Mutex<Held<K>>) -> MutexGuard<'_, Held<K>> {
    held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_at_a_time_for_each_and_so_many_in_all() {
        let turns = Turns::new(2);
        let first = poll(pin!(turns.take("a"))).expect("nobody is there");
        let mut second_of_a = pin!(turns.take("a"));
        assert!(poll(second_of_a.as_mut()).is_none(), "one at a time");
        let other = poll(pin!(turns.take("b"))).expect("another BMC");
        let mut third = Box::pin(turns.take("c"));
        assert!(poll(third.as_mut()).is_none(), "two in all");
        drop(other);
        assert!(poll(third.as_mut()).is_some());
        drop(first);
        assert!(poll(second_of_a.as_mut()).is_some());
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_gone_or_stopped_waiting() {
        let turns = Turns::new(1);
        let first = poll(pin!(turns.take("a"))).expect("nobody is there");
        for key in ["a", "b"] {
            let mut waiting = Box::pin(turns.take(key));
            assert!(poll(waiting.as_mut()).is_none());
        }
        drop(first);
        assert!(turns.held.lock().unwrap().is_empty());
        assert!(poll(pin!(turns.take("a"))).is_some());
    }
}

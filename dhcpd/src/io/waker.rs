//! [`Waker`]: wakes a worker thread that sleeps in `poll`. Costs a system call only when it really sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd and whether anybody listens to it.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker of a thread that is awake.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the thread if it sleeps.
    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can fail only when the counter is full: then the thread wakes anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// The thread: "I shall sleep". It must look for work once more after this, before it sleeps.
    pub fn will_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// The thread: "I am awake".
    pub fn is_awake(&self) {
        self.is_awake_by(true);
    }

    /// The thread: "I am awake", where it knows by what. `woken`: the descriptor was readable, so that its counter must be emptied.
    pub fn is_awake_by(&self, woken: bool) {
        self.asleep.store(false, Ordering::SeqCst);
        if woken {
            // Not before it is readable: who wakes may be between saying so and writing, and what it writes then must still be read, one sleep later.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn readable(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn wakes_once_and_only_who_sleeps() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!readable(&waker), "nobody sleeps");
        waker.will_sleep();
        waker.wake();
        waker.wake();
        assert!(readable(&waker));
        waker.is_awake_by(true);
        assert!(!readable(&waker), "the next sleep is a real one");
        waker.will_sleep();
        waker.is_awake_by(false);
        waker.wake();
        assert!(!readable(&waker), "it woke by itself");
    }

    #[test]
    fn a_wake_that_is_written_late_ends_one_sleep_and_no_more() {
        let waker = Waker::new().unwrap();
        waker.will_sleep();
        // Another thread says that it wakes this one, and is interrupted there; a packet comes.
        assert!(waker.asleep.swap(false, Ordering::SeqCst));
        waker.is_awake_by(readable(&waker));
        waker.will_sleep();
        rustix::io::write(&waker.event, &1u64.to_ne_bytes()).unwrap();
        assert!(readable(&waker));
        waker.is_awake_by(true);
        assert!(!readable(&waker));
    }
}

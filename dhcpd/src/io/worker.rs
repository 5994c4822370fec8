//! A worker's thread: receives in batches, lets the [`Engine`] think, sends, sleeps in `poll`.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::engine::{Arrival, Engine, Proceed};
use super::link::Ports;
use super::{Clock, Waker};

/// Datagrams read from one socket before the others get their turn.
const BATCH: usize = 64;
/// Requests served between two batches.
const REQUESTS: usize = 256;
/// More than any UDP payload on an Ethernet; a longer one is cut and then dropped as malformed.
const DATAGRAM_BYTES_MAX: usize = 4_096;
/// The longest sleep, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a worker thread runs on.
#[derive(Debug)]
pub struct Worker {
    /// Thinks.
    pub engine: Engine,
    /// Its sockets.
    pub ports: Ports,
    /// What wakes it.
    pub waker: Arc<Waker>,
    /// The time.
    pub clock: Clock,
}

impl Worker {
    /// Starts the thread. It ends when it is told to, or with an error of its sockets; `ended` is dropped then, also after a panic.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, number: usize, ended: impl Send + 'static) -> io::Result<JoinHandle<io::Result<()>>> {
        std::thread::Builder::new().name(format!("dhcpd-{number}")).spawn(move || {
            let _ended = ended;
            self.run()
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let received = self.receive(&mut buffer);
            let now = self.clock.now();
            let proceed = self.engine.handle_requests(now, REQUESTS);
            if self.engine.poll_timeout().is_some_and(|at| at <= now.monotonic) || received == 0 {
                self.engine.handle_timeout(now);
            }
            self.engine.handle_durable();
            self.send();
            self.engine.handle_batch_end();
            if proceed == Proceed::Stop {
                return Ok(());
            }
            if received == 0 && !self.engine.has_requests() {
                self.sleep()?;
            }
        }
    }

    /// Reads what is there, at most a batch from each socket.
    fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let mut received = 0;
        let now = self.clock.now();
        for listener in &self.ports.listeners {
            for _ in 0..BATCH {
                match listener.receive(buffer) {
                    Ok(Some((len, from))) => {
                        received += 1;
                        let octets = &buffer[..len];
                        let arrival = Arrival { octets, link: listener.link, from, broadcast: listener.broadcast };
                        self.engine.handle_packet(now, arrival);
                    }
                    Ok(None) => break,
                    // Errors of earlier sends (a host is unreachable, the link is down) are reported here; they are nobody's end.
                    Err(error) => {
                        tracing::debug!(%error, "a socket reports an error");
                        break;
                    }
                }
            }
        }
        received
    }

    fn send(&mut self) {
        while let Some(outgoing) = self.engine.poll_send() {
            let port = self.ports.ports.get_mut(usize::from(outgoing.scope.0));
            if let Some(Err(error)) = port.map(|port| port.send(&outgoing.reply)) {
                self.engine.handle_send_failed();
                tracing::debug!(%error, destination = ?outgoing.reply.destination, "a reply could not be sent");
            }
            self.engine.recycle(outgoing.reply.octets);
        }
    }

    fn sleep(&mut self) -> io::Result<()> {
        self.waker.will_sleep();
        // Once more: whoever came before the line above did not see that this thread sleeps.
        self.engine.handle_durable();
        self.send();
        if self.engine.has_requests() {
            self.waker.is_awake();
            return Ok(());
        }
        let now = self.clock.now();
        let left = self.engine.poll_timeout().map(|at| Duration::from_millis(at.0.saturating_sub(now.monotonic.0)));
        let timeout = left.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(1 + self.ports.listeners.len());
        fds.push(PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN));
        fds.extend(
            self.ports.listeners.iter().map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)),
        );
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let polled = poll(&mut fds, Some(&timeout));
        self.waker.is_awake();
        match polled {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

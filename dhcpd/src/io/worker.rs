//! A worker's thread: reads in batches, lets the [`Engine`] think, sends in batches, sleeps in `epoll_wait`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::backlog::BACKLOG_MAX;
use super::engine::{Arrival, Engine, Proceed};
use super::intake::{Intake, Serve};
use super::link::{Listener, Port, Ports};
use super::outbox::{OUTBOX, Outbox};
use super::prober::Probes;
use super::shedding::Shedding;
use super::sys::take_short_turns;
use super::{Clock, Waker};
use crate::proto::time::{Millis, Now};

/// Requests served between two batches.
const REQUESTS: usize = 256;
/// The longest sleep, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How often the kernel is asked what it dropped.
const DROPS_EVERY_SECS: u32 = 1;
/// Where one sleep was shorter than this, the next one is at least so long: at tens of thousands of packets a second, waking for each of them would cost as much as
/// answering it.
const REST: Duration = Duration::from_micros(50);
/// After a turn that read so many messages …
const MANY: usize = 4;
/// … it is at least so long: they come fast, and a turn that reads many is cheaper for each of them, most of all where replies leave together.
const LONG_REST: Duration = Duration::from_micros(150);
/// How late the kernel may end such a sleep, nanoseconds.
const TIMER_SLACK: std::num::NonZeroU64 = std::num::NonZeroU64::new(1_000).unwrap();
/// What epoll says of the waker; a listener is said by its place.
const WAKER: u64 = u64::MAX;
/// Sockets reported at once; the others are reported next time.
const EVENTS: usize = 64;

/// What a worker thread runs on.
#[derive(Debug)]
pub struct Worker {
    /// Thinks.
    pub engine: Engine,
    /// Its sockets.
    pub ports: Ports,
    /// Asks the network who uses an address.
    pub probes: Probes,
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
        if let Err(errno) = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK)) {
            tracing::debug!(%errno, "the kernel keeps its timer slack");
        }
        if let Err(error) = take_short_turns() {
            tracing::debug!(%error, "this worker takes turns as long as other threads do");
        }
        let mut poll = Poll::open(&self.ports, &self.waker)?;
        let mut intake = Intake::new(self.ports.coalesced, BACKLOG_MAX);
        let mut outbox = Outbox::default();
        let mut shedding = Shedding::default();
        let mut drops_due = Millis(0);
        loop {
            let received = intake.read(&self.ports.listeners, &mut poll.ready);
            let now = self.clock.now();
            self.engine.handle_batch_begin();
            let (engine, ports) = (&mut self.engine, &mut self.ports.ports[..]);
            let shed = intake.serve(now.monotonic, &mut Conversation { now, engine, outbox: &mut outbox, ports });
            self.engine.handle_shed(shed);
            // What the kernel has put together it could only drop together, and it is cheap to read.
            if !self.ports.coalesced
                && let Some(share) = shedding.note(now.monotonic, intake.discovers(), shed)
            {
                self.ports.listeners.iter_mut().for_each(|listener| listener.shed_discovers(share));
            }
            let proceed = self.engine.handle_requests(now, REQUESTS);
            if self.engine.poll_timeout().is_some_and(|at| at <= now.monotonic) || received == 0 {
                self.engine.handle_timeout(now);
            }
            self.engine.handle_durable();
            send(&mut self.engine, &mut outbox, &mut self.ports.ports);
            while let Some(probe) = self.engine.poll_probe() {
                self.probes.ask(probe);
            }
            self.engine.handle_batch_end();
            if drops_due <= now.monotonic {
                drops_due = now.monotonic.plus_secs(DROPS_EVERY_SECS);
                let drops = self.ports.listeners.iter_mut().map(Listener::kernel_drops);
                self.engine.handle_kernel_drops(drops.fold(0, u32::wrapping_add));
            }
            if proceed == Proceed::Stop {
                return Ok(());
            }
            let busy = !intake.is_empty() || poll.ready.contains(&true) || self.engine.has_requests();
            poll.rest = if received < MANY { REST } else { LONG_REST };
            self.wait(&mut poll, &mut outbox, busy, now)?;
        }
    }

    /// Finds out which listeners have something to read; sleeps until one has, unless `busy`.
    fn wait(&mut self, poll: &mut Poll, outbox: &mut Outbox, busy: bool, now: Now) -> io::Result<()> {
        if busy {
            let woken = poll.wait(Duration::ZERO)?;
            self.waker.is_awake_by(woken);
            return Ok(());
        }
        if poll.slept < poll.rest {
            std::thread::sleep(poll.rest - poll.slept);
        }
        self.waker.will_sleep();
        // Once more: whoever came before the line above did not see that this thread sleeps.
        self.engine.handle_durable();
        send(&mut self.engine, outbox, &mut self.ports.ports);
        let mut timeout = Duration::ZERO;
        if !self.engine.has_requests() {
            let left = self.engine.poll_timeout().map(|at| Duration::from_millis(at.0.saturating_sub(now.monotonic.0)));
            timeout = left.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        }
        let begin = Instant::now();
        let woken = poll.wait(timeout)?;
        poll.slept = begin.elapsed();
        self.waker.is_awake_by(woken);
        Ok(())
    }
}

/// The engine and its way out, while the intake is served.
struct Conversation<'a> {
    now: Now,
    engine: &'a mut Engine,
    outbox: &'a mut Outbox,
    ports: &'a mut [Port],
}

impl Serve for Conversation<'_> {
    fn packet(&mut self, arrival: Arrival<'_>) {
        self.engine.handle_packet(self.now, arrival);
    }

    fn flush(&mut self) {
        self.engine.handle_durable();
        send(self.engine, self.outbox, self.ports);
    }
}

/// Sends what the engine has to send.
fn send(engine: &mut Engine, outbox: &mut Outbox, ports: &mut [Port]) {
    loop {
        outbox.replies.extend(std::iter::from_fn(|| engine.poll_send()).take(OUTBOX));
        if outbox.replies.is_empty() {
            return;
        }
        let failed = outbox.send(ports);
        engine.handle_send_failed(failed);
        outbox.replies.drain(..).for_each(|sent| engine.recycle(sent.reply.octets));
    }
}

/// Which listeners have something to read.
struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// By the listeners' order.
    ready: Vec<bool>,
    /// How long the last sleep was, and how long the next is at least.
    slept: Duration,
    rest: Duration,
}

impl Poll {
    fn open(ports: &Ports, waker: &Waker) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, waker, epoll::EventData::new_u64(WAKER), epoll::EventFlags::IN)?;
        for (at, listener) in ports.listeners.iter().enumerate() {
            epoll::add(&epoll, listener, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS),
            ready: vec![false; ports.listeners.len()],
            slept: Duration::MAX,
            rest: REST,
        })
    }

    /// Says whether the waker was reported.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut woken = false;
        for event in &self.events {
            woken |= event.data.u64() == WAKER;
            if let Some(ready) = usize::try_from(event.data.u64()).ok().and_then(|at| self.ready.get_mut(at)) {
                *ready = true;
            }
        }
        Ok(woken)
    }
}

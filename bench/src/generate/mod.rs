//! The load: phases of simulated clients against one server, each answer checked; prints one JSON line per phase.
//!
//! Closed loop: a window of clients, each that is bound makes room for the next. Open loop: clients begin at a rate, whatever the server does, and
//! latency counts from the moment a message was *due*, so that a stall of either side is seen (no coordinated omission). Avalanche: all at once.

mod fleet;
mod plan;
mod tally;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reveille_config::MacAddr;

pub use fleet::{FLOOD_FIRST, RESERVED_BASE, RESERVED_FIRST, Retry, mac};
pub use plan::{Pace, Phase, Work};
pub use tally::{Latency, Outcome};

use crate::io::cpu;
use crate::io::wire::Wire;
use fleet::{Fleet, Next};

/// With no answer for so long the server is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// After a phase, answers under way have so long to come in.
const DRAIN_MAX: Duration = Duration::from_millis(600);
/// How often the unanswered are looked for.
const SWEEP: Duration = Duration::from_millis(20);
/// Exchanges begun before answers get their turn.
const BURST: usize = 256;
/// A wait shorter than this is not worth a sleep: waking up is not more exact.
const SPIN: Duration = Duration::from_micros(100);
/// Where only an answer lets it go on, it looks for one for so long before it sleeps: a server that had to wake it, core to core, would pay for that with each reply.
const LOOK: Duration = Duration::from_millis(1);

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "A plan is a JSON list of phases, e.g.\n  \
    '[{\"name\":\"fill\",\"pace\":{\"window\":512},\"clients\":10000,\"millis\":20000},\n    \
      {\"name\":\"steady\",\"work\":\"renew\",\"pace\":{\"rate\":5000},\"millis\":3000}]'\n\
    pace: {\"window\":N} N outstanding | {\"rate\":N} N begin a second | \"at-once\" all `clients` at the start\n\
    work: new | renew | mixed | cycle (bound, then released or declined) | reserved\n\
    flood_per_s: DISCOVERs of made-up clients beside it; retry: steady | rom (4, 8, 16, 32 s)")]
pub struct Args {
    /// Clients behind a relay with this address (giaddr), which receives on port 67
    #[arg(long, required_unless_present = "interface")]
    relay: Option<Ipv4Addr>,
    /// Direct clients, on this interface; says the server's hardware address too
    #[arg(long, requires = "server_mac", conflicts_with_all = ["relay", "offload"])]
    interface: Option<String>,
    /// The server's hardware address, for renewals of direct clients
    #[arg(long)]
    server_mac: Option<MacAddr>,
    /// The server
    #[arg(long)]
    server: Ipv4Addr,
    /// Segmentation offload both ways (UDP GSO and GRO)
    #[arg(long)]
    offload: bool,
    /// The first client's number, so that every turn brings new clients
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Never spins, and sleeps at least so long where nothing is there: for a core that is shared with others, at a rate well below what it could
    #[arg(long)]
    sleep_micros: Option<u64>,
    /// Process whose CPU time is reported
    #[arg(long)]
    server_pid: Option<u32>,
    /// The phases
    #[arg(long)]
    plan: String,
}

/// Loads the server; prints a line `phase NAME` when a phase begins and its [`Outcome`] as JSON when it has ended.
///
/// # Errors
/// The server is dead, or the plan cannot be carried out.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let plan: Vec<Phase> = serde_json::from_str(&args.plan).context("the plan is not a list of phases")?;
    let wire = match (&args.relay, &args.interface) {
        (Some(relay), _) => Wire::relay(*relay, args.server, args.offload)?,
        (None, Some(interface)) => Wire::direct(interface, (args.server_mac.context("--server-mac")?, args.server))?,
        (None, None) => anyhow::bail!("--relay or --interface"),
    };
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000)).context("cannot set the timer slack")?;
    let mut load = Load {
        wire,
        fleet: Fleet::new(args.server),
        start: Instant::now(),
        next: args.first,
        next_flood: FLOOD_FIRST,
        server_pid: args.server_pid,
        sleep: args.sleep_micros.map(Duration::from_micros),
        heard: 0,
    };
    for phase in &plan {
        println!("phase {}", phase.name);
        println!("{}", serde_json::to_string(&load.phase(phase)?)?);
    }
    Ok(())
}

struct Load {
    wire: Wire,
    fleet: Fleet,
    start: Instant,
    next: u32,
    next_flood: u32,
    server_pid: Option<u32>,
    /// The shortest sleep, where it may not spin.
    sleep: Option<Duration>,
    heard: u64,
}

impl Load {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn phase(&mut self, phase: &Phase) -> anyhow::Result<Outcome> {
        ensure!(phase.millis <= 120_000, "a phase lasts at most 120 s");
        if phase.work == Work::Renew {
            ensure!(!self.fleet.bound.is_empty(), "nobody has an address to renew: bind clients in a phase before");
        }
        self.fleet.tally = tally::Tally::default();
        let messages = self.wire.sent;
        let (server_cpu, own_cpu) = (self.server_cpu()?, own_cpu_time());
        let begin = self.now();
        self.heard = begin;
        let end = begin + phase.millis * 1_000_000;
        let mut beat = Beat::new(phase, begin);
        let mut swept = begin;
        let mut looked = Duration::ZERO;
        let last = loop {
            let now = self.now();
            if now >= end {
                break end.max(self.heard.min(now));
            }
            if phase.clients.is_some_and(|clients| self.done() >= clients) {
                break self.heard;
            }
            let sent = self.wire.sent;
            let answered = self.receive(Some(&mut beat))?;
            self.begin_due(&mut beat)?;
            if now.saturating_sub(swept) > SWEEP.as_nanos() as u64 {
                swept = now;
                self.sweep(phase.retry, now)?;
            }
            self.wire.flush()?;
            if answered == 0 && !self.rest(&beat)? && self.wire.sent == sent {
                looked += Duration::from_nanos(self.now() - now);
            }
            let silent = now.saturating_sub(self.heard) > SILENCE_MAX.as_nanos() as u64;
            ensure!(!silent, "no answer for {} s; {} were bound", SILENCE_MAX.as_secs(), self.fleet.tally.bound);
        };
        let seconds = (last.max(begin + 1) - begin) as f64 / 1e9;
        let cpu = self.server_cpu()?.saturating_sub(server_cpu);
        let busy = own_cpu_time().saturating_sub(own_cpu).saturating_sub(looked).as_secs_f64() / seconds;
        let in_time = self.fleet.tally.clone();
        self.drain()?;
        let tally = &self.fleet.tally;
        Ok(Outcome {
            name: phase.name.clone(),
            seconds,
            started: in_time.started,
            flooded: beat.flooded,
            bound: in_time.bound,
            renewed: in_time.renewed,
            released: tally.released,
            declined: tally.declined,
            flood_offers: in_time.flood_offers,
            retries: tally.retries,
            unanswered: tally.unanswered,
            late: tally.late,
            naks: tally.naks,
            violations: tally.violations,
            first_violation: tally.first_violation.clone(),
            messages: self.wire.sent - messages,
            offer_us: (&tally.offer).into(),
            ack_us: (&tally.ack).into(),
            dora_us: (&tally.dora).into(),
            server_cpu_s: cpu.as_secs_f64(),
            generator_busy: busy.min(1.0),
        })
    }

    /// Exchanges of this phase that have ended well.
    fn done(&self) -> u64 {
        self.fleet.tally.bound + self.fleet.tally.renewed
    }

    fn server_cpu(&self) -> anyhow::Result<Duration> {
        self.server_pid.map_or(Ok(Duration::ZERO), cpu::cpu_time)
    }

    /// Takes in what is there and lets each client go on.
    fn receive(&mut self, mut beat: Option<&mut Beat>) -> anyhow::Result<usize> {
        let Self { wire, fleet, start, .. } = self;
        let mut replies = Vec::with_capacity(BURST);
        let mut clock = None;
        let got = wire.receive(|octets| {
            let now = *clock.get_or_insert_with(|| start.elapsed().as_nanos() as u64);
            match fleet.handle(now, octets) {
                Next::Send(message) => replies.push(message),
                Next::Bound => {
                    let Some(beat) = beat.as_deref_mut() else { return };
                    if beat.work == Work::Cycle
                        && let Some(client) = fleet.bound.pop_back()
                    {
                        replies.push(if client.number.is_multiple_of(16) {
                            fleet.decline(client)
                        } else {
                            fleet.release(client)
                        });
                    }
                }
                Next::Nothing | Next::Renewed | Next::Refused => {}
            }
        })?;
        if let Some(now) = clock {
            self.heard = now;
        }
        replies.iter().try_for_each(|message| wire.push(message))?;
        Ok(got)
    }

    /// Begins the exchanges that are due.
    fn begin_due(&mut self, beat: &mut Beat) -> anyhow::Result<()> {
        let now = self.now();
        for _ in 0..BURST {
            let Some(due) = beat.due(now, self.fleet.outstanding() as u64) else { break };
            let message = match beat.next_work() {
                Work::Renew => match self.fleet.bound.pop_front() {
                    Some(client) => self.fleet.renew(now, due, client),
                    None if beat.work == Work::Mixed => {
                        self.next += 1;
                        self.fleet.discover(now, due, self.next - 1)
                    }
                    // All are under way.
                    None => break,
                },
                Work::Mixed if beat.gives_back() && !self.fleet.bound.is_empty() => {
                    let client = self.fleet.bound.pop_front().expect("one is bound");
                    Some(if client.number.is_multiple_of(4) {
                        self.fleet.decline(client)
                    } else {
                        self.fleet.release(client)
                    })
                }
                Work::Reserved => self.fleet.discover(now, due, RESERVED_FIRST + beat.begun as u32),
                Work::New | Work::Mixed | Work::Cycle => {
                    self.next += 1;
                    self.fleet.discover(now, due, self.next - 1)
                }
            };
            let Some(message) = message else { break };
            beat.begun += 1;
            self.wire.push(&message)?;
        }
        let flood = beat.flood_due(now).min(BURST as u64);
        for _ in 0..flood {
            self.next_flood += 1;
            beat.flooded += 1;
            self.wire.push(&Fleet::made_up(self.next_flood))?;
        }
        Ok(())
    }

    fn sweep(&mut self, retry: Retry, now: u64) -> anyhow::Result<()> {
        let Self { wire, fleet, .. } = self;
        let mut pushed = Ok(());
        fleet.sweep(now, retry, |message| {
            if pushed.is_ok() {
                pushed = wire.push(&message);
            }
        });
        pushed?;
        wire.answer_arp(|address| fleet.owner_of(address))
    }

    /// Nothing is there: sleeps, unless something is due at once. Says whether it slept.
    fn rest(&self, beat: &Beat) -> anyhow::Result<bool> {
        let Self { wire, fleet, .. } = self;
        wire.answer_arp(|address| fleet.owner_of(address))?;
        let left = beat.next_due().map(|due| Duration::from_nanos(due.saturating_sub(self.now())));
        let looks = || self.now().saturating_sub(self.heard) < LOOK.as_nanos() as u64;
        match left {
            Some(left) if left < SPIN && self.sleep.is_none() => return Ok(false),
            None if self.sleep.is_none() && looks() => return Ok(false),
            Some(left) if left < SPIN => self.wire.wait(left.max(self.sleep.unwrap_or_default())),
            left => self.wire.wait(left.map_or(SWEEP / 4, |left| (left - SPIN / 2).min(SWEEP / 4))),
        }?;
        Ok(true)
    }

    /// After a phase: answers under way come in, then whoever is left gives up.
    fn drain(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while self.fleet.outstanding() > 0 && begin.elapsed() < DRAIN_MAX {
            if self.receive(None)? == 0 {
                self.wire.wait(SWEEP)?;
            }
            self.wire.flush()?;
        }
        self.fleet.give_up();
        Ok(())
    }
}

fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// When the next exchange of a phase is due.
struct Beat {
    pace: Pace,
    work: Work,
    begin: u64,
    begun: u64,
    clients: u64,
    flood_per_s: u64,
    flooded: u64,
}

impl Beat {
    fn new(phase: &Phase, begin: u64) -> Self {
        let clients = phase.clients.unwrap_or(u64::MAX);
        let flood_per_s = phase.flood_per_s;
        Self { pace: phase.pace, work: phase.work, begin, begun: 0, clients, flood_per_s, flooded: 0 }
    }

    /// When the next was due, if that has come.
    fn due(&self, now: u64, outstanding: u64) -> Option<u64> {
        if self.begun >= self.clients && self.work != Work::Renew {
            return None;
        }
        match self.pace {
            Pace::Window(window) => (outstanding < window).then_some(now),
            Pace::Rate(_) => self.own_due().filter(|due| *due <= now),
            Pace::AtOnce => Some(self.begin),
        }
    }

    /// When the next will be due; `None` where only an answer makes it so.
    fn own_due(&self) -> Option<u64> {
        match self.pace {
            Pace::Rate(rate) if rate > 0 && self.begun < self.clients => Some(self.nth(self.begun, rate)),
            _ => None,
        }
    }

    /// When anything will be due, made-up clients included.
    fn next_due(&self) -> Option<u64> {
        let flood = (self.flood_per_s > 0).then(|| self.nth(self.flooded, self.flood_per_s));
        self.own_due().into_iter().chain(flood).min()
    }

    fn nth(&self, count: u64, rate: u64) -> u64 {
        self.begin + (u128::from(count) * 1_000_000_000 / u128::from(rate)) as u64
    }

    /// Messages of made-up clients that are due.
    fn flood_due(&self, now: u64) -> u64 {
        let due = u128::from(self.flood_per_s) * u128::from(now - self.begin) / 1_000_000_000;
        (due as u64).saturating_sub(self.flooded)
    }

    /// What the next exchange is: of mixed work half is new, four tenths are renewals.
    fn next_work(&self) -> Work {
        match self.work {
            Work::Mixed if matches!(self.begun % 10, 1 | 3 | 5 | 7) => Work::Renew,
            work => work,
        }
    }

    /// Whether it is the turn of one that gives its address back: one of ten of mixed work.
    fn gives_back(&self) -> bool {
        self.work == Work::Mixed && self.begun % 10 == 9
    }
}

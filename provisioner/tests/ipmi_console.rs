//! Serial over LAN, stepped through with the simulator's BMC as a value: attached, held, taken over, lossy, lost.

mod ipmi_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use reveille_bmc_simulator::{Bmc, Personality, Suite};
use reveille_provisioner::proto::ipmi::sol::Line;
use reveille_provisioner::proto::ipmi::{
    Console, ConsoleEnd, ConsoleEvent, Credentials, Password, Privilege, RANDOM_BYTES, Suites, Timing, User,
};

fn credentials() -> Credentials {
    Credentials::new(User::new("admin").unwrap(), Password::new("secret").unwrap(), Privilege::Administrator)
}

/// Consoles and the BMC in one hand. Of a hundred datagrams each way `lost` are.
struct Talk {
    bmc: Bmc,
    consoles: Vec<Console>,
    events: Vec<Vec<ConsoleEvent>>,
    now: Instant,
    sent: u32,
    lost: u32,
    random: u32,
}

impl Talk {
    fn new(personality: Personality) -> Self {
        let bmc = Bmc::new(Arc::new(personality), 1);
        Self { bmc, consoles: Vec::new(), events: Vec::new(), now: Instant::now(), sent: 0, lost: 0, random: 1 }
    }

    fn open_as(&mut self, credentials: Credentials, take_over: bool) -> usize {
        self.consoles.push(Console::new(self.now, credentials, Timing::default(), take_over));
        self.events.push(Vec::new());
        self.consoles.len() - 1
    }

    fn open(&mut self, take_over: bool) -> usize {
        self.open_as(credentials(), take_over)
    }

    fn is_lost(&mut self) -> bool {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 16) % 100 < self.lost
    }

    /// Lets time pass, from one deadline to the next, and everything be said.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            for at in 0..self.consoles.len() {
                let mut out = Vec::new();
                self.sent += 1;
                let random = [self.sent as u8 | 1; RANDOM_BYTES];
                while self.consoles[at].poll_transmit(self.now, &random, &mut out) {
                    if !self.is_lost()
                        && let Some(answer) = self.bmc.handle(self.now, &out)
                    {
                        self.deliver(&answer);
                    }
                }
            }
            while let Some((_, datagram)) = self.bmc.poll_serial(self.now) {
                self.deliver(&datagram);
            }
            for (console, events) in self.consoles.iter_mut().zip(&mut self.events) {
                events.extend(std::iter::from_fn(|| console.poll_event()));
            }
            if self.now >= until {
                return;
            }
            // The BMC has timers of its own.
            let tick = self.now + Duration::from_millis(100);
            let due = self.consoles.iter().filter_map(Console::poll_timeout).min();
            self.now = due.unwrap_or(tick).clamp(self.now, tick);
            self.consoles.iter_mut().for_each(|console| console.handle_timeout(self.now));
        }
    }

    /// Whose it is, the console's own session tells.
    fn deliver(&mut self, datagram: &[u8]) {
        if !self.is_lost() {
            self.consoles.iter_mut().for_each(|console| _ = console.handle_datagram(self.now, datagram));
        }
    }

    fn output(&self, at: usize) -> String {
        let of = |event: &ConsoleEvent| match event {
            ConsoleEvent::Output(octets) => octets.clone(),
            _ => Vec::new(),
        };
        String::from_utf8(self.events[at].iter().flat_map(of).collect()).unwrap()
    }

    fn end(&self, at: usize) -> Option<&ConsoleEnd> {
        self.events[at].iter().find_map(|event| match event {
            ConsoleEvent::Ended(end) => Some(end),
            _ => None,
        })
    }
}

#[test]
fn a_line_is_attached_spoken_over_and_given_back() {
    for suite in [Suite::Three, Suite::Seventeen] {
        let mut talk = Talk::new(Personality { suites: vec![suite], ..Personality::default() });
        talk.bmc.machine.serial.says.extend(b"login: ");
        talk.bmc.machine.serial.echoes = true;
        let at = talk.open(false);
        talk.run(Duration::from_secs(1));
        assert_eq!((&talk.events[at][0], talk.output(at).as_str()), (&ConsoleEvent::Attached, "login: "));
        assert_eq!(talk.consoles[at].write(b"root\r"), 5);
        talk.consoles[at].send_break();
        talk.run(Duration::from_secs(1));
        assert_eq!((talk.output(at).as_str(), talk.bmc.machine.serial.breaks), ("login: root\r", 1));
        // Nothing is said for ten minutes: the session stays.
        talk.run(Duration::from_secs(600));
        talk.bmc.machine.serial.says.extend(b"still here");
        // More than one packet, and one that is taken in part.
        let long: String = (0..60).map(|n| format!("line {n}\r")).collect();
        talk.bmc.machine.serial.takes_only = Some(5);
        assert_eq!(talk.consoles[at].write(long.as_bytes()), long.len());
        talk.run(Duration::from_secs(2));
        assert_eq!(talk.bmc.machine.serial.heard, ["root\r", &long].concat().as_bytes());
        assert_eq!((talk.bmc.open_sessions(), talk.end(at)), (1, None));
        talk.consoles[at].close(talk.now);
        talk.run(Duration::from_secs(1));
        assert_eq!((talk.bmc.open_sessions(), talk.end(at)), (0, Some(&ConsoleEnd::Closed)));
    }
}

#[test]
fn a_line_that_another_holds_is_said_to_be_or_taken_over() {
    let mut talk = Talk::new(Personality::default());
    let first = talk.open(false);
    talk.run(Duration::from_secs(1));
    let second = talk.open(false);
    talk.run(Duration::from_secs(1));
    assert_eq!(talk.end(second), Some(&ConsoleEnd::Held));
    assert_eq!(talk.bmc.open_sessions(), 1, "its session was given back");
    let third = talk.open(true);
    talk.run(Duration::from_secs(1));
    assert_eq!((talk.end(first), talk.end(third)), (Some(&ConsoleEnd::LetGo), None));
    talk.bmc.machine.serial.says.extend(b"hello");
    talk.run(Duration::from_secs(1));
    assert_eq!((talk.output(first).as_str(), talk.output(third).as_str()), ("", "hello"));
    // Nobody holds it: nothing to take over.
    talk.consoles[third].close(talk.now);
    talk.run(Duration::from_secs(1));
    let fourth = talk.open(true);
    talk.run(Duration::from_secs(1));
    assert_eq!(talk.events[fourth], [ConsoleEvent::Attached]);
}

#[test]
fn what_does_not_work_is_told_in_words() {
    let mut talk = Talk::new(Personality::default());
    talk.bmc.refuse = Some((0x06, 0x48, 0x81));
    let at = talk.open(false);
    talk.run(Duration::from_secs(1));
    let words = "completion code 0x81, serial over LAN is disabled on the BMC";
    assert!(talk.end(at).unwrap().to_string().contains(words), "{:?}", talk.end(at));
    assert_eq!(talk.bmc.open_sessions(), 0);
    talk.bmc.refuse = None;

    let reader = Credentials::new(User::new("admin").unwrap(), Password::new("secret").unwrap(), Privilege::User);
    let at = talk.open_as(reader, false);
    talk.run(Duration::from_secs(1));
    assert!(talk.end(at).unwrap().to_string().contains("privilege level too low"), "{:?}", talk.end(at));

    let wrong = Credentials::new(User::new("admin").unwrap(), Password::new("wrong").unwrap(), Privilege::Operator);
    let at = talk.open_as(wrong, false);
    talk.run(Duration::from_secs(1));
    assert!(talk.end(at).unwrap().to_string().contains("wrong password"), "{:?}", talk.end(at));

    let at = talk.open(false);
    talk.run(Duration::from_secs(1));
    talk.bmc.restart();
    talk.consoles[at].write(b"x");
    talk.run(Duration::from_secs(60));
    assert_eq!(talk.end(at), Some(&ConsoleEnd::Silent));

    let at = talk.open(false);
    talk.run(Duration::from_secs(1));
    talk.bmc.restart();
    talk.run(Duration::from_secs(120));
    assert_eq!(talk.end(at), Some(&ConsoleEnd::Silent), "also who only listens learns it");

    let zero = talk.open_as(Credentials { suites: Suites::allowing_zero(true), ..credentials() }, false);
    talk.run(Duration::from_secs(60));
    assert!(matches!(talk.end(zero), Some(ConsoleEnd::Failed(_))), "{:?}", talk.end(zero));
}

#[test]
fn nothing_is_lost_or_doubled_on_a_lossy_wire() {
    for seed in 1..20 {
        let mut talk = Talk::new(Personality::default());
        let at = talk.open(false);
        talk.run(Duration::from_secs(1));
        (talk.random, talk.lost) = (seed, 15);
        let said: String = (0..300).map(|n| format!("{n} ")).collect();
        talk.bmc.machine.serial.says.extend(said.as_bytes());
        talk.consoles[at].write(said.as_bytes());
        talk.run(Duration::from_secs(120));
        assert_eq!(talk.end(at), None, "seed {seed}");
        assert_eq!(talk.output(at), said, "seed {seed}");
        assert!(talk.bmc.machine.serial.heard == said.as_bytes(), "seed {seed}");
    }
}

proptest! {
    /// Whatever a BMC sends over the line: no panic, and no more told than came.
    #[test]
    fn arbitrary_payloads_do_no_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..60)) {
        let (mut line, mut now) = (Line::new(64), Instant::now());
        line.write(b"something to send");
        let (mut told, mut came, mut out) = (Vec::new(), 0, Vec::new());
        for payload in payloads {
            came += payload.len();
            let _ = line.handle_payload(now, &payload, &mut told);
            line.poll_payload(now, &mut out);
            prop_assert!(told.len() <= came && out.len() <= 68);
            now += Duration::from_millis(300);
        }
    }
}

//! [`Client`] and a BMC in one hand, with time that only moves when told to.

use std::time::{Duration, Instant};

use reveille_provisioner::proto::ipmi::command::{ChassisControl, Command, GetChassisStatus, PowerAction};
use reveille_provisioner::proto::ipmi::{
    Action, CipherSuite, Client, Credentials, DropReason, Event, Failure, Password, Privilege, RANDOM_BYTES, Request,
    Suites, Timing, User,
};

use super::bmc::FakeBmc;

/// What becomes of a datagram on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    Lose,
    Twice,
}

impl Way {
    pub fn copies(self) -> usize {
        match self {
            Self::Lose => 0,
            Self::Pass => 1,
            Self::Twice => 2,
        }
    }
}

pub struct Pair {
    pub client: Client,
    pub bmc: FakeBmc,
    pub now: Instant,
    pub begun: Instant,
    /// Datagrams the client sent, lost ones included.
    pub sent: Vec<Vec<u8>>,
    /// Answers of the BMC, lost ones included.
    pub answers: usize,
    pub dropped: Vec<DropReason>,
    pub events: Vec<Event>,
    random: u8,
}

pub fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        suites: Suites::only(CipherSuite::Three).unwrap(),
        ..Credentials::new(User::new(user).unwrap(), Password::new(password).unwrap(), Privilege::Administrator)
    }
}

pub fn status() -> Request {
    GetChassisStatus.request()
}

pub fn control(action: PowerAction) -> Request {
    ChassisControl(action).request()
}

/// The client's whole state as text (secrets are not in it).
pub fn fingerprint(client: &Client) -> String {
    format!("{client:?}")
}

impl Pair {
    pub fn new() -> Self {
        Self::with(credentials("admin", "secret"))
    }

    pub fn with(credentials: Credentials) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(credentials, Timing::default()),
            bmc: FakeBmc::new("admin", "secret"),
            now,
            begun: now,
            sent: Vec::new(),
            answers: 0,
            dropped: Vec::new(),
            events: Vec::new(),
            random: 0,
        }
    }

    /// What the client has to send now.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.random = self.random.wrapping_add(1);
        let mut out = Vec::new();
        self.client.poll_transmit(self.now, &[self.random; RANDOM_BYTES], &mut out)?;
        self.sent.push(out.clone());
        Some(out)
    }

    pub fn deliver(&mut self, datagram: &[u8]) {
        if let Action::Dropped(reason) = self.client.handle_datagram(self.now, datagram) {
            self.dropped.push(reason);
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
        }
    }

    /// Goes on until nothing is left to do before `until`, time jumping from one deadline to the next.
    pub fn run(&mut self, until: Instant, there: impl FnMut(usize) -> Way, back: impl FnMut(usize) -> Way) {
        self.run_while(|_| true, until, there, back);
    }

    /// Goes on over a perfect wire until the command at hand has ended.
    pub fn finish(&mut self) {
        self.run_while(Client::is_busy, self.now + Duration::from_secs(120), |_| Way::Pass, |_| Way::Pass);
    }

    fn run_while(
        &mut self,
        go_on: impl Fn(&Client) -> bool,
        until: Instant,
        mut there: impl FnMut(usize) -> Way,
        mut back: impl FnMut(usize) -> Way,
    ) {
        loop {
            while let Some(datagram) = self.transmit() {
                for _ in 0..there(self.sent.len() - 1).copies() {
                    let Some(answer) = self.bmc.handle(&datagram) else { continue };
                    let copies = back(self.answers).copies();
                    self.answers += 1;
                    for _ in 0..copies {
                        self.deliver(&answer);
                    }
                }
            }
            let due = self.client.poll_timeout().filter(|at| *at <= until && go_on(&self.client));
            let Some(due) = due else { return };
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
        }
    }

    /// Carries out one command over a perfect wire; events so far are forgotten.
    pub fn command(&mut self, request: Request) -> Result<Vec<u8>, Failure> {
        self.command_over(request, |_| Way::Pass, |_| Way::Pass)
    }

    /// Carries out one command over a wire that treats the n-th datagram of either direction as told.
    pub fn command_over(
        &mut self,
        request: Request,
        there: impl FnMut(usize) -> Way,
        back: impl FnMut(usize) -> Way,
    ) -> Result<Vec<u8>, Failure> {
        self.events.clear();
        self.sent.clear();
        self.answers = 0;
        self.dropped.clear();
        self.begun = self.now;
        assert!(self.client.start(self.now, request));
        self.run_while(Client::is_busy, self.now + Duration::from_secs(120), there, back);
        let events = std::mem::take(&mut self.events);
        let mut results = events.into_iter().filter_map(|event| match event {
            Event::Opened | Event::Sol(_) => None,
            Event::Done(data) => Some(Ok(data)),
            Event::Failed(failure) => Some(Err(failure)),
        });
        let result = results.next().expect("a command ends");
        assert!(results.next().is_none(), "and only once");
        result
    }

    /// Time since the last command began, in milliseconds.
    pub fn elapsed_ms(&self) -> u128 {
        self.now.duration_since(self.begun).as_millis()
    }

    /// Lets time pass; what falls due happens over a perfect wire.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        self.events.clear();
        self.run(until, |_| Way::Pass, |_| Way::Pass);
        self.now = until;
    }
}

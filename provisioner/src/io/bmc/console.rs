//! A machine's console: a UDP socket and a task of its own for as long as somebody looks at it.
//!
//! Consoles are few and long, commands many and short: a console that floods delays no power state. What is said over the wire is
//! decided in [`crate::proto::ipmi::Console`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::BmcTarget;
use crate::proto::ipmi::{Console, ConsoleEvent, RANDOM_BYTES, Timing};

/// Longer than any payload of a BMC's.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// Events that wait for a slow reader; then nothing more is read of the BMC, which repeats what is not acknowledged.
const EVENTS_MAX: usize = 64;
/// Things to say that wait for the task.
const WORDS_MAX: usize = 64;

/// What is done to a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleInput {
    /// Characters for the machine. What the BMC takes too slowly is lost, as on a serial line.
    Write(Vec<u8>),
    /// Hold a break on the line.
    Break,
    /// Let it go; [`ConsoleEvent::Ended`] follows.
    Close,
}

/// The way to a console's task, which lets the line go when this is dropped.
#[derive(Debug)]
pub struct BmcConsole {
    input: mpsc::Sender<ConsoleInput>,
    events: mpsc::Receiver<ConsoleEvent>,
}

impl BmcConsole {
    /// Begins to attach to the console of `target`; how that ends is the first event. `take_over`: whoever holds it loses it.
    ///
    /// # Errors
    /// What the system says to a socket towards this address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(target: &BmcTarget, timing: Timing, take_over: bool) -> io::Result<Self> {
        let address = target.address;
        let local: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect(address).await?;
        let console = Console::new(Instant::now(), target.credentials.clone(), timing, take_over);
        let ((input, inputs), (sender, events)) = (mpsc::channel(WORDS_MAX), mpsc::channel(EVENTS_MAX));
        tokio::spawn(Task { socket, console, inputs, events: sender }.run());
        Ok(Self { input, events })
    }

    /// The next thing that happened; `None` after the end.
    pub async fn next(&mut self) -> Option<ConsoleEvent> {
        self.events.recv().await
    }

    /// Does something to it; false once it has ended.
    pub async fn send(&self, input: ConsoleInput) -> bool {
        self.input.send(input).await.is_ok()
    }

    /// The way in, to be held by another task.
    pub fn input(&self) -> mpsc::Sender<ConsoleInput> {
        self.input.clone()
    }
}

struct Task {
    socket: UdpSocket,
    console: Console,
    inputs: mpsc::Receiver<ConsoleInput>,
    events: mpsc::Sender<ConsoleEvent>,
}

impl Task {
    async fn run(mut self) {
        let (mut datagram, mut out) = ([0; DATAGRAM_BYTES_MAX], Vec::new());
        let (mut is_listened_to, mut is_closing) = (true, false);
        loop {
            loop {
                let mut random = [0; RANDOM_BYTES];
                getrandom::fill(&mut random).expect("the system's random source works once it has been seeded");
                if !self.console.poll_transmit(Instant::now(), &random, &mut out) {
                    break;
                }
                // What the system does not send is repeated like what the wire loses.
                let _ = self.socket.send(&out).await;
            }
            while let Some(event) = self.console.poll_event() {
                let has_ended = matches!(event, ConsoleEvent::Ended(_));
                if is_listened_to && self.events.send(event).await.is_err() {
                    is_listened_to = false;
                }
                if has_ended {
                    return;
                }
            }
            if !is_listened_to && !std::mem::replace(&mut is_closing, true) {
                self.console.close(Instant::now());
                continue;
            }
            let due = self.console.poll_timeout().map(tokio::time::Instant::from_std);
            tokio::select! {
                received = self.socket.recv(&mut datagram) => {
                    // An error is an ICMP message about an earlier datagram: the timers know what to do about silence.
                    if let Ok(len) = received {
                        let _ = self.console.handle_datagram(Instant::now(), &datagram[..len]);
                    }
                }
                input = self.inputs.recv(), if is_listened_to => match input {
                    Some(ConsoleInput::Write(characters)) => _ = self.console.write(&characters),
                    Some(ConsoleInput::Break) => self.console.send_break(),
                    Some(ConsoleInput::Close) => self.console.close(Instant::now()),
                    None => is_listened_to = false,
                },
                () = until(due) => self.console.handle_timeout(Instant::now()),
            }
        }
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

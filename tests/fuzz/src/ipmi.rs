//! The conversation with a BMC, both directions: answers are damaged on their way to the client, requests on their way to the BMC.
//!
//! What must hold: nobody panics; the client's command ends in time, and ends well only with what the BMC really said; nothing is carried out that
//! was not asked for, and a reset no more often than one session repeats it (under the same rqSeq, by which a BMC can know it; this one
//! does not care). Decoders take whatever octets come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_bmc_simulator::{Bmc, Personality, Suite};
use reveille_provisioner::proto::ipmi::command::{
    ChassisControl, Command, DeviceId, GetBootFlags, GetChassisStatus, GetDeviceId, GetFruInfo, GetSdr, GetSelEntry,
    GetSelInfo, GetSensorReading, GetWatchdog, Inventory, PowerAction, Request, Sensor,
};
use reveille_provisioner::proto::ipmi::sol::Line;
use reveille_provisioner::proto::ipmi::{
    Client, Credentials, Event, Hop, Password, Privilege, RANDOM_BYTES, Route, Timing, User,
};

use crate::random::Random;

/// A command ends within this time, and a little for the steps of the test.
const COMMAND_MAX: Duration = Duration::from_secs(31);

/// How often one session repeats what is not answered.
const TRIES_MAX: u64 = 3;

/// What a run has met, so that one that meets nothing is noticed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Met {
    /// Conversations.
    pub conversations: u64,
    /// Commands that ended well.
    pub done: u64,
    /// Commands that ended with a failure.
    pub failed: u64,
    /// Datagrams that were damaged.
    pub damaged: u64,
    /// Octets that a decoder took for an answer.
    pub decoded: u64,
}

/// A run of the fuzzer.
pub struct IpmiFuzzer {
    random: Random,
}

impl IpmiFuzzer {
    /// A fuzzer that does the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    /// One conversation over a wire that damages, repeats and loses, and some octets for the decoders.
    ///
    /// # Panics
    /// When something is not as it must be.
    pub fn step(&mut self, met: &mut Met) {
        met.conversations += 1;
        self.converse(met);
        self.decode(met);
        self.speak();
    }

    /// A serial line whose BMC says anything at all: no more is told than came, and no more sent than it takes.
    fn speak(&mut self) {
        let (mut line, mut now) = (Line::new(self.random.below(300) as u16), Instant::now());
        let (mut told, mut came, mut payload) = (Vec::new(), 0, Vec::new());
        for _ in 0..20 {
            let written = self.random.below(100);
            assert!(line.write(&vec![b'x'; written]) <= written);
            let mut octets: Vec<u8> = (0..self.random.below(20)).map(|_| self.random.octet()).collect();
            // Often an acknowledgement of what is under way.
            if let (Some(acknowledged), Some(number)) = (octets.get_mut(1), payload.first()) {
                *acknowledged = *number;
            }
            came += octets.len();
            let _ = line.handle_payload(now, &octets, &mut told);
            line.poll_payload(now, &mut payload);
            assert!(told.len() <= came && payload.len() <= 68);
            now += Duration::from_millis(200 * self.random.below(10) as u64);
        }
    }

    fn converse(&mut self, met: &mut Met) {
        let suite = *self.random.choose(&[Suite::Three, Suite::Seventeen]);
        let personality = Personality { suites: vec![suite], ..Personality::default() };
        let mut bmc = Bmc::new(Arc::new(personality), self.random.bits());
        bmc.machine.push_button(true);
        let credentials = Credentials::new(
            User::new("admin").expect("short"),
            Password::new("secret").expect("short"),
            Privilege::Administrator,
        );
        let mut client = Client::new(credentials, Timing::default());
        let mut now = Instant::now();
        let mut wire = Wire { damage: 2 + self.random.below(8), ..Wire::default() };
        let mut resets = 0;
        for _ in 0..3 {
            let is_reset = self.random.once_in(2);
            let request =
                if is_reset { ChassisControl(PowerAction::Reset).request() } else { GetChassisStatus.request() };
            self.command(&mut client, &mut bmc, &mut now, &mut wire, request, met);
            resets += u64::from(is_reset);
        }
        // A request that was lost may still come late, so they are counted together.
        let controls = bmc.counts.controls;
        assert!(controls <= resets * TRIES_MAX, "{controls} resets were carried out and {resets} asked for");
    }

    fn command(
        &mut self,
        client: &mut Client,
        bmc: &mut Bmc,
        now: &mut Instant,
        wire: &mut Wire,
        request: Request,
        met: &mut Met,
    ) {
        let (name, begun) = (request.name, *now);
        assert!(client.start(*now, request), "nothing else is at hand");
        loop {
            let mut out = Vec::new();
            let mut octets = [0; RANDOM_BYTES];
            octets.iter_mut().for_each(|octet| *octet = self.random.octet());
            while client.poll_transmit(*now, &octets, &mut out).is_some() {
                octets.iter_mut().for_each(|octet| *octet = self.random.octet());
                for there in self.through(wire, &out, met) {
                    let Some(answer) = bmc.handle(*now, &there) else { continue };
                    for back in self.through(wire, &answer, met) {
                        let _ = client.handle_datagram(*now, &back);
                    }
                }
            }
            while let Some(event) = client.poll_event() {
                match event {
                    Event::Opened => {}
                    Event::Sol(_) => panic!("nobody asked for the serial line"),
                    Event::Done(data) => {
                        met.done += 1;
                        let truth: &[u8] = if name == GetChassisStatus::NAME { &[0x21, 0, 0x40] } else { &[] };
                        assert_eq!(data, truth, "{name}: not what the BMC said");
                    }
                    Event::Failed(failure) => {
                        met.failed += 1;
                        assert!(!failure.to_string().is_empty());
                    }
                }
            }
            if !client.is_busy() && !client.has_transmit() {
                return;
            }
            if let Some(due) = client.poll_timeout() {
                *now = (*now).max(due);
                client.handle_timeout(*now);
            }
            assert!(now.duration_since(begun) <= COMMAND_MAX, "{name} does not end");
        }
    }

    /// What arrives of a datagram.
    fn through(&mut self, wire: &mut Wire, datagram: &[u8], met: &mut Met) -> Vec<Vec<u8>> {
        wire.heard.push(datagram.to_vec());
        if !self.random.once_in(wire.damage) {
            return vec![datagram.to_vec()];
        }
        met.damaged += 1;
        let mut damaged = datagram.to_vec();
        match self.random.below(7) {
            0 => return Vec::new(),
            1 => return vec![damaged.clone(), damaged],
            2 => return vec![self.random.choose(&wire.heard).clone(), damaged],
            3 => damaged.truncate(self.random.below(damaged.len())),
            4 => damaged.extend((0..=self.random.below(40)).map(|_| 0)),
            5 => damaged = (0..self.random.below(120)).map(|_| self.random.octet()).collect(),
            _ => {
                // The two octets of RMCP that nothing covers are left as they are.
                let at = 3 + self.random.below(damaged.len() - 3);
                damaged[at] ^= 1 << self.random.below(8);
            }
        }
        // Often the real one comes as well.
        if self.random.once_in(2) { vec![damaged, datagram.to_vec()] } else { vec![damaged] }
    }

    fn decode(&mut self, met: &mut Met) {
        let mut octets: Vec<u8> = (0..self.random.below(80)).map(|_| self.random.octet()).collect();
        let decoded = [
            GetDeviceId::decode(&octets).is_ok_and(|DeviceId { device_revision, .. }| device_revision < 16),
            GetBootFlags::decode(&octets).is_ok(),
            GetWatchdog::decode(&octets).is_ok(),
            GetSelInfo::decode(&octets).is_ok(),
            GetSelEntry::decode(&octets).is_ok_and(|part| !part.entry.words().is_empty()),
            GetSdr::decode(&octets).is_ok(),
            GetFruInfo::decode(&octets).is_ok(),
        ];
        met.decoded += decoded.iter().filter(|is| **is).count() as u64;
        // Inventories and sensors: shaped so that they get past their first octets.
        if octets.len() > 9 {
            octets[..8].copy_from_slice(&[1, 0, 0, 1, 2, 0, 0, 0xfc]);
            assert!(Inventory::decode(&octets).is_ok());
            octets[3] = 1 + (octets[9] & 1);
            if let Some(sensor) = Sensor::decode(&octets) {
                let reading = GetSensorReading::decode(&octets[6..]).expect("two octets are enough");
                assert!(sensor.value(&reading).is_none_or(f64::is_finite));
                assert!(!sensor.state(&reading).is_empty());
                assert!(
                    sensor.route != Route::bridged(Hop { channel: 0, address: 0x20 }),
                    "the BMC itself is not bridged"
                );
                met.decoded += 1;
            }
        }
    }
}

/// The wire's memory.
#[derive(Default)]
struct Wire {
    /// One datagram in so many is damaged.
    damage: usize,
    /// What went over it, for replays.
    heard: Vec<Vec<u8>>,
}

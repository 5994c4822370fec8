//! The machine behind a BMC.

use std::time::{Duration, Instant};

/// An entry of the system event log, without its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Seconds since 1970.
    pub at: u32,
    /// Sensor type and number.
    pub sensor: (u8, u8),
    /// Event type; bit 7: it went away again.
    pub kind: u8,
    /// Event data.
    pub data: [u8; 3],
}

/// Power, boot options, events and the rest.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    power: bool,
    /// The power it is changing to, and when it reads so.
    pending: Option<(bool, Instant)>,
    /// Boot flags, parameter 5.
    pub boot_flags: [u8; 5],
    /// Boot flag valid bit clearing, parameter 3.
    pub flag_clearing: u8,
    /// Whether boot info was acknowledged, parameter 4.
    pub acknowledge: [u8; 2],
    /// The event log.
    pub events: Vec<Event>,
    /// Seconds the identify light is on; 0xffff: until told otherwise.
    pub identify: u16,
    /// Watchdog timer: use, actions, countdown in 100 ms; none if it does not run.
    pub watchdog: Option<[u8; 6]>,
    /// Diagnostic interrupts, resets and cycles so far.
    pub resets: u32,
    /// Its serial line.
    pub serial: crate::Serial,
    /// Passwords set by command: user id, password.
    pub passwords: Vec<(u8, Vec<u8>)>,
}

impl Machine {
    /// Whether it has power.
    pub fn is_on(&mut self, now: Instant) -> bool {
        if let Some((power, _)) = self.pending.take_if(|(_, at)| *at <= now) {
            self.power = power;
        }
        self.power
    }

    /// Switches it without the BMC: somebody was at the button.
    pub fn push_button(&mut self, power: bool) {
        self.power = power;
        self.pending = None;
    }

    /// Chassis Control; the completion code. `takes`: until it reads so.
    pub fn control(&mut self, now: Instant, action: u8, takes: Duration, obeys_soft_off: bool) -> u8 {
        let is_on = self.is_on(now);
        let wanted = match action & 0x0f {
            0 => Some(false),
            1 => Some(true),
            5 if obeys_soft_off => Some(false),
            5 => None,
            2..=4 if !is_on => return 0xd5,
            2..=4 => {
                self.resets += 1;
                self.has_booted();
                None
            }
            _ => return 0xcc,
        };
        if let Some(wanted) = wanted {
            if wanted && !is_on {
                self.has_booted();
            }
            self.pending = Some((wanted, now + takes));
        }
        0
    }

    /// One-shot boot flags are used up.
    fn has_booted(&mut self) {
        if self.boot_flags[0] & 0x40 == 0 {
            self.boot_flags[0] &= !0x80;
        }
    }
}

//! The watchdog timer (27.5–27.7): what the BMC does when the machine no longer says that it lives.

use std::time::Duration;

use super::{Command, Nonsense, netfn};

/// The longest time it can be set to: 65,535 tenths of a second.
pub const WATCHDOG_MAX: Duration = Duration::from_millis(6_553_500);

/// What happens when the time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchdogAction {
    /// Nothing but an entry in the event log.
    None,
    /// Hard reset.
    Reset,
    /// Power off.
    PowerDown,
    /// Power cycle.
    PowerCycle,
    /// A number this client does not know.
    Other(u8),
}

impl WatchdogAction {
    fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Reset => 1,
            Self::PowerDown => 2,
            Self::PowerCycle => 3,
            Self::Other(number) => number & 7,
        }
    }

    fn from_number(number: u8) -> Self {
        match number & 7 {
            0 => Self::None,
            1 => Self::Reset,
            2 => Self::PowerDown,
            3 => Self::PowerCycle,
            other => Self::Other(other),
        }
    }
}

/// Sets the timer, for the use of an operating system, and stops it; [`ResetWatchdog`] starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetWatchdog {
    /// When the time is up.
    pub action: WatchdogAction,
    /// The time; at most [`WATCHDOG_MAX`].
    pub countdown: Duration,
}

/// The timer as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    /// It runs.
    pub is_running: bool,
    /// When the time is up.
    pub action: WatchdogAction,
    /// The time it was set to.
    pub countdown: Duration,
    /// The time left.
    pub left: Duration,
}

/// Asks how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetWatchdog;

/// Starts it from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetWatchdog;

/// Timer use "SMS/OS", and the flag of that use to clear.
const USE_OS: u8 = 0x04;
const CLEAR_OS: u8 = 0x10;

impl Command for SetWatchdog {
    const NAME: &'static str = "Set Watchdog Timer";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x24;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        let tenths = (self.countdown.min(WATCHDOG_MAX).as_millis() / 100) as u16;
        let [low, high] = tenths.to_le_bytes();
        vec![USE_OS, self.action.number(), 0, CLEAR_OS, low, high]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

impl Command for GetWatchdog {
    const NAME: &'static str = "Get Watchdog Timer";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x25;
    type Answer = Watchdog;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<Watchdog, Nonsense> {
        let &[of, action, _, _, low, high, left_low, left_high, ..] = data else { return Err(Nonsense) };
        let tenths = |low, high| Duration::from_millis(u64::from(u16::from_le_bytes([low, high])) * 100);
        Ok(Watchdog {
            is_running: of & 0x40 != 0,
            action: WatchdogAction::from_number(action),
            countdown: tenths(low, high),
            left: tenths(left_low, left_high),
        })
    }
}

impl Command for ResetWatchdog {
    const NAME: &'static str = "Reset Watchdog Timer";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x22;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_the_octets_of_chapter_27() {
        let set = |action, secs| SetWatchdog { action, countdown: Duration::from_secs(secs) }.encode();
        assert_eq!(set(WatchdogAction::PowerCycle, 60), [4, 3, 0, 0x10, 0x58, 0x02]);
        assert_eq!(set(WatchdogAction::None, 100_000)[4..], [0xff, 0xff]);
        let read = GetWatchdog::decode(&[0x44, 1, 0, 0, 0x58, 2, 10, 0]).unwrap();
        let (countdown, left) = (Duration::from_secs(60), Duration::from_secs(1));
        assert_eq!(read, Watchdog { is_running: true, action: WatchdogAction::Reset, countdown, left });
        assert_eq!(GetWatchdog::decode(&[0; 7]), Err(Nonsense));
    }
}

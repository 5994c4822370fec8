//! Get Chassis Status (28.2), Chassis Control (28.3) and Chassis Identify (28.5): is it on, turn it on or off, find it in the rack.

use std::fmt;

use super::{Command, Nonsense, netfn};

/// Whether the machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// System power is on.
    On,
    /// System power is off (S4/S5).
    Off,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What the chassis reports about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChassisStatus {
    /// Is it on.
    pub power: PowerState,
    /// The power supplies were shut down by an overload.
    pub overload: bool,
    /// Main power has a fault.
    pub power_fault: bool,
    /// The power controller has a fault: it could not do what it was told.
    pub control_fault: bool,
}

/// Asks for the chassis' state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetChassisStatus;

impl Command for GetChassisStatus {
    const NAME: &'static str = "Get Chassis Status";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x01;
    type Answer = ChassisStatus;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<ChassisStatus, Nonsense> {
        let &[current, _last_event, _misc, ..] = data else { return Err(Nonsense) };
        Ok(ChassisStatus {
            power: if current & 0x01 != 0 { PowerState::On } else { PowerState::Off },
            overload: current & 0x02 != 0,
            power_fault: current & 0x08 != 0,
            control_fault: current & 0x10 != 0,
        })
    }
}

/// What to do to the machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerAction {
    /// Cut the power at once.
    Off,
    /// Give it power.
    On,
    /// Off for at least a second, then on; most BMCs refuse it, or do nothing, while the machine is off.
    Cycle,
    /// Hard reset, power stays on.
    Reset,
    /// Ask the operating system to shut down (ACPI); it may not.
    Soft,
    /// Send a diagnostic interrupt (NMI).
    Diagnostic,
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "power off",
            Self::On => "power on",
            Self::Cycle => "power cycle",
            Self::Reset => "reset",
            Self::Soft => "soft power off",
            Self::Diagnostic => "diagnostic interrupt",
        })
    }
}

/// Does it. A good completion code says that the BMC has begun, not that the machine has changed: read the state back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChassisControl(pub PowerAction);

impl Command for ChassisControl {
    const NAME: &'static str = "Chassis Control";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x02;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        vec![match self.0 {
            PowerAction::Off => 0x00,
            PowerAction::On => 0x01,
            PowerAction::Cycle => 0x02,
            PowerAction::Reset => 0x03,
            PowerAction::Diagnostic => 0x04,
            PowerAction::Soft => 0x05,
        }]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }

    fn repeatable(&self) -> bool {
        match self.0 {
            PowerAction::Off | PowerAction::On => true,
            PowerAction::Cycle | PowerAction::Reset | PowerAction::Soft | PowerAction::Diagnostic => false,
        }
    }
}

/// How long the light that shows which machine it is shall be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identify {
    /// So many seconds; 0: off.
    Seconds(u8),
    /// Until it is turned off.
    On,
}

/// Turns that light on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChassisIdentify(pub Identify);

impl Command for ChassisIdentify {
    const NAME: &'static str = "Chassis Identify";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x04;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        match self.0 {
            Identify::Seconds(seconds) => vec![seconds],
            Identify::On => vec![0, 1],
        }
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_power_bits() {
        let status = |current| GetChassisStatus::decode(&[current, 0, 0x40]).unwrap();
        assert_eq!(status(0x00).power, PowerState::Off);
        assert_eq!(status(0x21).power, PowerState::On, "with a restore policy beside it");
        assert_eq!(
            status(0x1a),
            ChassisStatus { power: PowerState::Off, overload: true, power_fault: true, control_fault: true }
        );
        assert_eq!(GetChassisStatus::decode(&[0x01, 0x00]), Err(Nonsense));
        assert_eq!(status(1), GetChassisStatus::decode(&[1, 0, 0, 0]).unwrap(), "front panel octet is optional");
    }

    #[test]
    fn the_light_is_on_for_a_while_or_until_told() {
        assert_eq!(ChassisIdentify(Identify::Seconds(15)).encode(), [15]);
        assert_eq!(ChassisIdentify(Identify::On).encode(), [0, 1]);
    }

    #[test]
    fn only_on_and_off_may_be_sent_again_over_another_session() {
        let cases = [
            (PowerAction::Off, 0, true),
            (PowerAction::On, 1, true),
            (PowerAction::Cycle, 2, false),
            (PowerAction::Reset, 3, false),
            (PowerAction::Diagnostic, 4, false),
            (PowerAction::Soft, 5, false),
        ];
        for (action, octet, repeatable) in cases {
            let request = ChassisControl(action).request();
            assert_eq!((request.netfn, request.command, request.data.to_vec()), (0x00, 0x02, vec![octet]), "{action}");
            assert_eq!(request.repeatable, repeatable, "{action}");
        }
    }
}

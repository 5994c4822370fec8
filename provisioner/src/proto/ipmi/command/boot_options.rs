//! Set and Get System Boot Options (28.12–28.14): where the machine boots from next.
//!
//! The order that works across BMCs is ours to keep in [`crate::io::bmc`]: first the clearing rules (parameter 3), then
//! the acknowledge bit (parameter 4), then the flags (parameter 5). Set-in-progress (parameter 0) is left alone: it is
//! optional, and BMCs are known to stay locked by it.

use std::fmt;

use super::{Command, Nonsense, netfn};

const PARAMETER_FLAG_CLEARING: u8 = 3;
const PARAMETER_INFO_ACKNOWLEDGE: u8 = 4;
const PARAMETER_FLAGS: u8 = 5;

/// Where to boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootDevice {
    /// No override: the firmware's own order.
    None,
    /// The network.
    Pxe,
    /// The default disk.
    Disk,
    /// CD or DVD, virtual media included.
    Cdrom,
    /// The firmware's set-up.
    Bios,
    /// A device this client never sets, by its number in the flags (0–15).
    Other(u8),
}

impl BootDevice {
    fn selector(self) -> u8 {
        match self {
            Self::None => 0x0,
            Self::Pxe => 0x1,
            Self::Disk => 0x2,
            Self::Cdrom => 0x5,
            Self::Bios => 0x6,
            Self::Other(selector) => selector & 0x0f,
        }
    }

    fn from_selector(selector: u8) -> Self {
        match selector {
            0x0 => Self::None,
            0x1 => Self::Pxe,
            0x2 => Self::Disk,
            0x5 => Self::Cdrom,
            0x6 => Self::Bios,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for BootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Pxe => f.write_str("pxe"),
            Self::Disk => f.write_str("disk"),
            Self::Cdrom => f.write_str("cdrom"),
            Self::Bios => f.write_str("bios"),
            Self::Other(selector) => write!(f, "device {selector}"),
        }
    }
}

/// How the machine is to boot from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Firmware {
    /// BIOS, or UEFI's compatibility module.
    #[default]
    Legacy,
    /// UEFI.
    Uefi,
}

/// Boot flags, parameter 5: the first two octets of five; the rest leaves the firmware's defaults alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootFlags {
    /// The flags are to be heeded. Cleared by the BMC once the machine has booted, or by its timeout.
    pub valid: bool,
    /// Heed them at every boot, not at the next one only.
    pub persistent: bool,
    /// Legacy or UEFI.
    pub firmware: Firmware,
    /// The device.
    pub device: BootDevice,
}

/// Sets parameter 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBootFlags(pub BootFlags);

/// Sets parameter 3 so that the BMC keeps boot flags even if no Chassis Control comes within 60 seconds (bit 3), as
/// Ironic does: between "boot from the network" and "power on" a node may wait its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBootFlagClearing;

/// Sets parameter 4 so that the firmware knows it has not handled the flags yet (mask and data bit 0), as ipmitool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBootInfoAcknowledge;

/// Reads parameter 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetBootFlags;

const SET: &str = "Set System Boot Options";

impl Command for SetBootFlags {
    const NAME: &'static str = SET;
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x08;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        let Self(BootFlags { valid, persistent, firmware, device }) = *self;
        let flags = u8::from(valid) << 7 | u8::from(persistent) << 6 | u8::from(firmware == Firmware::Uefi) << 5;
        vec![PARAMETER_FLAGS, flags, device.selector() << 2, 0, 0, 0]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

impl Command for SetBootFlagClearing {
    const NAME: &'static str = "Set System Boot Options (boot flag timeout off)";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x08;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        vec![PARAMETER_FLAG_CLEARING, 0x08]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

impl Command for SetBootInfoAcknowledge {
    const NAME: &'static str = "Set System Boot Options (boot info acknowledge)";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x08;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        vec![PARAMETER_INFO_ACKNOWLEDGE, 0x01, 0x01]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

impl Command for GetBootFlags {
    const NAME: &'static str = "Get System Boot Options";
    const NETFN: u8 = netfn::CHASSIS;
    const COMMAND: u8 = 0x09;
    type Answer = BootFlags;

    fn encode(&self) -> Vec<u8> {
        vec![PARAMETER_FLAGS, 0, 0]
    }

    fn decode(data: &[u8]) -> Result<BootFlags, Nonsense> {
        let &[_version, parameter, flags, device, _, _, _, ..] = data else { return Err(Nonsense) };
        if parameter & 0x7f != PARAMETER_FLAGS {
            return Err(Nonsense);
        }
        Ok(BootFlags {
            // Bit 7 of the parameter's number: the BMC says that the whole parameter is invalid or locked.
            valid: flags & 0x80 != 0 && parameter & 0x80 == 0,
            persistent: flags & 0x40 != 0,
            firmware: if flags & 0x20 != 0 { Firmware::Uefi } else { Firmware::Legacy },
            device: BootDevice::from_selector(device >> 2 & 0x0f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The octets that Ironic's ipmitool driver and `ipmitool chassis bootdev` send.
    #[test]
    fn writes_and_reads_the_flags_of_table_28_14() {
        use BootDevice::*;
        let cases = [
            (Pxe, false, Firmware::Legacy, [0x80, 0x04]),
            (Pxe, true, Firmware::Uefi, [0xe0, 0x04]),
            (Disk, false, Firmware::Legacy, [0x80, 0x08]),
            (Disk, true, Firmware::Legacy, [0xc0, 0x08]),
            (Cdrom, false, Firmware::Uefi, [0xa0, 0x14]),
            (Bios, false, Firmware::Legacy, [0x80, 0x18]),
            (None, false, Firmware::Legacy, [0x80, 0x00]),
            (Other(0xf), false, Firmware::Legacy, [0x80, 0x3c]),
        ];
        for (device, persistent, firmware, [first, second]) in cases {
            let flags = BootFlags { valid: true, persistent, firmware, device };
            assert_eq!(SetBootFlags(flags).encode(), [5, first, second, 0, 0, 0], "{device}");
            assert_eq!(GetBootFlags::decode(&[1, 5, first, second, 0, 0, 0]), Ok(flags), "{device}");
        }
    }

    #[test]
    fn an_invalid_or_foreign_parameter_is_not_taken_for_flags() {
        assert!(!GetBootFlags::decode(&[1, 0x85, 0x80, 4, 0, 0, 0]).unwrap().valid);
        assert!(!GetBootFlags::decode(&[1, 5, 0x00, 4, 0, 0, 0]).unwrap().valid);
        assert_eq!(GetBootFlags::decode(&[1, 4, 0x80, 4, 0, 0, 0]), Err(Nonsense));
        assert_eq!(GetBootFlags::decode(&[1, 5, 0x80, 4, 0, 0]), Err(Nonsense));
    }

    #[test]
    fn the_sixty_second_timeout_is_turned_off_by_bit_3() {
        assert_eq!(SetBootFlagClearing.encode(), [3, 0x08]);
        assert_eq!(SetBootInfoAcknowledge.encode(), [4, 0x01, 0x01]);
    }
}

//! Get Device ID (20.1): which controller answers, and which firmware it runs.

use super::{Command, Nonsense, netfn};

/// Asks the BMC who it is. Every BMC carries it out at every privilege, so it also serves to try a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetDeviceId;

/// Who a BMC says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceId {
    /// Device id, chosen by the manufacturer.
    pub device_id: u8,
    /// Device revision, 0–15.
    pub device_revision: u8,
    /// Firmware version, major, 0–127.
    pub firmware_major: u8,
    /// Firmware version, minor, two decimal digits (the wire has them in BCD).
    pub firmware_minor: u8,
    /// Firmware is being updated, or the controller initialises itself.
    pub busy: bool,
    /// IPMI version, major and minor.
    pub ipmi_version: (u8, u8),
    /// IANA enterprise number of the manufacturer, 20 bits.
    pub manufacturer_id: u32,
    /// Product, chosen by the manufacturer.
    pub product_id: u16,
}

impl Command for GetDeviceId {
    const NAME: &'static str = "Get Device ID";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x01;
    type Answer = DeviceId;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<DeviceId, Nonsense> {
        let &[device_id, revision, major, minor, version, _support, m0, m1, m2, p0, p1, ..] = data else {
            return Err(Nonsense);
        };
        Ok(DeviceId {
            device_id,
            device_revision: revision & 0x0f,
            firmware_major: major & 0x7f,
            firmware_minor: (minor >> 4) * 10 + (minor & 0x0f),
            busy: major & 0x80 != 0,
            ipmi_version: (version & 0x0f, version >> 4),
            manufacturer_id: u32::from_le_bytes([m0, m1, m2 & 0x0f, 0]),
            product_id: u16::from_le_bytes([p0, p1]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer_and_refuses_a_short_one() {
        let data = [0x23, 0x81, 0x09, 0x48, 0x02, 0x9f, 0x91, 0x12, 0x00, 0x02, 0x0f, 1, 2, 3, 4];
        let expected = DeviceId {
            device_id: 0x23,
            device_revision: 1,
            firmware_major: 9,
            firmware_minor: 48,
            busy: false,
            ipmi_version: (2, 0),
            manufacturer_id: 0x1291,
            product_id: 0x0f02,
        };
        assert_eq!(GetDeviceId::decode(&data), Ok(expected), "with auxiliary revision");
        assert_eq!(GetDeviceId::decode(&data[..11]), Ok(expected), "without");
        assert_eq!(GetDeviceId::decode(&data[..10]), Err(Nonsense));
    }
}

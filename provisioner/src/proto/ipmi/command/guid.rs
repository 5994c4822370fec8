//! Get Device GUID (20.8) and Get System GUID (22.14): ids that stay the same for ever.

use super::{Command, Nonsense, netfn};
use crate::proto::ipmi::Guid;

/// Asks the BMC for its own GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetDeviceGuid;

/// Asks for the machine's GUID, which operating systems show as its UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSystemGuid;

impl Command for GetDeviceGuid {
    const NAME: &'static str = "Get Device GUID";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x08;
    type Answer = Guid;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<Guid, Nonsense> {
        data.first_chunk().map(|octets| Guid(*octets)).ok_or(Nonsense)
    }
}

impl Command for GetSystemGuid {
    const NAME: &'static str = "Get System GUID";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x37;
    type Answer = Guid;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(data: &[u8]) -> Result<Guid, Nonsense> {
        GetDeviceGuid::decode(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_sixteen_octets() {
        let octets: Vec<u8> = (0..16).collect();
        assert_eq!(GetSystemGuid::decode(&octets).unwrap().to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(GetDeviceGuid::decode(&octets[..15]), Err(Nonsense));
    }
}

//! Get and Set LAN Configuration Parameters (23.1, 23.2): how the BMC is reached.

use std::net::Ipv4Addr;

use super::{Command, Nonsense, netfn};

/// A parameter that is read or set here, by its number (table 23-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LanParameter {
    /// The BMC's address.
    Address = 3,
    /// Where it comes from: 1 static, 2 DHCP, 3 the firmware, 4 other.
    Source = 4,
    /// The BMC's hardware address.
    HardwareAddress = 5,
    /// The network's mask.
    Mask = 6,
    /// The router.
    Gateway = 12,
    /// The VLAN: twelve bits, and bit 15 if it is in use.
    Vlan = 20,
}

/// Reads a parameter of the channel that it is asked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetLanParameter(pub LanParameter);

/// A parameter's octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanValue(pub Vec<u8>);

impl LanValue {
    /// As an address; `None` if it has not four octets.
    pub fn address(&self) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(&self.0[..]).ok().map(Ipv4Addr::from)
    }
}

impl Command for GetLanParameter {
    const NAME: &'static str = "Get LAN Configuration Parameters";
    const NETFN: u8 = netfn::TRANSPORT;
    const COMMAND: u8 = 0x02;
    type Answer = LanValue;

    fn encode(&self) -> Vec<u8> {
        vec![0x0e, self.0 as u8, 0, 0]
    }

    fn decode(data: &[u8]) -> Result<LanValue, Nonsense> {
        data.split_first().map(|(_revision, value)| LanValue(value.to_vec())).ok_or(Nonsense)
    }
}

/// Sets a parameter of the channel that it is asked over. A BMC that changes its address answers no more at the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLanParameter(pub LanParameter, pub LanValue);

impl Command for SetLanParameter {
    const NAME: &'static str = "Set LAN Configuration Parameters";
    const NETFN: u8 = netfn::TRANSPORT;
    const COMMAND: u8 = 0x01;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        [&[0x0e, self.0 as u8], &self.1.0[..]].concat()
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_octets_of_chapter_23() {
        assert_eq!(GetLanParameter(LanParameter::Gateway).encode(), [0x0e, 12, 0, 0]);
        let value = GetLanParameter::decode(&[0x11, 10, 77, 1, 9]).unwrap();
        assert_eq!(value.address(), Some(Ipv4Addr::new(10, 77, 1, 9)));
        assert_eq!(SetLanParameter(LanParameter::Address, value).encode(), [0x0e, 3, 10, 77, 1, 9]);
        assert_eq!(GetLanParameter::decode(&[]), Err(Nonsense));
        assert_eq!(GetLanParameter::decode(&[0x11, 2]).unwrap().address(), None);
    }
}

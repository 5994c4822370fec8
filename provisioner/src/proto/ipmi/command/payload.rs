//! Activate Payload (24.1) and Deactivate Payload (24.2), for serial over LAN.

use super::{Command, Nonsense, netfn};

/// Payload type 1 is serial over LAN; a BMC has one instance of it.
const SOL: [u8; 2] = [1, 1];
/// Encrypted and authenticated.
const PROTECTED: u8 = 0xc0;
/// Serial alerts of the BMC are thought to have been delivered while somebody looks at the console.
const ALERTS_SUCCEED: u8 = 0x08;

/// Attaches the session to the machine's serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivateSol {
    /// Encrypt and sign what goes over it; only cipher suite 0 cannot.
    pub protected: bool,
}

/// What the BMC takes and gives once the line is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolTerms {
    /// Octets of the largest payload that it takes, the four of its header included. Some BMCs say nonsense here.
    pub inbound_bytes: u16,
    /// The UDP port on which it speaks the payload: nearly always the one of the session.
    pub port: u16,
}

impl Command for ActivateSol {
    const NAME: &'static str = "Activate Payload (serial over LAN)";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x48;
    type Answer = SolTerms;

    fn encode(&self) -> Vec<u8> {
        let protection = if self.protected { PROTECTED } else { 0 };
        vec![SOL[0], SOL[1], protection | ALERTS_SUCCEED, 0, 0, 0]
    }

    fn decode(data: &[u8]) -> Result<SolTerms, Nonsense> {
        let &[_, _, _, _, in_low, in_high, _, _, port_low, port_high, ..] = data else { return Err(Nonsense) };
        Ok(SolTerms {
            inbound_bytes: u16::from_le_bytes([in_low, in_high]),
            port: u16::from_le_bytes([port_low, port_high]),
        })
    }
}

/// Lets the serial line go, whoever holds it. A refusal with 80h says that nobody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeactivateSol;

impl Command for DeactivateSol {
    const NAME: &'static str = "Deactivate Payload (serial over LAN)";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x49;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        vec![SOL[0], SOL[1], 0, 0, 0, 0]
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_asked_for_protected_unless_it_cannot_be() {
        assert_eq!(ActivateSol { protected: true }.encode(), [1, 1, 0xc8, 0, 0, 0]);
        assert_eq!(ActivateSol { protected: false }.encode(), [1, 1, 0x08, 0, 0, 0]);
        let answer = [0, 0, 0, 0, 0x00, 0x01, 0xff, 0, 0x6f, 0x02, 0xff, 0xff];
        assert_eq!(ActivateSol::decode(&answer), Ok(SolTerms { inbound_bytes: 256, port: 623 }));
        assert_eq!(ActivateSol::decode(&answer[..9]), Err(Nonsense));
    }
}

//! [`Circuit`]: the port that a relay names, by which a client can be known.

use reveille_config::dhcpd::ReservedFor;

/// Relay agent circuit and remote ids (RFC 3046 §3.1, §3.2) of the port that a client is behind; empty where the relay said none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circuit<'a> {
    /// Sub-option 1.
    pub circuit_id: &'a [u8],
    /// Sub-option 2.
    pub remote_id: &'a [u8],
}

impl<'a> Circuit<'a> {
    /// The port that a reservation is for.
    pub fn of(client: &'a ReservedFor) -> Option<Self> {
        match client {
            ReservedFor::Circuit { circuit_id, remote_id } => {
                Some(Self { circuit_id: circuit_id.as_slice(), remote_id: remote_id.as_slice() })
            }
            ReservedFor::Mac(_) | ReservedFor::ClientId(_) => None,
        }
    }

    /// What a reservation may say of a client behind this port, the closest first: both ids, or one of them.
    pub fn named(self) -> impl Iterator<Item = Self> {
        let (circuit, remote) = (Self { remote_id: &[], ..self }, Self { circuit_id: &[], ..self });
        let both = (!self.circuit_id.is_empty() && !self.remote_id.is_empty()).then_some(self);
        let one = [circuit, remote].into_iter().filter(|one| *one != Circuit::default());
        both.into_iter().chain(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_by_both_ids_or_by_one() {
        let port = |circuit_id, remote_id| Circuit { circuit_id, remote_id };
        for (of, named) in [
            (port(b"eth1", b"sw"), vec![port(b"eth1", b"sw"), port(b"eth1", b""), port(b"", b"sw")]),
            (port(b"eth1", b""), vec![port(b"eth1", b"")]),
            (port(b"", b"sw"), vec![port(b"", b"sw")]),
            (Circuit::default(), vec![]),
        ] {
            assert_eq!(of.named().collect::<Vec<_>>(), named, "{of:?}");
        }
    }
}

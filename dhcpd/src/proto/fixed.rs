//! [`FixedReservations`]: reservations of the configuration by client identifier or by the port that a relay names, looked up in the immutable snapshot.
//!
//! Those by hardware address are not here: the worker that owns the machine has them in its table. Their addresses are kept out of the pools by
//! [`super::scope::Scope::kept`]; who holds one at a time, the address bitmap says.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::scope::Reservation;

/// Relay agent circuit and remote ids (RFC 3046 §3.1, §3.2) of the port that a client is behind; empty where the relay said none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circuit<'a> {
    /// Sub-option 1.
    pub circuit_id: &'a [u8],
    /// Sub-option 2.
    pub remote_id: &'a [u8],
}

/// Reservations of one scope that are not by hardware address.
#[derive(Debug, Clone, Default)]
pub struct FixedReservations {
    by_client_id: HashMap<Box<[u8]>, Arc<Reservation>>,
    by_remote_id: HashMap<Box<[u8]>, ByCircuit>,
}

/// Behind one remote id.
type ByCircuit = HashMap<Box<[u8]>, Arc<Reservation>>;

impl FixedReservations {
    /// Adds one by client identifier; gives back the one that it replaces.
    pub fn add_client_id(&mut self, client_id: &[u8], reservation: Arc<Reservation>) -> Option<Arc<Reservation>> {
        self.by_client_id.insert(client_id.into(), reservation)
    }

    /// Adds one by circuit id and remote id; gives back the one that it replaces.
    pub fn add_circuit(&mut self, circuit: Circuit<'_>, reservation: Arc<Reservation>) -> Option<Arc<Reservation>> {
        let ports = self.by_remote_id.entry(circuit.remote_id.into()).or_default();
        ports.insert(circuit.circuit_id.into(), reservation)
    }

    /// The reservation for a client: by its identifier, else by its port, of which a reservation may name both ids or one.
    pub fn find(&self, client_id: &[u8], circuit: Circuit<'_>) -> Option<&Arc<Reservation>> {
        let by_id = || self.by_client_id.get(client_id).filter(|_| !client_id.is_empty());
        let of = |remote_id, circuit_id: &[u8]| self.by_remote_id.get(remote_id)?.get(circuit_id);
        let by_port = || {
            let Circuit { circuit_id, remote_id } = circuit;
            let either = || of(&[][..], circuit_id).filter(|_| !circuit_id.is_empty());
            let other = || of(remote_id, &[]).filter(|_| !remote_id.is_empty());
            of(remote_id, circuit_id).filter(|_| circuit != Circuit::default()).or_else(either).or_else(other)
        };
        by_id().or_else(by_port)
    }

    /// The reserved addresses, in no particular order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.by_client_id.values().chain(self.by_remote_id.values().flat_map(HashMap::values)).map(|own| own.address)
    }
}

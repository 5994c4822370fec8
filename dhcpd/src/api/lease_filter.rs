//! [`Filter`]: which leases a listing or an export shows. Those by address, machine or client identifier are found by index; the others look at every lease.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::LeaseState;

use super::body::Query;
use super::lease_line::Shown;
use super::problem::ApiError;
use super::{ApiState, page};
use crate::proto::scope::{Machine, ScopeIndex};
use crate::proto::time::UnixSecs;
use crate::store::model::{LeaseRow, LeaseView, Model};

/// What a lease must be like; all that is given must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// The scope.
    pub scope: Option<ScopeIndex>,
    address: Option<Ipv4Addr>,
    mac: Option<MacAddr>,
    client_id: Option<Vec<u8>>,
    hostname: Option<String>,
    node: Option<String>,
    label: Option<(String, String)>,
    state: Option<LeaseState>,
}

impl Filter {
    /// What the query asks for.
    ///
    /// # Errors
    /// 400, naming the parameter; 404 for a scope that there is not.
    pub fn of(state: &ApiState, query: &Query) -> Result<Self, ApiError> {
        let wrong = |name: &str, expected: &str| ApiError::malformed(Some(name), format!("{expected} is expected"));
        let label = query.text("label").map(|text| text.split_once('=').ok_or_else(|| wrong("label", "NAME=VALUE")));
        let word = |text: &str| match text {
            "bound" => Ok(LeaseState::Bound),
            "released" => Ok(LeaseState::Released),
            "expired" => Ok(LeaseState::Expired),
            "declined" => Ok(LeaseState::Declined),
            _ => Err(wrong("state", "bound, released, expired or declined")),
        };
        Ok(Self {
            scope: page::scope(state, query)?,
            address: query
                .text("address")
                .map(|text| text.parse().map_err(|_| wrong("address", "an IPv4 address")))
                .transpose()?,
            mac: query.text("mac").map(|text| text.parse().map_err(|_| wrong("mac", "a MAC address"))).transpose()?,
            client_id: query
                .text("client_id")
                .map(|text| hex(text).ok_or_else(|| wrong("client_id", "hexadecimal")))
                .transpose()?,
            hostname: query.text("hostname").map(Into::into),
            node: query.text("node").map(Into::into),
            label: label.transpose()?.map(|(name, value)| (name.into(), value.into())),
            state: query.text("state").map(word).transpose()?,
        })
    }

    /// The leases that an index finds, in the order of addresses; `None` where every lease must be looked at.
    pub fn indexed(&self, state: &ApiState) -> Option<Vec<(Ipv4Addr, LeaseRow)>> {
        let model = &state.store.shared.model;
        let mut found: Vec<_> = match (self.address, self.mac, &self.client_id) {
            (Some(address), ..) => model.lease(address).map(|row| (address, row)).into_iter().collect(),
            (None, Some(mac), _) => model.leases_of(mac),
            (None, None, Some(client_id)) => model.leases_of_client_id(client_id),
            (None, None, None) => return None,
        };
        found.sort_by_key(|(address, _)| *address);
        Some(found)
    }

    /// Whether a lease is meant, as far as its record and its client's reservation tell.
    pub fn may_show(&self, model: &Model, lease: LeaseView<'_>) -> bool {
        self.scope.is_none_or(|scope| scope == lease.scope)
            && self.address.is_none_or(|own| own == lease.address)
            && self.mac.is_none_or(|mac| mac == lease.mac)
            && self.client_id.as_ref().is_none_or(|id| **id == *lease.client_id)
            && self.of_reservation(model, lease)
    }

    /// Whether a lease is meant, by the rest.
    pub fn shows(&self, shown: Shown<'_>, now: UnixSecs) -> bool {
        let hostname = || shown.hostname();
        self.state.is_none_or(|state| state == shown.state_at(now))
            && self.hostname.as_deref().is_none_or(|name| hostname().is_some_and(|own| own.eq_ignore_ascii_case(name)))
    }

    /// Node and labels are the reservation's: that of the machine, also where the lease is of another address, or else that of the address.
    fn of_reservation(&self, model: &Model, lease: LeaseView<'_>) -> bool {
        if self.node.is_none() && self.label.is_none() {
            return true;
        }
        let machine = Machine { scope: lease.scope, mac: lease.mac };
        let of_machine = model.reservation(&machine.into()).map(|(own, _)| own);
        let Some(own) = of_machine.or_else(|| model.reservation_behind(lease)) else { return false };
        let labelled = |(name, value): &(String, String)| {
            let labels: BTreeMap<String, String> = serde_json::from_str(&own.terms.labels).unwrap_or_default();
            labels.get(name) == Some(value)
        };
        self.node.as_deref().is_none_or(|node| own.node.as_deref() == Some(node))
            && self.label.as_ref().is_none_or(labelled)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let octets = text.as_bytes();
    let whole = !octets.is_empty() && octets.len().is_multiple_of(2) && octets.iter().all(u8::is_ascii_hexdigit);
    whole.then(|| {
        octets.chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    })
}

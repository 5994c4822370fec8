//! `[[dhcpd.scope.reservation]]`: an address for one client, by hardware address, by client identifier or by port.

use std::net::Ipv4Addr;

use super::boot::profile_name;
use super::class::Known;
use super::options::options;
use super::reader::{At, Table};
use super::scopes::ReservationFacts;
use super::shape;
use crate::dhcpd::{FixedReservation, ReservedFor};
use crate::option::Definitions;
use crate::{MacAddr, Octets};

/// The reservation (`None` only after a mistake was noted), and what the checks of its scope need of it.
pub(super) fn reservation(
    table: Table<'_, '_>,
    definitions: &Definitions,
    known: &Known<'_>,
) -> (Option<FixedReservation>, ReservationFacts) {
    let client = client(&table);
    let address = table
        .required("address", "\"10.77.1.10\"")
        .and_then(|value| value.parsed::<Ipv4Addr>("an IPv4 address", "\"10.77.1.10\""));
    let hostname = table.get("hostname").map(|value| shape::host_name(&value));
    let boot = table.get("boot").map(|value| profile_name(&value));
    known.boot(&table, boot.as_ref().and_then(Option::as_ref));
    let options = table.table("options").map(|table| options(table, definitions)).unwrap_or_default();
    table.finish();
    let facts = ReservationFacts { client: client.clone(), address };
    let reservation = || {
        Some(FixedReservation {
            client: client?.value,
            address: address?.value,
            hostname: match hostname {
                Some(hostname) => Some(hostname?),
                None => None,
            },
            boot: match boot {
                Some(boot) => Some(boot?.value),
                None => None,
            },
            options,
        })
    };
    (reservation(), facts)
}

/// By exactly one of `mac`, `client_id`, and `circuit_id` with `remote_id`.
fn client(table: &Table<'_, '_>) -> Option<At<ReservedFor>> {
    let octets = |key| {
        table.get(key).map(|value| {
            let text = value.text("\"hex:01525400123456\"")?;
            match Octets::written(text.value).filter(|octets| !octets.0.is_empty() && octets.0.len() <= 255) {
                Some(octets) => Some(text.map(|_| octets)),
                None => value.wrong(
                    format!("{:?} is not what a packet can contain there", text.value),
                    "1 to 255 octets, as text or as \"hex:0a0b\"",
                ),
            }
        })
    };
    let (client_id, circuit_id, remote_id) = (octets("client_id"), octets("circuit_id"), octets("remote_id"));
    let by_port = circuit_id.is_some() || remote_id.is_some();
    if !by_port && client_id.is_none() {
        return table.required("mac", "\"52:54:00:12:34:56\"").and_then(|value| {
            let mac = value.parsed::<MacAddr>("a MAC address", "\"52:54:00:12:34:56\"")?;
            match mac.value.octets()[0] & 1 == 1 || mac.value == MacAddr::default() {
                true => value.wrong(
                    format!("`{}` names no single machine", mac.value),
                    "write the MAC address of one machine, as on its label",
                ),
                false => Some(mac.map(ReservedFor::Mac)),
            }
        });
    }
    if let Some(mac) = table.get("mac") {
        return mac.wrong(
            "the reservation names its client twice",
            "write `mac`, `client_id`, or `circuit_id` and `remote_id`",
        );
    }
    if let Some(client_id) = client_id {
        let client_id = client_id?;
        if by_port {
            let (what, instead) =
                ("the reservation names its client twice", "write `client_id`, or `circuit_id` and `remote_id`");
            table.reader.wrong(client_id.span(), what, instead);
            return None;
        }
        return Some(client_id.map(ReservedFor::ClientId));
    }
    // A wrong one of the two was noted.
    let circuit_id = circuit_id.map_or(Some(None), |id| id.map(Some))?;
    let remote_id = remote_id.map_or(Some(None), |id| id.map(Some))?;
    let (start, end) = circuit_id.as_ref().or(remote_id.as_ref()).map(|id| (id.start, id.end))?;
    let octets = |id: Option<At<Octets>>| id.map(|id| id.value).unwrap_or_default();
    let value = ReservedFor::Circuit { circuit_id: octets(circuit_id), remote_id: octets(remote_id) };
    Some(At { value, start, end })
}

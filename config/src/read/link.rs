//! What is watched on the links: who uses an address already, servers that are not ours, and how much one sender asks.

use std::net::Ipv4Addr;

use super::reader::Table;
use crate::dhcpd::{ConflictCheck, ConflictMethod, Limits, PortShareBy};
use crate::limit::{CLIENT_PACKETS_PER_SEC, CONFLICT_WAIT_MILLIS_MAX, LIST_ITEMS_MAX, RELAY_PACKETS_PER_SEC};

/// `conflict_check` and `conflict_wait_millis`.
//= https://www.rfc-editor.org/rfc/rfc2131#section-3.1
//# Servers SHOULD be implemented so that network administrators MAY choose to disable probes of newly allocated addresses.
//= https://www.rfc-editor.org/rfc/rfc4039#section-3.1
//# Servers SHOULD be implemented so that network administrators MAY choose to disable probes of newly allocated addresses.
pub(super) fn conflict(table: &Table<'_, '_>) -> ConflictCheck {
    let method = table.or("conflict_check", ConflictMethod::Auto, |value| match value.text("\"auto\"")?.value {
        "auto" => Some(ConflictMethod::Auto),
        "arp" => Some(ConflictMethod::Arp),
        "icmp" => Some(ConflictMethod::Icmp),
        "off" => Some(ConflictMethod::Off),
        other => value.wrong(
            format!("{other:?} is no way to look for who uses an address"),
            "\"auto\" asks by ARP on the link and by ICMP through relays; \"arp\", \"icmp\" or \"off\"",
        ),
    });
    let wait_millis = table.or("conflict_wait_millis", 250, |value| {
        value.integer(20..=u64::from(CONFLICT_WAIT_MILLIS_MAX), "milliseconds").map(|millis| millis as u32)
    });
    ConflictCheck { method, wait_millis }
}

/// `known_servers`.
pub(super) fn known_servers(table: &Table<'_, '_>) -> Vec<Ipv4Addr> {
    let example = "\"10.77.8.2\"";
    table.or("known_servers", Vec::new(), |value| {
        let items = value.list(example)?;
        if items.len() > LIST_ITEMS_MAX {
            return value
                .wrong(format!("`known_servers` has {} items", items.len()), format!("{LIST_ITEMS_MAX} at most"));
        }
        let address = |item: &super::reader::Value<'_, '_>| item.parsed::<Ipv4Addr>("an IPv4 address", example);
        Some(items.iter().filter_map(address).map(|address| address.value).collect())
    })
}

/// `[dhcpd.limits]`.
pub(super) fn limits(table: Table<'_, '_>) -> Limits {
    let rate = |key, default: u32| {
        table.or(key, default, |value| value.integer(0..=10_000_000, "packets").map(|packets| packets as u32))
    };
    let limits = Limits {
        client_packets_per_sec: rate("client_packets_per_sec", CLIENT_PACKETS_PER_SEC),
        relay_packets_per_sec: rate("relay_packets_per_sec", RELAY_PACKETS_PER_SEC),
        port_share_percent: table.or("port_share_percent", 100, |value| {
            value.integer(1..=100, "percent of the link's pool addresses").map(|percent| percent as u8)
        }),
        port_share_by: table.or("port_share_by", PortShareBy::Port, |value| match value.text("\"port\"")?.value {
            "port" => Some(PortShareBy::Port),
            "remote-id" => Some(PortShareBy::RemoteId),
            other => value.wrong(format!("`{other}` is nothing to count by"), "`port` or `remote-id`"),
        }),
    };
    table.finish();
    limits
}

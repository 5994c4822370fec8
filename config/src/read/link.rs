//! What a scope does on its link beside answering: looking for who uses an address already.

use super::reader::Table;
use crate::dhcpd::{ConflictCheck, ConflictMethod};
use crate::limit::CONFLICT_WAIT_MILLIS_MAX;

/// `conflict_check` and `conflict_wait_millis`.
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

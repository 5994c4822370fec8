//! From an event as the store has it to the one that a reader is shown, with its sentence.

use reveille_config::MacAddr;
use reveille_config::dto::event::Event;
use serde_json::{Map, Value};

use crate::api::ApiState;
use crate::proto::reason::{ChosenBy, DropReason, NakReason};
use crate::proto::scope::Machine;
use crate::store::event::{EventKind, RawEvent};

/// The event as a reader is shown it.
pub(super) fn show(state: &ApiState, raw: &RawEvent) -> Event {
    let shared = &state.store.shared;
    let scope = shared.scopes.load().get(raw.scope).map(|scope| scope.name.to_string()).unwrap_or_default();
    let mut detail = Map::new();
    let mut put = |name: &str, value: Value| _ = detail.insert(name.into(), value);
    if !scope.is_empty() {
        put("scope", scope.clone().into());
    }
    if let Some(address) = raw.address {
        put("address", address.to_string().into());
    }
    if raw.size > 0 {
        put("in_use", raw.amount.into());
        put("addresses", raw.size.into());
    } else if raw.amount > 0 {
        put("lease_secs", raw.amount.into());
    }
    if !raw.reason.is_empty() {
        put("reason", raw.reason.into());
    }
    let own = match raw.address.filter(|_| raw.mac == MacAddr::default()) {
        Some(address) => shared.model.reserved_at(address),
        None => shared.model.reservation(&Machine { scope: raw.scope, mac: raw.mac }.into()).map(|(own, _)| own),
    };
    let node = own.and_then(|own| own.node.as_deref().map(Into::into));
    Event {
        sequence: raw.journal_sequence,
        at_unix_millis: raw.at_unix_millis,
        kind: raw.kind.as_str().into(),
        mac: (raw.mac != MacAddr::default()).then_some(raw.mac),
        node,
        message: message(raw, &scope),
        detail,
    }
}

fn message(raw: &RawEvent, scope: &str) -> String {
    let mac = raw.mac;
    let address = raw.address.map_or_else(|| "an address".into(), |address| address.to_string());
    let secs = raw.amount;
    let why = explain(raw.reason);
    match raw.kind {
        EventKind::Offered => format!("{mac} was offered {address} ({why})"),
        EventKind::Bound => format!("{mac} is bound to {address} for {secs} s"),
        EventKind::Renewed => format!("{mac} renewed {address} for {secs} s"),
        EventKind::Recalled => format!("{mac} keeps {address} for the remaining {secs} s (already on disk)"),
        EventKind::Refused => format!("{mac} was refused {address}: {why}"),
        EventKind::Released => format!("{mac} gave {address} back"),
        EventKind::Declined => format!("{mac} found {address} in use by somebody else; it rests"),
        EventKind::Conflict if raw.mac == MacAddr::default() => {
            format!("{address} is in use by a machine without a lease of it (it answers ping); it rests")
        }
        EventKind::Conflict => format!("{address} is in use by {mac}, which has no lease of it; it rests"),
        EventKind::ForeignServer if raw.mac == MacAddr::default() => {
            format!("a DHCP server that is not ours, {address}, answers on the link of {scope}")
        }
        EventKind::ForeignServer => {
            format!("a DHCP server that is not ours, {address} at {mac}, answers on the link of {scope}")
        }
        EventKind::Expired => format!("the lease of {address} for {mac} has expired"),
        EventKind::Sighting => format!("unknown machine {mac} asks on static scope {scope}"),
        EventKind::Reserved if mac == MacAddr::default() => {
            format!("{address} is reserved for a client identifier or a port")
        }
        EventKind::Unreserved if mac == MacAddr::default() => {
            format!("{address} is no longer reserved for a client identifier or a port")
        }
        EventKind::Reserved => format!("{address} is reserved for {mac}"),
        EventKind::Unreserved => format!("{address} is no longer reserved for {mac}"),
        EventKind::Dropped if scope.is_empty() => format!("a packet of {mac} was dropped: {why}"),
        EventKind::Dropped => format!("{mac} was not served on {scope}: {why}"),
        EventKind::PoolAbove => format!("{secs} of {} addresses of scope {scope} are in use: above its mark", raw.size),
        EventKind::PoolBelow => {
            format!("{secs} of {} addresses of scope {scope} are in use: below its mark again", raw.size)
        }
    }
}

/// The sentence of a reason's word.
fn explain(word: &'static str) -> &'static str {
    let chosen = ChosenBy::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    let nak = || NakReason::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    let dropped = || DropReason::ALL.iter().find(|reason| reason.as_str() == word).map(|reason| reason.text());
    chosen.or_else(nak).or_else(dropped).unwrap_or(word)
}

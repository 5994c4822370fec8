//! [`Job`]: the packet at hand with all that it belongs to, and how it is told of in logs and events.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use crate::proto::reply::Asker;
use crate::proto::rules::Rules;
use crate::proto::scope::{ClientKey, Scope};
use crate::proto::time::{Millis, Now};
use crate::proto::view::PacketView;
use crate::store::event::{EventKind, RawEvent};
use crate::store::port::Port;
use crate::store::table::ClientFacts;

/// The packet at hand and what it belongs to.
pub(super) struct Job<'a> {
    pub(super) now: Now,
    pub(super) packet: &'a PacketView<'a>,
    pub(super) port: u16,
    pub(super) scope: &'a Scope,
    pub(super) key: ClientKey,
    pub(super) rules: Rules<'a>,
    pub(super) facts: ClientFacts<'a>,
    /// The port whose share its address counts for.
    pub(super) behind: Option<Port>,
}

impl<'a> Job<'a> {
    /// Who is answered, and by which rules.
    pub(super) fn asker(&self, rules: Rules<'a>) -> Asker<'a> {
        Asker { packet: self.packet, from_port: self.port, called: self.facts.called, rules }
    }

    /// What was done and why, with the words of the counters and the events. Nothing is formatted unless somebody listens.
    pub(super) fn log(&self, done: &'static str, address: Option<Ipv4Addr>, reason: &'static str) {
        let (scope, message) = (&*self.scope.name, self.packet.message_type.as_str());
        let agent = || self.packet.relay_agent();
        let circuit_id = || agent().circuit_id().unwrap_or_default().escape_ascii();
        tracing::debug!(scope, mac = %self.packet.chaddr(), circuit_id = %circuit_id(), by_unicast = agent().received_by_unicast(), message, ?address, reason, "{done}");
    }

    /// When a reply may leave; zero where it need not wait.
    pub(super) fn due(&self) -> Millis {
        match self.rules.reply_delay_millis() {
            0 => Millis(0),
            millis => Millis(self.now.monotonic.0 + u64::from(millis)),
        }
    }

    pub(super) fn event(
        &self,
        kind: EventKind,
        address: Option<Ipv4Addr>,
        amount: u32,
        reason: &'static str,
    ) -> RawEvent {
        RawEvent {
            at_unix_millis: self.now.unix_millis,
            kind,
            mac: self.packet.chaddr(),
            scope: address.and_then(|address| self.rules.scope_of(address)).unwrap_or(self.scope).index,
            address,
            amount,
            size: 0,
            reason,
            journal_sequence: 0,
        }
    }
}

/// What a client says of itself, as text: trailing zeros cut, what is no UTF-8 replaced, control characters escaped. Allocates only for odd ones.
//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//# Options containing NVT ASCII data SHOULD NOT include a trailing NULL; however, the receiver of such options MUST be prepared to delete trailing nulls if they exist.
//= https://www.rfc-editor.org/rfc/rfc2132#section-2
//# The receiver MUST NOT require that a trailing null be included in the data.
pub(super) fn text(value: Option<&[u8]>) -> Cow<'_, str> {
    let value = value.unwrap_or_default();
    let end = value.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&value[..end]);
    if text.chars().any(char::is_control) {
        let escaped = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
        return Cow::Owned(escaped.collect());
    }
    text
}

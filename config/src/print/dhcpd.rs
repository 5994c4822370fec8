//! The table `[dhcpd]`.

use super::{Printer, json, quoted};
use crate::dhcpd::{
    Api, Boot, Class, Condition, Dhcpd, Field, FixedReservation, IdentityKind, LeaseTimes, Pattern, Pool, Quirks,
    ReservedFor, Scope, ScopeBoot,
};
use crate::dto::token::Role;
use crate::option::Definitions;
use crate::{Octets, OptionSet};

impl Printer<'_> {
    pub(super) fn dhcpd(&mut self, dhcpd: &Dhcpd) {
        self.table("dhcpd".into(), false);
        self.string("state_dir", dhcpd.state_dir.display());
        self.line("workers", dhcpd.workers);
        self.list("leasequery", &dhcpd.leasequery);
        self.list("leasequery_tell", dhcpd.leasequery_tell.iter().map(|&code| dhcpd.definitions.name(code)));
        self.list("known_servers", &dhcpd.known_servers);
        self.api(&dhcpd.api);
        self.table("dhcpd.journal".into(), false);
        self.line("segment_bytes", dhcpd.journal.segment_bytes);
        self.line("commit_gap_micros", dhcpd.journal.commit_gap_micros);
        self.line("snapshot_after_bytes", dhcpd.journal.snapshot_after_bytes);
        self.table("dhcpd.io".into(), false);
        self.line("segmentation", dhcpd.io.segmentation);
        self.table("dhcpd.limits".into(), false);
        self.line("client_packets_per_sec", dhcpd.limits.client_packets_per_sec);
        self.line("relay_packets_per_sec", dhcpd.limits.relay_packets_per_sec);
        self.line("port_share_percent", dhcpd.limits.port_share_percent);
        self.string("port_share_by", dhcpd.limits.port_share_by.as_str());
        for (at, own) in dhcpd.definitions.iter().enumerate() {
            self.table(format!("dhcpd.option[{at}]"), true);
            self.line("code", own.code);
            self.string("name", &own.name);
            self.string("type", own.kind);
            if own.vendor {
                self.line("vendor", true);
            }
        }
        for (name, boot) in &dhcpd.boots {
            self.boot(format!("dhcpd.boot.{name}"), boot);
        }
        let definitions = &dhcpd.definitions;
        for (at, class) in dhcpd.classes.iter().enumerate() {
            self.class(format!("dhcpd.class[{at}]"), class, definitions);
        }
        for (at, scope) in dhcpd.scopes.iter().enumerate() {
            self.scope(format!("dhcpd.scope[{at}]"), scope, definitions);
        }
    }

    fn api(&mut self, api: &Api) {
        self.table("dhcpd.api".into(), false);
        self.list("listen", &api.listen);
        self.optional("socket_group", &api.socket_group);
        self.string("socket_mode", format_args!("{:04o}", api.socket_mode));
        self.string("loopback_role", api.loopback_role.map_or("none", Role::as_str));
        if let Some(tls) = &api.tls {
            self.table("dhcpd.api.tls".into(), false);
            self.string("certificate", tls.certificate.display());
            self.string("key", tls.key.display());
        }
        if let Some(clients) = &api.client_certificates {
            self.table("dhcpd.api.client_certificates".into(), false);
            self.string("ca", clients.ca.display());
            self.optional("role", &clients.role);
            if !clients.roles.is_empty() {
                self.table("dhcpd.api.client_certificates.roles".into(), false);
            }
            for (name, role) in &clients.roles {
                self.string(&quoted(name), role);
            }
        }
    }

    fn class(&mut self, path: String, class: &Class, definitions: &Definitions) {
        self.table(path.clone(), true);
        self.string("name", &class.name);
        self.line("match", condition(&class.condition));
        self.optional("boot", &class.boot);
        let LeaseTimes { default, min, max } = class.lease;
        for (key, secs) in [("lease_secs", default), ("lease_secs_min", min), ("lease_secs_max", max)] {
            if let Some(secs) = secs {
                self.line(key, secs);
            }
        }
        self.options(format!("{path}.options"), &class.options, definitions);
        if class.quirks != Quirks::default() {
            self.table(format!("{path}.quirks"), false);
            let Quirks { always_broadcast, reply_delay_millis, ignore_link_selection } = class.quirks;
            if let Some(always) = always_broadcast {
                self.line("always_broadcast", always);
            }
            if let Some(millis) = reply_delay_millis {
                self.line("reply_delay_millis", millis);
            }
            if let Some(ignore) = ignore_link_selection {
                self.line("ignore_link_selection", ignore);
            }
        }
    }

    fn scope(&mut self, path: String, scope: &Scope, definitions: &Definitions) {
        self.table(path.clone(), true);
        self.string("name", &scope.name);
        self.string("kind", scope.kind.as_str());
        self.optional("shared_network", &scope.shared_network);
        if let Some(interface) = &scope.interface {
            self.string("interface", interface);
        }
        self.list("relays", &scope.relays);
        self.list("circuit_ids", &scope.circuit_ids);
        self.string("identity", if scope.identity == IdentityKind::Mac { "mac" } else { "client-id" });
        self.string("subnet", scope.subnet);
        self.string("server_address", scope.server_address);
        self.line("pools", items(&scope.pools, |one| pool(one, definitions)));
        self.list("exclude", &scope.exclude);
        self.line("lease_secs", scope.lease_secs);
        self.line("lease_secs_min", scope.lease_secs_min);
        self.line("lease_secs_max", scope.lease_secs_max);
        self.line("offer_secs", scope.offer_secs);
        self.line("decline_secs", scope.decline_secs);
        self.line("pool_above_percent", scope.pool_above_percent);
        self.line("pool_below_percent", scope.pool_below_percent);
        self.line("foreign_server_probe_secs", scope.foreign_server_probe_secs);
        self.string("conflict_check", scope.conflict.method.as_str());
        self.line("conflict_wait_millis", scope.conflict.wait_millis);
        self.line("cache_threshold_percent", scope.cache_threshold_percent);
        self.line("authoritative", scope.authoritative);
        self.line("always_broadcast", scope.always_broadcast);
        self.line("reply_delay_millis", scope.reply_delay_millis);
        self.line("ignore_link_selection", scope.ignore_link_selection);
        self.line("bootp", scope.bootp);
        self.line("rapid_commit", scope.rapid_commit);
        self.line("answer_router_solicitations", scope.answer_router_solicitations);
        if let Some(ScopeBoot::Profile(name)) = &scope.boot {
            self.string("boot", name);
        }
        self.options(format!("{path}.options"), &scope.options, definitions);
        if let Some(ScopeBoot::Own(boot)) = &scope.boot {
            self.boot(format!("{path}.boot"), boot);
        }
        for (at, reservation) in scope.reservations.iter().enumerate() {
            self.reservation(format!("{path}.reservation[{at}]"), reservation, definitions);
        }
    }

    fn boot(&mut self, path: String, boot: &Boot) {
        self.table(path, false);
        self.optional("next_server", &boot.next_server);
        for (architecture, file) in &boot.files {
            self.string(&architecture.to_string(), file);
        }
        self.optional("ipxe", &boot.ipxe);
    }

    fn reservation(&mut self, path: String, reservation: &FixedReservation, definitions: &Definitions) {
        self.table(path.clone(), true);
        match &reservation.client {
            ReservedFor::Mac(mac) => self.string("mac", mac),
            ReservedFor::ClientId(id) => self.string("client_id", id),
            ReservedFor::Circuit { circuit_id, remote_id } => {
                self.optional("circuit_id", &Some(circuit_id).filter(|id| !id.0.is_empty()));
                self.optional("remote_id", &Some(remote_id).filter(|id| !id.0.is_empty()));
            }
        }
        self.string("address", reservation.address);
        self.optional("hostname", &reservation.hostname);
        self.optional("boot", &reservation.boot);
        self.options(format!("{path}.options"), &reservation.options, definitions);
    }

    fn options(&mut self, path: String, options: &OptionSet, definitions: &Definitions) {
        if options.is_empty() {
            return;
        }
        self.table(path, false);
        for (name, value) in options.to_json_with(definitions) {
            self.line(&name, json(&value));
        }
    }
}

/// A pool as a range, or as a table where there is more to say.
fn pool(of: &Pool, definitions: &Definitions) -> String {
    let range = quoted(of.range);
    if of.allow.is_empty() && of.deny.is_empty() && of.options.is_empty() {
        return range;
    }
    let mut text = format!("{{ range = {range}");
    for (key, classes) in [("allow", &of.allow), ("deny", &of.deny)] {
        if !classes.is_empty() {
            text += &format!(", {key} = {}", items(classes, |name| quoted(name)));
        }
    }
    if !of.options.is_empty() {
        let options = of.options.to_json_with(definitions);
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name} = {}", json(value))).collect();
        text += &format!(", options = {{ {} }}", options.join(", "));
    }
    text + " }"
}

/// A condition as an inline table that reads back to it.
fn condition(of: &Condition) -> String {
    let inner = match of {
        Condition::All(conditions) => format!("all = {}", items(conditions, condition)),
        Condition::Any(conditions) => format!("any = {}", items(conditions, condition)),
        Condition::Not(inner) => format!("not = {}", condition(inner)),
        Condition::Content(field, pattern) => content(*field, pattern),
        Condition::Architecture(all) => {
            format!("architecture = {}", items(all, |one| one.name().map_or(one.to_string(), quoted)))
        }
        Condition::MacPrefix(all) => format!("mac-prefix = {}", items(all, mac_prefix)),
        Condition::Relay(all) => format!("relay = {}", items(all, |subnet| quoted(subnet))),
        Condition::RelayUnicast(unicast) => format!("relay-unicast = {unicast}"),
        Condition::Stage(all) => format!("stage = {}", items(all, |stage| quoted(stage.as_str()))),
    };
    format!("{{ {inner} }}")
}

fn items<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn content(field: Field, pattern: &Pattern) -> String {
    // Of an option with a type, a text would be read by that type.
    let written: fn(&Octets) -> String = match field {
        Field::Option(code) if code != 60 => |octets| {
            let hex = octets.0.iter().fold(String::from("hex:"), |text, octet| text + &format!("{octet:02x}"));
            quoted(hex)
        },
        _ => |octets| quoted(octets),
    };
    let pattern = match pattern {
        Pattern::Equals(all) => format!("equals = {}", items(all, written)),
        Pattern::StartsWith(all) => format!("starts-with = {}", items(all, written)),
        Pattern::Contains(all) => format!("contains = {}", items(all, written)),
        Pattern::Present => "present = true".into(),
    };
    match field {
        Field::Option(60) => format!("vendor-class = {{ {pattern} }}"),
        Field::Option(code) => format!("option = {{ code = {code}, {pattern} }}"),
        Field::UserClass => format!("user-class = {{ {pattern} }}"),
        Field::CircuitId => format!("circuit-id = {{ {pattern} }}"),
        Field::RemoteId => format!("remote-id = {{ {pattern} }}"),
    }
}

fn mac_prefix(octets: &Octets) -> String {
    quoted(octets.0.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
}

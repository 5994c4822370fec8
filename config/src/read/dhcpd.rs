//! The table `[dhcpd]` with its scopes.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::api::api;
use super::bootd::state_dir;
use super::class::{self, Known};
use super::link;
use super::listeners::{self, Listeners};
use super::options::{self, options};
use super::pool::pools;
use super::reader::{At, Table, Value};
use super::reservation::reservation;
use super::scopes::{self, ScopeFacts};
use super::webhook::webhooks;
use super::{boot, shape};
use crate::Octets;
use crate::dhcpd::{Dhcpd, IdentityKind, IoSettings, JournalSettings, LEASEQUERY_TELL, Scope, ScopeBoot, ScopeKind};
use crate::dto::event::DHCPD_KINDS;
use crate::limit::{DHCPD_WORKERS_MAX, JOURNAL_RING_BYTES_MAX, SCOPES_MAX};
use crate::mistake::Source;
use crate::option::Definitions;

/// `None` only after a mistake was noted.
pub(super) fn read(table: Table<'_, '_>, source: &Source<'_>, listeners: &mut Listeners) -> Option<Dhcpd> {
    let state_dir = state_dir(&table, "/var/lib/reveille/dhcpd");
    let api = api(&table, listeners);
    let workers =
        table.or("workers", 1, |value| value.integer(1..=DHCPD_WORKERS_MAX as u64, "threads").map(|n| n as usize));
    let journal = journal(table.table_or_empty("journal"));
    let io = io(table.table_or_empty("io"));
    let definitions = options::definitions(&table, source);
    let boots = boot::profiles(&table);
    let (classes, known) = class::classes(&table, source, &boots, &definitions);
    let leasequery = table.or("leasequery", Vec::new(), |value| {
        let items = value.list("\"10.77.0.0/16\"")?;
        Some(items.iter().filter_map(|item| shape::subnet(item).map(|subnet| subnet.value)).collect())
    });
    let leasequery_tell =
        table.or("leasequery_tell", LEASEQUERY_TELL.into(), |value| options::told_to_requestors(&value, &definitions));
    let known_servers = link::known_servers(&table);
    let limits = link::limits(table.table_or_empty("limits"));
    let mut tables = table.tables("scope");
    if let Some(extra) = tables.get(SCOPES_MAX) {
        let what = format!("more than {SCOPES_MAX} scopes; this one and the next were not looked at");
        extra.reader.wrong(extra.span.clone(), what, "split them between several hosts");
        tables.truncate(SCOPES_MAX);
    }
    if tables.is_empty() {
        table.required("scope", "[[dhcpd.scope]] with name, kind, interface, subnet and server_address");
    }
    let (scopes, facts): (Vec<Option<Scope>>, Vec<ScopeFacts>) =
        tables.into_iter().map(|table| scope(table, &definitions, &known)).unzip();
    scopes::check(table.reader, source, &facts);
    let names: Option<Vec<&str>> = scopes.iter().map(|scope| Some(&*scope.as_ref()?.name)).collect();
    let webhooks = webhooks(&table, Some(&DHCPD_KINDS), names.as_deref());
    table.finish();
    Some(Dhcpd {
        state_dir: state_dir?,
        api: api?,
        workers,
        journal,
        leasequery,
        leasequery_tell,
        io,
        known_servers,
        limits,
        definitions,
        classes: classes?,
        scopes: scopes.into_iter().collect::<Option<_>>()?,
        boots,
        webhooks: webhooks?,
    })
}

/// A segment must hold all records that may wait for one commit, with room for the journal's own framing.
const SEGMENT_BYTES_MIN: u64 = JOURNAL_RING_BYTES_MAX as u64 + (1 << 20);

fn journal(table: Table<'_, '_>) -> JournalSettings {
    let segment_bytes = table.or("segment_bytes", 16 << 20, |value| {
        let bytes = value.integer(SEGMENT_BYTES_MIN..=1 << 30, "octets")?;
        match bytes % 4_096 {
            0 => Some(bytes),
            _ => value.wrong(
                format!("`segment_bytes` = {bytes} is no multiple of 4096"),
                format!("write {}", bytes.next_multiple_of(4_096)),
            ),
        }
    });
    let settings = JournalSettings {
        segment_bytes,
        commit_gap_micros: table.or("commit_gap_micros", 1_000, |value| value.integer(0..=1_000_000, "microseconds")),
        snapshot_after_bytes: table
            .or("snapshot_after_bytes", 64 << 20, |value| value.integer(64 << 10..=1 << 40, "octets")),
    };
    table.finish();
    settings
}

fn io(table: Table<'_, '_>) -> IoSettings {
    let settings = IoSettings { segmentation: table.or("segmentation", true, |value| value.boolean()) };
    table.finish();
    settings
}

/// The scope (`None` only after a mistake was noted) and what the checks across scopes need of it.
fn scope(table: Table<'_, '_>, definitions: &Definitions, known: &Known<'_>) -> (Option<Scope>, ScopeFacts) {
    let name =
        table.required("name", "\"provisioning\"").and_then(|value| shape::name(&value, "a scope", "\"provisioning\""));
    let kind = table.required("kind", "\"dynamic\"").and_then(|value| match value.text("\"dynamic\"")?.value {
        "static" => Some(ScopeKind::Static),
        "dynamic" => Some(ScopeKind::Dynamic),
        "proxy" => Some(ScopeKind::Proxy),
        other => value.wrong(
            format!("{other:?} is not a kind of scope"),
            "\"static\" serves known machines only, \"dynamic\" serves everybody, \"proxy\" adds boot files beside another DHCP server",
        ),
    });
    let dynamic = kind == Some(ScopeKind::Dynamic);
    let subnet = table.required("subnet", "\"10.77.1.0/24\"").and_then(|value| shape::subnet(&value));
    let server_address = table
        .required("server_address", "\"10.77.1.1\"")
        .and_then(|value| value.parsed::<Ipv4Addr>("an IPv4 address", "\"10.77.1.1\""));
    let pools = pools(&table, dynamic, definitions, known);
    if let Some(pool) = pools.first().filter(|_| kind == Some(ScopeKind::Proxy)) {
        table.reader.wrong(
            pool.span(),
            "a proxy gives no addresses",
            "remove the pools: the DHCP server beside it has its own",
        );
    }
    let exclude = table.or("exclude", Vec::new(), |value| {
        Some(value.list("\"10.77.1.150\"")?.iter().filter_map(shape::range).collect())
    });
    let shared_network = table.get("shared_network").map(|value| shape::name(&value, "a network", "\"rack-7\""));
    let relays = table.or("relays", Vec::new(), |value| {
        let items = listeners::short_list(&value, "\"10.77.1.254\"")?;
        Some(items.iter().filter_map(|item| shape::address_or_subnet(item).map(|relay| item.at(relay))).collect())
    });
    // Relays are heard wherever the host's routes go.
    let anywhere = !relays.is_empty() && kind != Some(ScopeKind::Proxy) && table.get("interface").is_none();
    let interface = match anywhere {
        true => Some(None),
        false => table.required("interface", "\"eth1\"").and_then(|value| shape::interface(&value)).map(Some),
    };
    for key in ["answer_router_solicitations", "foreign_server_probe_secs"] {
        if let Some(value) = table.get(key).filter(|_| anywhere) {
            let what = format!("`{key}` is about an interface, and the scope names none");
            table.reader.wrong(value.span(), what, format!("add `interface`, or remove `{key}`"));
        }
    }
    let circuit_ids = table.or("circuit_ids", Vec::new(), |value| {
        let items = listeners::short_list(&value, "\"eth0/1\"")?;
        Some(items.iter().filter_map(circuit_id).collect())
    });
    let identity = table.or("identity", IdentityKind::Mac, |value| match value.text("\"mac\"")?.value {
        "mac" => Some(IdentityKind::Mac),
        "client-id" => Some(IdentityKind::ClientId),
        other => value.wrong(
            format!("{other:?} is not by what clients are told apart"),
            "\"mac\" (a machine keeps its lease from ROM to operating system) or \"client-id\" (option 61)",
        ),
    });

    let lease_default = if dynamic { 3_600 } else { 86_400 };
    let secs = |key, default: u32, bounds: RangeInclusive<u64>| {
        let place = table.get(key).map(|value| value.span());
        let secs = table.or(key, default, |value| value.integer(bounds, "seconds").map(|secs| secs as u32));
        let span = place.clone().unwrap_or(table.span.clone());
        (At { value: secs, start: span.start, end: span.end }, place.is_some())
    };
    // 0xffffffff would be a lease for ever (RFC 2131 §3.3), which no journal can expire.
    let bounds = 1..=u64::from(u32::MAX) - 1;
    let (lease, _) = secs("lease_secs", lease_default, bounds.clone());
    let (min, min_given) = secs("lease_secs_min", lease.value.min(300), bounds.clone());
    let (max, max_given) = secs("lease_secs_max", lease.value.max(86_400), bounds);
    if min_given && min.value > lease.value {
        let what = format!("`lease_secs_min` = {} is above `lease_secs` = {}", min.value, lease.value);
        table.reader.wrong(min.span(), what, format!("{} at most, or a longer `lease_secs`", lease.value));
    }
    if max_given && max.value < lease.value {
        let what = format!("`lease_secs_max` = {} is below `lease_secs` = {}", max.value, lease.value);
        table.reader.wrong(max.span(), what, format!("{} at least, or a shorter `lease_secs`", lease.value));
    }
    let offer_secs = secs("offer_secs", 60, 1..=3_600).0.value;
    let decline_secs = secs("decline_secs", 86_400, 0..=2_592_000).0.value;
    let pool_above_percent =
        table.or("pool_above_percent", 90, |value| value.integer(1..=100, "per cent").map(|share| share as u8));
    let below = 0..=u64::from(pool_above_percent.saturating_sub(1));
    let pool_below_percent = table.or("pool_below_percent", pool_above_percent.saturating_sub(10), |value| {
        value.integer(below, "per cent, less than `pool_above_percent`").map(|share| share as u8)
    });
    let foreign_server_probe_secs =
        table.or("foreign_server_probe_secs", 0, |value| value.integer(0..=86_400, "seconds").map(|secs| secs as u32));
    let conflict = link::conflict(&table);
    let cache_threshold_percent =
        table.or("cache_threshold_percent", 25, |value| value.integer(0..=90, "per cent").map(|share| share as u8));
    let switch = |key, default| table.or(key, default, |value| value.boolean());
    let authoritative = switch("authoritative", dynamic);
    let always_broadcast = switch("always_broadcast", false);
    let reply_delay_millis = table.or("reply_delay_millis", 0, |value| class::reply_delay(&value));
    let ignore_link_selection = switch("ignore_link_selection", false);
    //= https://www.rfc-editor.org/rfc/rfc1534#section-2
    //# MUST default this optional configuration to OFF
    //= https://www.rfc-editor.org/rfc/rfc1534#section-2
    //# MUST provide a configuration switch if returning automatic addresses to BOOTP clients,
    let bootp = switch("bootp", false);
    let rapid_commit = switch("rapid_commit", false);
    let answer_router_solicitations = switch("answer_router_solicitations", dynamic && relays.is_empty());
    let options = table.table("options").map(|table| options(table, definitions)).unwrap_or_default();
    let boot = boot::of_scope(&table, server_address.map(|address| address.value));
    if let Some(Some(At { value: ScopeBoot::Profile(name), start, end })) = &boot {
        known.boot(&table, Some(&At { value: name.clone(), start: *start, end: *end }));
    }
    let (reservations, reservation_facts): (Vec<_>, Vec<_>) =
        table.tables("reservation").into_iter().map(|table| reservation(table, definitions, known)).unzip();
    let facts = ScopeFacts {
        span: table.span.clone(),
        name: name.clone(),
        interface: interface.clone().flatten(),
        subnet,
        server_address,
        pools: pools.iter().map(|pool| At { value: pool.value.range, start: pool.start, end: pool.end }).collect(),
        exclude: exclude.clone(),
        shared_network: shared_network.clone().flatten(),
        relays: relays.clone(),
        identity,
        reservations: reservation_facts,
    };
    table.finish();
    let scope = || {
        Some(Scope {
            name: name?.value,
            kind: kind?,
            shared_network: match shared_network {
                Some(name) => Some(name?.value),
                None => None,
            },
            interface: interface?.map(|name| name.value),
            relays: relays.into_iter().map(|relay| relay.value).collect(),
            circuit_ids,
            identity,
            subnet: subnet?.value,
            server_address: server_address?.value,
            pools: pools.into_iter().map(|pool| pool.value).collect(),
            exclude: exclude.into_iter().map(|range| range.value).collect(),
            lease_secs: lease.value,
            lease_secs_min: min.value,
            lease_secs_max: max.value,
            offer_secs,
            decline_secs,
            pool_above_percent,
            pool_below_percent,
            foreign_server_probe_secs,
            conflict,
            cache_threshold_percent,
            authoritative,
            always_broadcast,
            reply_delay_millis,
            ignore_link_selection,
            bootp,
            rapid_commit,
            answer_router_solicitations,
            options,
            boot: match boot {
                Some(boot) => Some(boot?.value),
                None => None,
            },
            reservations: reservations.into_iter().collect::<Option<_>>()?,
        })
    };
    (scope(), facts)
}

fn circuit_id(value: &Value<'_, '_>) -> Option<Octets> {
    let text = value.text("\"eth0/1\"")?.value;
    match Octets::written(text).filter(|octets| !octets.0.is_empty()) {
        Some(octets) => Some(octets),
        None => value.wrong(format!("{text:?} is no circuit id"), "octets as text or as \"hex:0a0b\""),
    }
}

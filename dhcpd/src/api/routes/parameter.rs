//! The parameters of requests, each said once. The handlers read and check them; here stands what they are.

use reveille_config::limit::{LIST_ITEMS_MAX, PAGE_MAX};
use serde_json::{Value, json};

use crate::store::event::EventKind;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path; it cannot be left out.
    Path,
    /// In the query.
    Query,
    /// In the head.
    Header,
}

/// Something that a request may say beside its body.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where.
    pub place: Place,
    /// What it means.
    pub what: &'static str,
    /// Its values, as JSON Schema.
    pub schema: fn() -> Value,
}

const fn query(name: &'static str, what: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, place: Place::Query, what, schema }
}

const fn path(name: &'static str, what: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, place: Place::Path, what, schema }
}

const fn header(name: &'static str, what: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, place: Place::Header, what, schema }
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn number() -> Value {
    json!({ "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX })
}

fn address() -> Value {
    json!({ "type": "string", "format": "ipv4" })
}

fn machine() -> Value {
    json!({ "$ref": "#/components/schemas/MacAddr" })
}

/// Of the query: with commas between them.
fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items, "minItems": 1, "maxItems": LIST_ITEMS_MAX })
}

/// The machine of the path.
pub const MACHINE: Parameter = path("mac", "The machine.", machine);
/// The client of the path.
pub const CLIENT: Parameter = path(
    "client",
    "For whom it is: a machine, or a client identifier (option 61) or the ids of a port (option 82), in hexadecimal.",
    || {
        let octets = "[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){0,254}";
        let pattern = format!("^(client-id:{octets}|circuit:{octets}(\\+remote:{octets})?|remote:{octets})$");
        json!({ "anyOf": [machine(), { "type": "string", "pattern": pattern }] })
    },
);
/// A lease by its address or its machine.
pub const WHICH: Parameter = path("which", "An address or a machine.", || json!({ "anyOf": [address(), machine()] }));
/// A token.
pub const TOKEN_ID: Parameter = path("id", "What listings call the token.", text);

/// One scope.
pub const SCOPE: Parameter = query("scope", "Of this scope only.", text);
/// The pages of a listing.
pub const PAGES: [Parameter; 2] = [
    query("cursor", "Where the page begins: `next` of the one before it.", text),
    query(
        "limit",
        "Entries of a page; more than the default counts as that.",
        || json!({ "type": "integer", "minimum": 1, "maximum": u64::MAX, "default": PAGE_MAX }),
    ),
];
/// Which leases.
pub const FILTERS: [Parameter; 8] = [
    SCOPE,
    ADDRESS,
    MAC,
    query(
        "client_id",
        "Of the client with this identifier (option 61), in hexadecimal.",
        || json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{2})+$" }),
    ),
    query("hostname", "With this host name, in upper or lower case.", text),
    query("node", "Whose reservation bears this node id.", text),
    query("label", "Whose reservation bears this label: `NAME=VALUE`.", || json!({ "type": "string", "pattern": "=" })),
    query("state", "In this state.", || json!({ "enum": ["bound", "released", "expired", "declined"] })),
];
/// One address.
pub const ADDRESS: Parameter = query("address", "Of this address only.", address);
/// One machine.
pub const MAC: Parameter = query("mac", "Of this machine only.", machine);
/// How leases are exported.
pub const FORMAT: Parameter = query(
    "format",
    "JSON lines, or CSV with the columns of Kea's `kea-leases4.csv`.",
    || json!({ "enum": ["jsonl", "csv"], "default": "jsonl" }),
);
/// A batch that only says what would be.
pub const DRY_RUN: Parameter =
    query("dry_run", "Only say what would be done.", || json!({ "type": "boolean", "default": false }));

/// A change under a condition (RFC 9110 §13.1.1).
pub const IF_MATCH: Parameter =
    header("If-Match", "Only where the reservation has one of these tags; `*`: where there is one.", || {
        let tag = r#"(W/)?"[^",]*""#;
        json!({ "type": "string", "pattern": format!(r"^(\*|{tag}( *, *{tag})*)$"), "examples": ["*"] })
    });
/// A change under a condition (RFC 9110 §13.1.2).
pub const IF_NONE_MATCH: Parameter =
    header("If-None-Match", "`*`: only where there is none.", || json!({ "const": "*" }));

/// Which events, and how they are waited for; what is read of them is `reveille_config::dto::event::EventQuery`.
pub const EVENTS: [Parameter; 9] = [
    query(
        "since",
        "After this place, the last one seen: `epoch`, `-` and a sequence, or a sequence alone; `latest`: what happens from now on.",
        || {
            let place = json!({ "type": "string", "pattern": "^[0-9a-f]{16}-[0-9]{1,19}$" });
            json!({ "anyOf": [number(), place, { "const": "latest" }], "default": 0 })
        },
    ),
    query(
        "wait_secs",
        "How long a page may wait for its first event, seconds; more than 30 counts as that.",
        || json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX, "default": 0 }),
    ),
    PAGES[1],
    query(
        "transient",
        "Also those that are not replayed: offered, dropped, sighting …",
        || json!({ "type": "boolean", "default": false }),
    ),
    query("transient_since", "Where a page's transient events begin: `next_transient` of the page before it.", number),
    query("kind", "Of these kinds only.", || {
        let words: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        list(json!({ "enum": words }))
    }),
    query("scope", "Of these scopes only.", || list(json!({ "type": "string", "pattern": "^[^,]+$" }))),
    query("mac", "Of these machines only.", || list(machine())),
    header(
        "Last-Event-ID",
        "In place of `since`: where a reader that comes back to a stream was; a page passes it over.",
        || json!({ "type": "string" }),
    ),
];

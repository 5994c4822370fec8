//! From the body of a reservation to what a worker is asked for; what is wrong names its field.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use reveille_config::AddressRange;
use reveille_config::dhcpd::{Boot, ReservedFor};
use reveille_config::dto::dhcpd::ReservationPut;
use reveille_config::limit::{LABEL_BYTES_MAX, LABELS_MAX};

use super::problem::ApiError;
use super::{ApiState, page, unix_now};
use crate::proto::pool::PoolSet;
use crate::proto::scope::{Holder, Machine, Scope, ScopeIndex, Scopes, Terms, with_hostname};
use crate::proto::time::UnixSecs;
use crate::store::reservation::{Expected, ReservationDraft, may_reserve};

/// RFC 1035 §2.3.4.
const HOSTNAME_BYTES_MAX: usize = 253;
/// Octets of a node's id.
const NODE_BYTES_MAX: usize = 255;

/// What a client's reservation is to be. The client is named by the path, by the body, or by both; each may say what the other does not.
///
/// # Errors
/// Names the field.
pub fn draft(
    state: &ApiState,
    scopes: &Scopes,
    path: Option<ReservedFor>,
    put: ReservationPut,
    expected: Expected,
) -> Result<ReservationDraft, ApiError> {
    let mut identities = named(put.identities())?;
    if let Some(path) = path {
        match identities.iter().find(|named| named.is_like(&path)) {
            None => identities.push(path),
            Some(same) if *same == path => {}
            Some(other) => return Err(ApiError::invalid(other.field(), format!("the path says {path}"))),
        }
        identities.sort_unstable();
    }
    let mut identities = identities.into_iter();
    let client = identities.next().ok_or_else(nobody)?;
    let also = identities.collect();
    let holder = Holder { client, scope: scope_for(state, put.scope.as_deref(), put.address)? };
    let scope = scopes.get(holder.scope).ok_or_else(|| ApiError::not_found("the scope does not exist"))?;
    if let Some(address) = put.address {
        check_address(scope, address)?;
    }
    let named = put.pool.as_deref().map(|pool| pool_named(scope, pool, put.address)).transpose()?;
    let hostname = checked_hostname(put.hostname)?;
    let set = scopes.definitions.options(&put.options);
    let set = set.map_err(|error| ApiError::invalid("options", error.to_string()))?;
    let terms = Terms {
        boot: checked("boot", put.boot, 255)?.unwrap_or_default(),
        boot_files: boot_files(&put.boot_files)?,
        labels: labels(&put.labels)?,
        lease_secs: lease_secs(put.lease_secs)?,
        expires: expires(put.expires_unix)?,
    };
    if !terms.boot.is_empty() && !terms.boot_files.is_empty() {
        return Err(ApiError::invalid("boot_files", "`boot` names a profile already: one of the two"));
    }
    if !terms.boot.is_empty() && scopes.boot(&terms.boot).is_none() {
        let detail = format!("the configuration has no boot profile `{}`", terms.boot);
        return Err(ApiError::invalid("boot", detail));
    }
    Ok(ReservationDraft {
        address: put.address,
        pools: named.unwrap_or_else(|| {
            let mac = holder.client.mac().unwrap_or_default();
            scopes.pools_of_machine(Machine { scope: holder.scope, mac }, &[])
        }),
        holder,
        also,
        pools_named: named.is_some(),
        boot_file: checked("boot_file", put.boot_file, 255)?,
        options: with_hostname(set.iter(), hostname.as_deref()),
        hostname,
        options_given: json(&put.options),
        node: checked("node", put.node, NODE_BYTES_MAX)?,
        boot: scopes.boot_of(&terms),
        terms,
        expected,
    })
}

/// The identities that a row's fields name.
///
/// # Errors
/// 422 for the field at fault.
pub fn named(named: Result<Vec<ReservedFor>, (&'static str, &'static str)>) -> Result<Vec<ReservedFor>, ApiError> {
    named.map_err(|(field, detail)| ApiError::invalid(field, detail))
}

/// A row that names no client.
pub fn nobody() -> ApiError {
    ApiError::malformed(Some("mac"), "each row names its machine, or another identity of its client")
}

/// The scope that a request means: named, or that of the address, or the only one.
fn scope_for(state: &ApiState, name: Option<&str>, address: Option<Ipv4Addr>) -> Result<ScopeIndex, ApiError> {
    if let Some(name) = name {
        return page::scope_named(state, name);
    }
    let scopes = state.store.shared.scopes.load();
    if let Some(address) = address {
        let outside = || ApiError::invalid("address", format!("{address} lies in no scope's subnet"));
        return scopes.of_address(address).map(|scope| scope.index).ok_or_else(outside);
    }
    let mut all = scopes.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.index),
        _ => Err(ApiError::invalid("scope", "there are several scopes: name one, or an address")),
    }
}

/// Whether a scope may reserve an address.
///
/// # Errors
/// 422, saying why not.
pub fn check_address(scope: &Scope, address: Ipv4Addr) -> Result<(), ApiError> {
    if may_reserve(scope, address) {
        return Ok(());
    }
    Err(ApiError::invalid(
        "address",
        format!(
            "{address} cannot be reserved in scope `{}`: it must lie inside {} and be neither the server's own ({}) nor the network's",
            scope.name, scope.subnet, scope.server_address
        ),
    ))
}

/// The pool of this range, or that an address of it lies in.
fn pool_named(scope: &Scope, text: &str, address: Option<Ipv4Addr>) -> Result<PoolSet, ApiError> {
    if address.is_some() {
        return Err(ApiError::invalid("pool", "`address` says it already: one of the two"));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first
        .trim()
        .parse()
        .ok()
        .zip(last.trim().parse().ok())
        .and_then(|(first, last)| AddressRange::new(first, last));
    let place = range.and_then(|range: AddressRange| {
        let same = |pool: &AddressRange| *pool == range || (first == last && pool.contains(range.first()));
        scope.pools.iter().position(same)
    });
    place.map(|place| PoolSet::of([place])).ok_or_else(|| {
        let pools: Vec<String> = scope.pools.iter().map(ToString::to_string).collect();
        ApiError::invalid("pool", format!("scope `{}` has no pool {text}; it has: {}", scope.name, pools.join(", ")))
    })
}

fn boot_files(files: &BTreeMap<String, String>) -> Result<Box<str>, ApiError> {
    if !files.is_empty() {
        Boot::from_files(files).map_err(|error| ApiError::invalid("boot_files", error))?;
    }
    Ok(json(files))
}

fn labels(labels: &BTreeMap<String, String>) -> Result<Box<str>, ApiError> {
    if labels.len() > LABELS_MAX {
        return Err(ApiError::invalid("labels", format!("at most {LABELS_MAX}")));
    }
    let good = |text: &str| text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control);
    match labels.iter().find(|(name, value)| name.is_empty() || name.contains('=') || !good(name) || !good(value)) {
        Some((name, _)) => {
            let expected =
                format!("names without `=` and values of at most {LABEL_BYTES_MAX} octets without control characters");
            Err(ApiError::invalid(&format!("labels.{name}"), format!("{expected} are expected")))
        }
        None => Ok(json(labels)),
    }
}

fn lease_secs(secs: Option<u32>) -> Result<u32, ApiError> {
    match secs {
        Some(0..60) => Err(ApiError::invalid("lease_secs", "at least 60")),
        secs => Ok(secs.unwrap_or(0)),
    }
}

fn expires(unix: Option<u64>) -> Result<UnixSecs, ApiError> {
    let Some(unix) = unix else { return Ok(UnixSecs(0)) };
    let now = unix_now();
    match u32::try_from(unix).ok().map(UnixSecs) {
        Some(expires) if expires > now && expires < UnixSecs::NEVER => Ok(expires),
        _ => Err(ApiError::invalid("expires_unix", format!("a Unix time after now, which is {}, is expected", now.0))),
    }
}

/// As it is stored: empty where there is nothing.
fn json<T: serde::Serialize>(map: &BTreeMap<String, T>) -> Box<str> {
    if map.is_empty() { "".into() } else { serde_json::to_string(map).unwrap_or_default().into() }
}

/// A host name as option 12 carries it: letters, digits, `-` and `.`.
pub fn checked_hostname(hostname: Option<String>) -> Result<Option<Box<str>>, ApiError> {
    let legal = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    match checked("hostname", hostname, HOSTNAME_BYTES_MAX)? {
        Some(name) if !legal(&name) => Err(ApiError::invalid("hostname", "letters, digits, `-` and `.` are expected")),
        hostname => Ok(hostname),
    }
}

/// A text without control characters and not longer than `bytes_max`.
fn checked(field: &str, text: Option<String>, bytes_max: usize) -> Result<Option<Box<str>>, ApiError> {
    match text {
        Some(text) if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) => {
            Err(ApiError::invalid(field, format!("1 to {bytes_max} octets without control characters are expected")))
        }
        text => Ok(text.map(Into::into)),
    }
}

/// A node's id.
pub fn checked_node(node: Option<String>) -> Result<Option<Box<str>>, ApiError> {
    checked("node", node, NODE_BYTES_MAX)
}

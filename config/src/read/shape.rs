//! The shapes of names, URLs, networks and ranges: what is wrong with a text, and what would be right.

use std::net::{IpAddr, Ipv4Addr};

use super::reader::{At, Value};
use crate::limit::SCOPE_NAME_BYTES_MAX;
use crate::{AddressRange, Subnet};

/// An IPv4 network with room for hosts, its host bits zero.
pub(super) fn subnet(value: &Value<'_, '_>) -> Option<At<Subnet>> {
    let subnet = value.parsed::<Subnet>("an IPv4 network", "\"10.77.1.0/24\"")?;
    match subnet.value {
        net if net.trunc() != net => value.wrong(
            format!("`{net}` is an address in a network, not a network"),
            format!("the network is \"{}\"", net.trunc()),
        ),
        _ => Some(subnet),
    }
}

/// `10.77.1.0/24`, or one address, which is the network of itself.
pub(super) fn address_or_subnet(value: &Value<'_, '_>) -> Option<Subnet> {
    let text = value.text("\"10.77.1.0/24\"")?;
    match text.value.parse::<Ipv4Addr>() {
        Ok(address) => Some(address.into()),
        Err(_) => subnet(value).map(|subnet| subnet.value),
    }
}

/// `10.77.1.100-10.77.1.199`, or one address.
pub(super) fn range(value: &Value<'_, '_>) -> Option<At<AddressRange>> {
    let example = "\"10.77.1.100-10.77.1.199\"";
    let text = value.text(example)?;
    let (first, last) = text.value.split_once('-').unwrap_or((text.value, text.value));
    let parsed = (first.trim().parse::<Ipv4Addr>(), last.trim().parse::<Ipv4Addr>());
    let (Ok(first), Ok(last)) = parsed else {
        return value.wrong(
            format!("`{}` is not a range of IPv4 addresses", text.value),
            format!("write first and last: {example}"),
        );
    };
    match AddressRange::new(first, last) {
        Some(range) => Some(text.map(|_| range)),
        None => value
            .wrong(format!("the range `{}` ends before it begins", text.value), format!("write \"{last}-{first}\"")),
    }
}

/// `http://address:port/path`: schemes from `schemes`, a host, no empty path segments, no user, query only where `query`.
pub(super) fn url<'r>(value: &Value<'r, '_>, schemes: &[&str], example: &str) -> Option<At<&'r str>> {
    let text = value.text(example)?;
    let url = text.value;
    let fault = |what: &str, instead: String| value.wrong(format!("{url:?} {what}"), instead);
    let Some((scheme, rest)) = url.split_once("://") else {
        return fault("is not a URL", format!("for example: {example}"));
    };
    if !schemes.contains(&scheme) {
        return fault(
            &format!("has the scheme `{scheme}`"),
            format!("one of these is expected: {}", schemes.join(", ")),
        );
    }
    if url.chars().any(|c| {
        c.is_whitespace() || c.is_control() || !c.is_ascii() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`')
    }) {
        return fault("contains a character that no URL may have", "percent-encode it, as in %20 for a space".into());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return value.wrong("the URL contains a user name", "leave it out: a configuration file holds no credentials");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if !is_host(host) {
        return fault("has no valid host", format!("for example: {example}"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return fault("has no valid port", "a port is a number from 0 to 65535".into());
    }
    let path_end = path.find(['?', '#']).unwrap_or(path.len());
    if path[..path_end].contains("//") {
        let mut fixed = path[..path_end].to_owned();
        while fixed.contains("//") {
            fixed = fixed.replace("//", "/");
        }
        return fault(
            "has `//` in its path, which names another file than `/`",
            format!("write \"{scheme}://{authority}{fixed}{}\"", &path[path_end..]),
        );
    }
    Some(text)
}

/// Advises against a host name in a URL that firmware fetches.
pub(super) fn prefer_address(value: &Value<'_, '_>, url: &str) {
    let authority =
        url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(authority, |(host, _)| host);
    if host.parse::<Ipv4Addr>().is_err() && !host.starts_with('[') && is_host_name(host) {
        value.reader.advise(
            value.span(),
            format!("firmware must look up `{host}` before it can boot, and some cannot"),
            "write the address, as in http://10.77.2.1:8080/…",
        );
    }
}

/// A URL to which paths are appended: `http://address:port`, without a path or a trailing slash.
pub(super) fn base_url(value: &Value<'_, '_>) -> Option<At<String>> {
    let url = url(value, &["http", "https"], "\"http://10.77.2.1:8080\"")?;
    let bare = url.value.trim_end_matches('/');
    if bare != url.value {
        return value
            .wrong(format!("{:?} ends with a slash", url.value), format!("paths are appended to it: write {bare:?}"));
    }
    if url.value.contains(['?', '#']) {
        return value
            .wrong(format!("{:?} has a query or a fragment", url.value), "paths are appended to it: end it before");
    }
    Some(url.map(str::to_owned))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        // Digits and dots are an address or a mistake.
        None if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') => host.parse::<IpAddr>().is_ok(),
        None => is_host_name(host),
    }
}

/// RFC 1123 §2.1: labels of letters, digits and `-`, at most 63 octets each and 253 in all.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&name.len()) && name.split('.').all(label)
}

/// A host name, as option 12 carries it.
pub(super) fn host_name(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text("\"node-17\"")?;
    match is_host_name(text.value) {
        true => Some(text.value.to_owned()),
        false => value.wrong(
            format!("{:?} is not a host name", text.value),
            "letters, digits and `-` in parts of at most 63, separated by dots: \"node-17\"",
        ),
    }
}

/// A name in this file: 1 to 64 letters, digits, `-` and `_`; `of` says of what.
pub(super) fn name(value: &Value<'_, '_>, of: &str, example: &str) -> Option<At<String>> {
    let text = value.text(example)?;
    match is_name(text.value) {
        true => Some(text.map(str::to_owned)),
        false => value.wrong(format!("{:?} is not the name of {of}", text.value), NAME_SHAPE),
    }
}

/// What a name in this file looks like.
pub(super) const NAME_SHAPE: &str = "1 to 64 letters, digits, `-` and `_`";

/// Whether it is a name as [`name`] wants it.
pub(super) fn is_name(name: &str) -> bool {
    (1..=SCOPE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The name of a network interface: 1 to 15 octets without `/`, `:` and white space, as Linux has it.
pub(super) fn interface(value: &Value<'_, '_>) -> Option<At<String>> {
    let text = value.text("\"eth1\"")?;
    let name = text.value;
    let good = (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.bytes().any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b.is_ascii_control());
    match good {
        true => Some(text.map(str::to_owned)),
        false => value.wrong(
            format!("{name:?} is not the name of a network interface"),
            "1 to 15 characters, as `ip link` shows them: \"eth1\"",
        ),
    }
}

/// A text for a kernel line or a file name: not empty, no control characters.
pub(super) fn plain_text(value: &Value<'_, '_>, example: &str) -> Option<String> {
    let text = value.text(example)?;
    match text.value {
        "" => value
            .wrong(format!("`{}` is empty", value.name), format!("leave the key out, or write for example {example}")),
        text if text.chars().any(char::is_control) => {
            value.wrong(format!("`{}` contains a control character", value.name), "remove it")
        }
        text => Some(text.to_owned()),
    }
}

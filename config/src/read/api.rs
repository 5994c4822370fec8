//! `api` of `[dhcpd]`: a list of endpoints, or a table with who may do what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::listeners::Listeners;
use super::reader::{Table, Value};
use crate::Endpoint;
use crate::dhcpd::{Api, ClientCertificates, Tls};
use crate::dto::token::Role;
use crate::environment::Kind;
use crate::limit::{API_CLIENTS_MAX, SOCKET_GROUP_BYTES_MAX};

const DEFAULT: &str = "unix:/run/reveille/dhcpd.sock";
const SOCKET_MODE: u32 = 0o660;

/// `None` only after a mistake was noted.
pub(super) fn api(dhcpd: &Table<'_, '_>, listeners: &mut Listeners) -> Option<Api> {
    let plain = |listen| Api {
        listen,
        socket_group: None,
        socket_mode: SOCKET_MODE,
        loopback_role: None,
        tls: None,
        client_certificates: None,
    };
    match dhcpd.get("api") {
        Some(value) if value.inner.get_ref().is_table() => table(dhcpd.table("api")?, listeners),
        Some(value) => {
            let listen = listeners.lease_api(&value, DEFAULT);
            needs_tls(&value, &listen, false).map(|()| plain(listen))
        }
        None => {
            dhcpd.defaulted("api.listen");
            Some(plain(listeners.default_api("dhcpd.api", DEFAULT, dhcpd.span.clone())))
        }
    }
}

fn table(table: Table<'_, '_>, listeners: &mut Listeners) -> Option<Api> {
    let listen = table.get("listen");
    let endpoints = match &listen {
        Some(value) => listeners.lease_api(value, DEFAULT),
        None => {
            table.defaulted("listen");
            listeners.default_api("dhcpd.api", DEFAULT, table.span.clone())
        }
    };
    let tls = table.section("tls", tls);
    let checked = listen.as_ref().map_or(Some(()), |value| needs_tls(value, &endpoints, tls.is_some()));
    let api = Api {
        socket_group: table.get("socket_group").and_then(|value| group(&value)),
        socket_mode: table.or("socket_mode", SOCKET_MODE, |value| mode(&value)),
        loopback_role: table.or("loopback_role", None, |value| match value.text("\"read\"")?.value {
            "none" => Some(None),
            _ => role(&value).map(Some),
        }),
        client_certificates: table.section("client_certificates", client_certificates).and_then(|section| section),
        listen: endpoints,
        tls: tls.and_then(|section| section),
    };
    if let Some(clients) = table.get("client_certificates")
        && table.get("tls").is_none()
    {
        clients.wrong::<()>(
            "there are no client certificates without TLS",
            "add [dhcpd.api.tls] with certificate and key",
        );
    }
    table.finish();
    checked.map(|()| api)
}

fn needs_tls(value: &Value<'_, '_>, listen: &[Endpoint], has: bool) -> Option<()> {
    match listen.iter().find(|endpoint| matches!(endpoint, Endpoint::Https(_))) {
        Some(endpoint) if !has => value.wrong(
            format!("`{endpoint}` needs a certificate"),
            "write [dhcpd.api] with listen = [...], and below it [dhcpd.api.tls] with certificate and key",
        ),
        _ => Some(()),
    }
}

/// A server's certificate and key. `None` only after a mistake was noted.
pub(super) fn tls(table: Table<'_, '_>) -> Option<Tls> {
    let certificate = table
        .required("certificate", "\"/etc/reveille/api.crt\"")
        .and_then(|value| file(&value, "\"/etc/reveille/api.crt\"", false));
    let key = table
        .required("key", "\"/etc/reveille/api.key\"")
        .and_then(|value| file(&value, "\"/etc/reveille/api.key\"", true));
    table.finish();
    Some(Tls { certificate: certificate?, key: key? })
}

fn client_certificates(table: Table<'_, '_>) -> Option<ClientCertificates> {
    let ca = table
        .required("ca", "\"/etc/reveille/clients.crt\"")
        .and_then(|value| file(&value, "\"/etc/reveille/clients.crt\"", false));
    let own = table.get("role").and_then(|value| role(&value));
    let mut roles = BTreeMap::new();
    if let Some(named) = table.table("roles") {
        let entries = named.entries();
        if let Some((name, _)) = entries.get(API_CLIENTS_MAX) {
            let what = format!("more than {API_CLIENTS_MAX} clients; this one and the next were not looked at");
            table.reader.wrong(
                name.span(),
                what,
                "give clients of one kind one name, or a certificate authority of their own",
            );
        }
        for (name, value) in entries.into_iter().take(API_CLIENTS_MAX) {
            if is_dns_name(name.value) {
                roles.extend(role(&value).map(|role| (name.value.to_owned(), role)));
            } else {
                let what = format!("{:?} is not a DNS name", name.value);
                table.reader.wrong(name.span(), what, "write the subject alternative name of the client's certificate");
            }
        }
    }
    if own.is_none() && table.get("role").is_none() && table.get("roles").is_none() {
        let instead = "add: role = \"write\", or [dhcpd.api.client_certificates.roles] with names";
        table.reader.missing(table.span.clone(), "nobody with a certificate may do anything", instead);
    }
    table.finish();
    Some(ClientCertificates { ca: ca?, role: own, roles })
}

/// Letters, digits and `-` between dots.
fn is_dns_name(name: &str) -> bool {
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.len() <= 253 && name.split('.').all(label)
}

fn role(value: &Value<'_, '_>) -> Option<Role> {
    value.parsed::<Role>("a role: read, write or admin", "\"read\"").map(|role| role.value)
}

fn group(value: &Value<'_, '_>) -> Option<String> {
    let name = value.text("\"reveille\"")?.value;
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.$".contains(&b);
    match (1..=SOCKET_GROUP_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) {
        true => Some(name.to_owned()),
        false => value.wrong(format!("{name:?} is not the name of a group"), "for example: \"reveille\""),
    }
}

/// `"0660"`: no bits but those of a file's permissions, and nothing for others, for whom the role is admin.
fn mode(value: &Value<'_, '_>) -> Option<u32> {
    let text = value.text("\"0660\"")?.value;
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & 0o007 != 0 && mode <= 0o777 => value.wrong(
            format!("mode {text} would let everybody on this host change every lease"),
            "nothing for others: \"0660\", with socket_group",
        ),
        Ok(mode) if mode <= 0o770 && mode & 0o600 == 0o600 => Some(mode),
        _ => value.wrong(format!("{text:?} is not the mode of a socket"), "octal digits, as in \"0660\" or \"0600\""),
    }
}

/// A file that is there; a `secret` one not for everybody's eyes.
pub(super) fn file(value: &Value<'_, '_>, example: &str, secret: bool) -> Option<PathBuf> {
    let path = value.path(example)?.value;
    if !value.reader.looks.get() {
        return Some(path);
    }
    match value.reader.environment.kind(&path) {
        Ok(Kind::File { mode }) if secret && mode & 0o007 != 0 => value.wrong(
            format!("everybody on this host can get at the file `{}` (mode {mode:04o})", path.display()),
            format!("chmod o= {}", path.display()),
        ),
        Ok(Kind::File { .. }) => Some(path),
        Ok(_) => value.wrong(format!("`{}` is not a file", path.display()), "name a PEM file"),
        Err(error) => value.wrong(
            format!("the file `{}` cannot be found: {error}", path.display()),
            "name a PEM file that the daemon's user can read",
        ),
    }
}

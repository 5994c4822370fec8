//! `dhcpd` of `[provisioner]`: an endpoint of this host, or a table about a dhcpd elsewhere, whom to trust there and what to show.

use super::api::file;
use super::listeners;
use super::reader::Table;
use super::secret::secret;
use crate::Endpoint;
use crate::provisioner::DhcpdAccess;

const URL: &str = "\"https://dhcp1.example.net:7671\"";
const CA: &str = "\"/etc/reveille/dhcpd-ca.crt\"";
const INSTEAD: &str = "write [provisioner.dhcpd] with url, ca and token = { file = \"/etc/reveille/dhcpd.token\" }";

/// Where dhcpd's API is, and what is shown there. `beside` are the endpoints of the dhcpd in the same file. `None` only after a mistake was noted.
pub(super) fn read(provisioner: &Table<'_, '_>, beside: &[Endpoint]) -> Option<(Endpoint, DhcpdAccess)> {
    let Some(value) = provisioner.get("dhcpd") else {
        return default(provisioner, beside).map(|endpoint| (endpoint, DhcpdAccess::default()));
    };
    if value.inner.get_ref().is_table() {
        return provisioner.table("dhcpd").and_then(table);
    }
    match listeners::endpoint(&value, "\"unix:/run/reveille/dhcpd.sock\"")? {
        endpoint @ Endpoint::Https(_) => {
            value.wrong(format!("`{endpoint}` cannot be trusted: who signs its certificate is not said"), INSTEAD)
        }
        endpoint => Some((endpoint, DhcpdAccess::default())),
    }
}

/// The endpoint that asks least of a client on this host.
fn default(provisioner: &Table<'_, '_>, beside: &[Endpoint]) -> Option<Endpoint> {
    let own = beside.iter().find(|own| matches!(own, Endpoint::Unix(_)));
    match own.or_else(|| beside.iter().find(|own| matches!(own, Endpoint::Tcp(_)))) {
        None if !beside.is_empty() => {
            let what = "[dhcpd] is reached over TLS alone, and whom to trust there is not said";
            provisioner.reader.missing(provisioner.span.clone(), what, INSTEAD);
            None
        }
        own => {
            provisioner.defaulted("dhcpd");
            Some(own.cloned().unwrap_or_else(|| Endpoint::Unix("/run/reveille/dhcpd.sock".into())))
        }
    }
}

fn table(table: Table<'_, '_>) -> Option<(Endpoint, DhcpdAccess)> {
    let url = table.required("url", URL).and_then(|value| {
        let endpoint = listeners::endpoint(&value, URL)?;
        match &endpoint {
            Endpoint::Tcp(address) if !address.ip().is_loopback() => value.wrong(
                format!("what is shown would go over the network to {address} for everybody to read"),
                format!("with TLS it is \"https://{address}\""),
            ),
            _ => Some(endpoint),
        }
    });
    let token = table.get("token").map(|value| secret(&value));
    let pem = |key: &'static str, example: &str, is_secret: bool| match table.get(key) {
        None => Some(None),
        Some(value) if matches!(url, Some(Endpoint::Unix(_) | Endpoint::Tcp(_))) => {
            value.wrong("there are no certificates without TLS", format!("write url = {URL}, or leave `{key}` out"))
        }
        Some(value) => file(&value, example, is_secret).map(Some),
    };
    let ca = pem("ca", CA, false);
    let certificate = pem("certificate", "\"/etc/reveille/provisioner.crt\"", false);
    let key = pem("key", "\"/etc/reveille/provisioner.key\"", true);
    let missing = |what: &str, instead: &str| table.reader.missing(table.span.clone(), what, instead);
    let mut is_whole = true;
    if table.get("certificate").is_some() != table.get("key").is_some() {
        missing(
            "a certificate goes with its key, and a key with its certificate",
            "add the other: certificate = \"….crt\", key = \"….key\"",
        );
        is_whole = false;
    } else if table.get("certificate").is_none() && table.get("token").is_none() {
        missing(
            "neither a token nor a certificate is shown to dhcpd, which would refuse every request",
            "`reveille token create provisioner --role write` makes a token; add: token = { file = \"/etc/reveille/dhcpd.token\" }",
        );
        is_whole = false;
    }
    if matches!(url, Some(Endpoint::Https(_))) {
        is_whole &= table.required("ca", CA).is_some();
    }
    table.finish();
    let (url, ca, token) = (url?, ca?, token.map_or(Some(None), |token| token)?);
    let certificate = certificate?.zip(key?);
    is_whole.then_some((url, DhcpdAccess { token, ca, certificate }))
}

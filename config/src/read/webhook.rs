//! The tables `[[webhook]]` of a daemon.

use super::api::file;
use super::listeners::filled_list;
use super::reader::{At, Table, Value};
use super::secret::secret;
use super::shape;
use crate::limit::{PAGE_MAX, WEBHOOKS_MAX};
use crate::suggest;
use crate::webhook::{Webhook, signing_key};
use crate::{MacAddr, Secret};

/// How long a receiver may take, seconds.
const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 1..=60;
/// Secrets that sign at a time.
const SECRETS_MAX: usize = 4;

/// `kinds` and `scopes` are those that there are, where that is known. Hooks whose secret is not looked at are left out. `None` only after a mistake was noted.
pub(super) fn webhooks(
    daemon: &Table<'_, '_>,
    kinds: Option<&[&str]>,
    scopes: Option<&[&str]>,
) -> Option<Vec<Webhook>> {
    let tables = daemon.tables("webhook");
    if let Some(extra) = tables.get(WEBHOOKS_MAX) {
        let what = format!("more than {WEBHOOKS_MAX} web hooks; this one and the next were not looked at");
        daemon.reader.wrong(extra.span.clone(), what, "have one receiver pass on to the others");
        return None;
    }
    let mut names: Vec<At<String>> = Vec::new();
    let mut all = Some(Vec::new());
    for table in tables {
        let name = table.required("name", "\"cmdb\"").and_then(|value| shape::name(&value, "a web hook", "\"cmdb\""));
        if let Some(name) = &name {
            if names.iter().any(|other| other.value == name.value) {
                let what = format!("there are two web hooks called `{}`", name.value);
                daemon.reader.wrong(name.span(), what, "give each a name of its own: its place is kept by it");
                all = None;
            }
            names.push(name.clone());
        }
        match (webhook(table, name.map(|name| name.value), kinds, scopes), &mut all) {
            (Some(own), Some(all)) => all.extend(own),
            _ => all = None,
        }
    }
    all
}

/// The outer `None` after a mistake, the inner one where secrets are not looked at.
fn webhook(
    table: Table<'_, '_>,
    name: Option<String>,
    kinds: Option<&[&str]>,
    scopes: Option<&[&str]>,
) -> Option<Option<Webhook>> {
    let example = "\"https://cmdb.example.net/reveille\"";
    let url = table.required("url", example).and_then(|value| url(&value, example));
    let secrets = table.required("secret", "{ file = \"/etc/reveille/cmdb.secret\" }");
    let secrets = secrets.and_then(|value| {
        let items = value.one_or_more();
        match items.len() {
            1..=SECRETS_MAX => items.iter().map(signing_secret).collect::<Option<Vec<Option<Secret>>>>(),
            count => value.wrong(
                format!("there are {count} secrets"),
                format!("one, or up to {SECRETS_MAX} while the receiver changes from one to the other"),
            ),
        }
    });
    let ca = match table.get("ca") {
        None => Some(None),
        Some(value) if url.as_deref().is_some_and(|url| url.starts_with("http://")) => {
            value.wrong("there are no certificates without TLS", "write an `https://` url, or leave `ca` out")
        }
        Some(value) => file(&value, "\"/etc/reveille/cmdb-ca.crt\"", false).map(Some),
    };
    let words = |key, example: &str, known: Option<&[&str]>| match table.get(key) {
        None => Some(Vec::new()),
        Some(value) => {
            let items = filled_list(&value, example)?;
            items.iter().map(|item| word(item, example, known)).collect::<Option<Vec<String>>>()
        }
    };
    let kinds = words("kind", "\"bound\"", kinds);
    let scopes = words("scope", "\"provisioning\"", scopes);
    let macs = match table.get("mac") {
        None => Some(Vec::new()),
        Some(value) => filled_list(&value, "\"52:54:00:aa:00:01\"").and_then(|items| {
            let mac = |item: &Value<'_, '_>| item.parsed::<MacAddr>("a hardware address", "\"52:54:00:aa:00:01\"");
            items.iter().map(|item| mac(item).map(|mac| mac.value)).collect()
        }),
    };
    let batch = table.or("batch", 100, |value| value.integer(1..=PAGE_MAX as u64, "events").map(|n| n as usize));
    let timeout_secs = table.or("timeout_secs", 10, |value| value.integer(TIMEOUT_SECS, "seconds"));
    table.finish();
    let (name, url, secrets, ca, kinds, scopes, macs) = (name?, url?, secrets?, ca?, kinds?, scopes?, macs?);
    let secrets: Option<Vec<Secret>> = secrets.into_iter().collect();
    Some(secrets.map(|secrets| Webhook { name, url, secrets, ca, kinds, scopes, macs, batch, timeout_secs }))
}

fn url(value: &Value<'_, '_>, example: &str) -> Option<String> {
    let url = shape::url(value, &["http", "https"], example)?.value;
    match url.contains('#') {
        true => value.wrong(format!("{url:?} has a fragment, which no server is sent"), "end it before the `#`"),
        false => Some(url.to_owned()),
    }
}

/// A secret that holds a key; the inner `None` where it is not looked at.
fn signing_secret(value: &Value<'_, '_>) -> Option<Option<Secret>> {
    let secret = secret(value)?;
    match &secret {
        Some(own) if signing_key(own).is_none() => value.wrong(
            format!("{} holds no secret of a web hook: `whsec_` and the base64 of 24 to 64 octets", own.reference()),
            "make one: echo whsec_$(head -c 32 /dev/urandom | base64)",
        ),
        _ => Some(secret),
    }
}

fn word(value: &Value<'_, '_>, example: &str, known: Option<&[&str]>) -> Option<String> {
    let text = value.text(example)?.value;
    match known {
        Some(known) if !known.contains(&text) => {
            let instead = match suggest::nearest(text, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are: {}", known.join(", ")),
            };
            value.wrong(format!("there is no `{text}`, or a web hook is not told of it"), instead)
        }
        None if !shape::is_name(text) => value.wrong(format!("{text:?} is no word"), shape::NAME_SHAPE),
        _ => Some(text.to_owned()),
    }
}

//! The tables `[bootd.temp_url]` and `[provisioner.temp_url]`.

use super::listeners::{filled_list, short_list};
use super::provisioner::relative;
use super::reader::{Table, Value};
use super::secret::secret;
use super::shape;
use crate::Secret;
use crate::temp_url::{TempUrlGuard, TempUrlIssue};

/// Keys that verify at a time.
const KEYS_MAX: usize = 2;
/// How long a URL may hold, seconds.
const DURATION_SECS: std::ops::RangeInclusive<u64> = 10..=604_800;
const KEY: &str = "{ file = \"/etc/reveille/temp-url-key\" }";

/// The outer `None` after a mistake, the inner one where secrets are not looked at.
pub(super) fn guard(table: Table<'_, '_>) -> Option<Option<TempUrlGuard>> {
    let keys = table.required("keys", &format!("[{KEY}]")).and_then(|value| {
        let items = value.one_or_more();
        match items.len() {
            1..=KEYS_MAX => items.iter().map(secret).collect::<Option<Vec<Option<Secret>>>>(),
            count => value.wrong(
                format!("there are {count} keys"),
                format!("one, or {KEYS_MAX} while one takes the other's place"),
            ),
        }
    });
    let example = "\"images/private\"";
    let guard = table.required("guard", &format!("[{example}]")).and_then(|value| {
        let items = filled_list(&value, example)?;
        items.iter().map(|item| relative(item, shape::plain_text(item, example)?)).collect::<Option<Vec<String>>>()
    });
    table.finish();
    let (keys, guard) = (keys?, guard?);
    let keys: Option<Vec<Secret>> = keys.into_iter().collect();
    Some(keys.map(|keys| TempUrlGuard { keys, guard }))
}

/// As [`guard`].
pub(super) fn issue(table: Table<'_, '_>) -> Option<Option<TempUrlIssue>> {
    let key = table.required("key", KEY).and_then(|value| secret(&value));
    let duration_secs =
        table.or("duration_secs", 1_200, |value| value.integer(DURATION_SECS, "seconds").map(|secs| secs as u32));
    let example = "\"https://swift.example.net/v1/AUTH_images/os/\"";
    let urls = table.or("urls", Some(Vec::new()), |value| {
        let items = short_list(&value, example)?;
        Some(items.iter().map(|item| beginning(item, example)).collect::<Option<Vec<String>>>())
    });
    table.finish();
    let (key, urls) = (key?, urls?);
    Some(key.map(|key| TempUrlIssue { key, duration_secs, urls }))
}

/// What URLs begin with, up to the slash at the end of a host or a directory.
fn beginning(value: &Value<'_, '_>, example: &str) -> Option<String> {
    let url = shape::url(value, &["http", "https"], example)?.value;
    match (url.contains(['?', '#']), url.ends_with('/')) {
        (true, _) => value.wrong(format!("{url:?} has a query or a fragment"), "end it before"),
        (_, false) => {
            value.wrong(format!("{url:?} would also be the beginning of other names"), format!("write \"{url}/\""))
        }
        _ => Some(url.to_owned()),
    }
}

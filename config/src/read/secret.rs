//! A reference to a secret: `{ file = "/path" }` or `{ env = "NAME" }`.

use super::reader::Value;
use crate::secret::{Secret, SecretRef};

/// A reference to a secret, resolved; the inner `None` where nothing outside the file is looked at.
pub(super) fn secret(value: &Value<'_, '_>) -> Option<Option<Secret>> {
    let name = value.name.clone();
    let instead = format!("write {name} = {{ file = \"/etc/reveille/{name}\" }} or {name} = {{ env = \"NAME\" }}");
    let Some(table) = value.table() else {
        value.mask();
        return value.wrong(format!("`{name}` is a secret and must not stand in this file"), instead);
    };
    let file = table
        .get("file")
        .map(|value| value.path("\"/etc/reveille/bmc-password\"").map(|path| SecretRef::File(path.value)));
    let env = table.get("env").map(|value| {
        let text = value.text("\"BMC_PASSWORD\"")?.value;
        let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if good {
            Some(SecretRef::Env(text.into()))
        } else {
            value.wrong(format!("{text:?} is not the name of a variable"), "letters, digits and `_`")
        }
    });
    for (key, other) in table.entries().iter().filter(|(key, _)| !matches!(key.value, "file" | "env")) {
        let _ = key;
        other.mask();
    }
    table.finish();
    let from = match (file, env) {
        (Some(from), None) | (None, Some(from)) => from?,
        _ => return value.wrong(format!("`{name}` needs either `file` or `env`"), instead),
    };
    if !value.reader.looks.get() {
        return Some(None);
    }
    match Secret::resolve(from, value.reader.environment) {
        Ok(secret) => Some(Some(secret)),
        Err(error) => value.wrong(error.to_string(), error.instead()),
    }
}

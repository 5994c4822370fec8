//! Tables of options, by name or by number, and `[[dhcpd.option]]`, which gives options a name and a type.

use std::ops::Range;

use super::reader::{Table, Value};
use crate::limit::OPTION_DEFINITIONS_MAX;
use crate::mistake::Source;
use crate::option::{Definition, Definitions};
use crate::{OptionSet, option, suggest};

/// A table of options by name or number.
pub(super) fn options(table: Table<'_, '_>, definitions: &Definitions) -> OptionSet {
    let mut set = OptionSet::default();
    for (key, value) in table.entries() {
        let Some(json) = value.json() else { continue };
        match option::check(definitions, key.value, &json) {
            Ok((code, octets)) => {
                if !set.insert(code, octets) {
                    table.reader.wrong(
                        key.span(),
                        format!("option {code} is given twice, by name and by number"),
                        "remove one",
                    );
                }
            }
            Err(refusal) => {
                let span = if refusal.name {
                    key.span()
                } else {
                    faulty_item(definitions, key.value, &value).unwrap_or(value.span())
                };
                table.reader.wrong(span, refusal.what, refusal.instead.unwrap_or_default());
            }
        }
    }
    set
}

/// The item of a list that alone makes the option's value wrong.
fn faulty_item(definitions: &Definitions, key: &str, value: &Value<'_, '_>) -> Option<Range<usize>> {
    let items = value.inner.get_ref().as_array()?;
    let wrong = |item: &&toml::Spanned<toml::de::DeValue<'_>>| {
        let item = Value { reader: value.reader, name: value.name.clone(), inner: item };
        item.json().is_some_and(|json| option::check(definitions, key, &serde_json::Value::Array(vec![json])).is_err())
    };
    items.iter().find(wrong).map(|item| item.span())
}

/// Options that lease queries may tell, by name or by number.
pub(super) fn told_to_requestors(value: &Value<'_, '_>, definitions: &Definitions) -> Option<Vec<u8>> {
    let mut codes = Vec::new();
    for item in value.list("\"routers\"")? {
        let Some(name) = item.text("\"routers\"") else { continue };
        match option::code_of(definitions, name.value) {
            Ok(code) if option::TOLD_WITH_THE_LEASE.contains(&code) => {
                let what = format!("option {code} is of the lease itself, and told to whoever may ask for leases");
                item.reader.wrong(item.span(), what, "leave it out");
            }
            Ok(code) if codes.contains(&code) => {
                item.reader.wrong(item.span(), format!("option {code} is listed twice"), "remove one")
            }
            Ok(code) => codes.push(code),
            Err(refusal) => item.reader.wrong(item.span(), refusal.what, refusal.instead.unwrap_or_default()),
        }
    }
    Some(codes)
}

/// The file's own options. One that is wrong is left out, and what uses it is wrong too.
pub(super) fn definitions(dhcpd: &Table<'_, '_>, source: &Source<'_>) -> Definitions {
    let mut tables = dhcpd.tables("option");
    if let Some(extra) = tables.get(OPTION_DEFINITIONS_MAX) {
        let what = format!("more than {OPTION_DEFINITIONS_MAX} options; this one and the next were not looked at");
        extra.reader.wrong(extra.span.clone(), what, "options can be used by number without being defined");
        tables.truncate(OPTION_DEFINITIONS_MAX);
    }
    let mut seen: Vec<(Definition, usize)> = Vec::new();
    for table in tables {
        let (reader, start) = (table.reader, table.span.start);
        let Some((definition, span)) = definition(table) else { continue };
        let clash = seen.iter().find_map(|(first, at)| {
            let what = match first {
                _ if first.name == definition.name => format!("`{}` is defined twice", definition.name),
                _ if (first.code, first.vendor) == (definition.code, definition.vendor) => {
                    format!("option {} is defined twice, as `{}` too", definition.code, first.name)
                }
                _ => return None,
            };
            Some(format!("{what}; first on line {}", source.line_of(*at)))
        });
        match clash {
            Some(what) => reader.wrong(span, what, "remove one"),
            None => seen.push((definition, start)),
        }
    }
    Definitions::new(seen.into_iter().map(|(definition, _)| definition).collect())
}

fn definition(table: Table<'_, '_>) -> Option<(Definition, Range<usize>)> {
    let vendor = table.get("vendor").and_then(|value| value.boolean()).unwrap_or(false);
    let code = table.required("code", "224").and_then(|value| {
        let code = value.integer(1..=254, "")? as u8;
        match option::known_name(code).filter(|_| !vendor) {
            Some(name) => value.wrong(
                format!("option {code} has a name and a type already: `{name}`"),
                format!("use `{name}`, or a free number: 224 to 254"),
            ),
            None => Some(code),
        }
    });
    let name = table.required("name", "\"rack-name\"").and_then(|value| {
        let text = value.text("\"rack-name\"")?;
        let name = text.value;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 {
            return value.wrong(
                format!("{name:?} is not the name of an option"),
                "1 to 64 lower-case letters, digits and `-`, a letter first: \"rack-name\"",
            );
        }
        match Definitions::default().code(name) {
            Some(code) => value.wrong(format!("`{name}` is option {code} already"), "give it another name"),
            None => Some(text.map(str::to_owned)),
        }
    });
    let kind = table.required("type", "\"text\"").and_then(|value| {
        let word = value.text("\"text\"")?.value;
        let known: Vec<&str> = Definition::types().collect();
        match known.contains(&word) {
            true => Some(word),
            false => {
                let instead = match suggest::nearest(word, known.iter().copied()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("one of: {}", known.join(", ")),
                };
                value.wrong(format!("{word:?} is not a type of options"), instead)
            }
        }
    });
    table.finish();
    let name = name?;
    let span = name.span();
    Some((Definition::new(code?, name.value, kind?, vendor)?, span))
}

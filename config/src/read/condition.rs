//! `match` of a class: a table whose keys must all hold, with `all`, `any` and `not` for the rest.

use super::reader::{Table, Value};
use super::shape;
use crate::dhcpd::{Architecture, Condition, Field, Pattern, Stage};
use crate::limit::{CONDITION_DEPTH_MAX, LIST_ITEMS_MAX};
use crate::option::{self, Definitions};
use crate::{Octets, suggest};

/// What a condition is read with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The options that the file defines.
    pub definitions: &'a Definitions,
    /// How many conditions it stands in.
    pub depth: usize,
}

/// `None` only after a mistake was noted.
pub(super) fn condition(value: &Value<'_, '_>, context: Context<'_>) -> Option<Condition> {
    let Some(table) = value.table() else {
        return value.mistyped("a table", "for example: match = { vendor-class = \"iDRAC\" }");
    };
    if context.depth >= CONDITION_DEPTH_MAX {
        return value.wrong(
            format!("more than {CONDITION_DEPTH_MAX} conditions stand in each other"),
            "split it into several classes",
        );
    }
    let inner = Context { depth: context.depth + 1, ..context };
    let mut tests = Vec::new();
    for (key, field) in [
        ("vendor-class", Field::Option(60)),
        ("user-class", Field::UserClass),
        ("circuit-id", Field::CircuitId),
        ("remote-id", Field::RemoteId),
    ] {
        tests.extend(table.get(key).map(|value| content(&value, field)));
    }
    if let Some(value) = table.get("option") {
        let given = items(&value);
        tests.extend(given.iter().map(|item| option(item, context.definitions)));
        tests.extend(given.is_empty().then_some(None));
    }
    if let Some(value) = table.get("architecture") {
        tests.push(all_of(&items(&value), architecture).map(Condition::Architecture));
    }
    if let Some(value) = table.get("mac-prefix") {
        tests.push(all_of(&items(&value), mac_prefix).map(Condition::MacPrefix));
    }
    if let Some(value) = table.get("relay") {
        tests.push(all_of(&items(&value), shape::address_or_subnet).map(Condition::Relay));
    }
    if let Some(value) = table.get("relay-unicast") {
        tests.push(value.boolean().map(Condition::RelayUnicast));
    }
    if let Some(value) = table.get("stage") {
        tests.push(all_of(&items(&value), stage).map(Condition::Stage));
    }
    if let Some(value) = table.get("all") {
        tests.push(several_conditions(&value, inner).map(|conditions| joined(conditions, Condition::All)));
    }
    if let Some(value) = table.get("any") {
        tests.push(several_conditions(&value, inner).map(|conditions| joined(conditions, Condition::Any)));
    }
    if let Some(value) = table.get("not") {
        tests.push(condition(&value, inner).map(|condition| Condition::Not(condition.into())));
    }
    let empty = table.is_empty();
    table.finish();
    if empty {
        return value.wrong(
            format!("`{}` says nothing, so it would hold for everybody", value.name),
            "for example: match = { vendor-class = \"iDRAC\" }; for everybody, write into the scope",
        );
    }
    Some(joined(tests.into_iter().collect::<Option<Vec<_>>>().filter(|tests| !tests.is_empty())?, Condition::All))
}

/// [`several`], none where that noted a mistake.
fn items<'r, 'i>(value: &Value<'r, 'i>) -> Vec<Value<'r, 'i>> {
    several(value).unwrap_or_default()
}

/// One condition by itself, several as one.
fn joined(mut conditions: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    match conditions.len() {
        1 => conditions.swap_remove(0),
        _ => several(conditions),
    }
}

fn several_conditions(value: &Value<'_, '_>, context: Context<'_>) -> Option<Vec<Condition>> {
    let items = super::listeners::filled_list(value, "{ vendor-class = \"iDRAC\" }")?;
    all_of(&items, |item| condition(item, context))
}

/// One value or a list of them; not an empty one.
fn several<'r, 'i>(value: &Value<'r, 'i>) -> Option<Vec<Value<'r, 'i>>> {
    let items = value.one_or_more();
    match items.len() {
        0 => value.wrong(
            format!("`{}` is an empty list: it would hold for nobody", value.name),
            "write at least one value, or leave the key out",
        ),
        length if length > LIST_ITEMS_MAX => {
            value.wrong(format!("`{}` has {length} items", value.name), format!("{LIST_ITEMS_MAX} at most"))
        }
        _ => Some(items),
    }
}

/// Every item read, so that each mistake is noted; `None` where there was one.
fn all_of<T>(items: &[Value<'_, '_>], read: impl FnMut(&Value<'_, '_>) -> Option<T>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = items.iter().map(read).collect();
    read.into_iter().collect::<Option<Vec<_>>>().filter(|read| !read.is_empty())
}

fn octets(value: &Value<'_, '_>) -> Option<Octets> {
    let text = value.text("\"PXEClient\"")?;
    match Octets::written(text.value) {
        Some(octets) if octets.0.is_empty() => value
            .wrong(format!("`{}` is empty", value.name), "write what the field contains, as text or as \"hex:0a0b\""),
        Some(octets) => Some(octets),
        None => value.wrong(
            format!("{:?} is no pairs of hexadecimal digits", text.value),
            "for example: \"hex:0a0b\"; a text without `hex:` is taken as it is",
        ),
    }
}

/// A text, several, or a table of what the field must be like.
fn content(value: &Value<'_, '_>, field: Field) -> Option<Condition> {
    match value.table() {
        Some(table) => patterns(value, table, field, octets),
        None => {
            let values = all_of(&several(value)?, octets)?;
            Some(Condition::Content(field, Pattern::Equals(values)))
        }
    }
}

/// `equals`, `starts-with`, `contains`, `present`; `equal` reads a value of the first.
fn patterns(
    value: &Value<'_, '_>,
    table: Table<'_, '_>,
    field: Field,
    equal: impl Fn(&Value<'_, '_>) -> Option<Octets>,
) -> Option<Condition> {
    let mut tests = Vec::new();
    let mut content = |pattern: Option<Pattern>| tests.push(pattern.map(|pattern| Condition::Content(field, pattern)));
    let list = |value: Value<'_, '_>, read: &dyn Fn(&Value<'_, '_>) -> Option<Octets>| all_of(&several(&value)?, read);
    if let Some(value) = table.get("equals") {
        content(list(value, &equal).map(Pattern::Equals));
    }
    if let Some(value) = table.get("starts-with") {
        content(list(value, &octets).map(Pattern::StartsWith));
    }
    if let Some(value) = table.get("contains") {
        content(list(value, &octets).map(Pattern::Contains));
    }
    if let Some(value) = table.get("present") {
        let present = Condition::Content(field, Pattern::Present);
        tests.push(value.boolean().map(|is| if is { present } else { Condition::Not(present.into()) }));
    }
    table.finish();
    if tests.is_empty() {
        return value.wrong(
            format!("`{}` does not say what it must be", value.name),
            "one or more of: equals = \"…\", starts-with = \"…\", contains = \"…\", present = true",
        );
    }
    Some(joined(tests.into_iter().collect::<Option<Vec<_>>>()?, Condition::All))
}

/// `{ name = "host-name", equals = "…" }`, or by `code`.
fn option(value: &Value<'_, '_>, definitions: &Definitions) -> Option<Condition> {
    let example = "for example: option = { name = \"host-name\", starts-with = \"node-\" }";
    let Some(table) = value.table() else { return value.mistyped("a table", example) };
    let by_name = table.get("name").map(|name| {
        let text = name.text("\"host-name\"")?.value;
        definitions.code(text).or_else(|| {
            let known = definitions.names();
            let instead = suggest::nearest(text, known)
                .map_or("use its number: code = 224".into(), |meant| format!("did you mean `{meant}`?"));
            name.wrong(format!("unknown option `{text}`"), instead)
        })
    });
    let by_code = table.get("code").map(|code| code.integer(1..=254, "").map(|code| code as u8));
    let code = match (by_name, by_code) {
        (Some(code), None) | (None, Some(code)) => code,
        (None, None) => value.wrong("`option` does not say which one", example),
        (Some(_), Some(_)) => value.wrong("`option` has a name and a code", "remove one"),
    };
    let field = code.map_or(Field::UserClass, |code| if code == 77 { Field::UserClass } else { Field::Option(code) });
    let condition = patterns(value, table, field, |item| {
        let json = item.json()?;
        match option::match_value(definitions, code?, &json) {
            Ok(octets) => Some(Octets(octets)),
            Err(refusal) => item.wrong(refusal.what, refusal.instead.unwrap_or_default()),
        }
    });
    code.and(condition)
}

fn architecture(value: &Value<'_, '_>) -> Option<Architecture> {
    if !value.inner.get_ref().is_str() {
        return value.integer(0..=u64::from(u16::MAX), "").map(|code| Architecture(code as u16));
    }
    let name = value.text("\"efi_x64\"")?.value;
    Architecture::by_name(name).or_else(|| {
        let instead = suggest::nearest(name, Architecture::names())
            .map_or("write its number in option 93: 7".into(), |meant| format!("did you mean `{meant}`?"));
        value.wrong(format!("unknown architecture {name:?}"), instead)
    })
}

fn mac_prefix(value: &Value<'_, '_>) -> Option<Octets> {
    let text = value.text("\"b8:27:eb\"")?.value;
    let separated = |separator| {
        let octet = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
        text.split(separator).map(octet).collect::<Option<Vec<u8>>>()
    };
    match separated(':').or_else(|| separated('-')) {
        Some(octets) if (1..=6).contains(&octets.len()) => Some(Octets(octets)),
        _ => value.wrong(
            format!("{text:?} is not the beginning of a MAC address"),
            "one to six pairs of hexadecimal digits: \"b8:27:eb\"",
        ),
    }
}

fn stage(value: &Value<'_, '_>) -> Option<Stage> {
    let word = value.text("\"ipxe\"")?.value;
    let known = Stage::ALL.iter().find(|(_, name)| *name == word).map(|(stage, _)| *stage);
    known.or_else(|| {
        value.wrong(
            format!("{word:?} is not a stage of booting"),
            "\"rom\" (PXE firmware), \"ipxe\" or \"http\" (UEFI HTTP boot)",
        )
    })
}

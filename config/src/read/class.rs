//! `[[dhcpd.class]]`: who is meant, and what they get.

use std::collections::{BTreeMap, HashMap};

use super::boot::profile_name;
use super::condition::{self, Context};
use super::options::options;
use super::reader::{At, Table, Value};
use super::shape;
use crate::dhcpd::{Boot, Class, LeaseTimes, Quirks};
use crate::limit::{CLASSES_MAX, REPLY_DELAY_MILLIS_MAX};
use crate::mistake::Source;
use crate::option::Definitions;
use crate::suggest;

/// The names that others may refer to.
pub(super) struct Known<'a> {
    /// Boot profiles.
    pub boots: &'a BTreeMap<String, Boot>,
    /// Classes, with the place of each.
    pub classes: HashMap<String, usize>,
}

impl Known<'_> {
    /// Notes a boot profile that does not exist.
    pub fn boot(&self, table: &Table<'_, '_>, name: Option<&At<String>>) {
        let Some(name) = name.filter(|name| !self.boots.contains_key(&name.value)) else { return };
        let instead = match suggest::nearest(&name.value, self.boots.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write [dhcpd.boot.{}] with its files below", name.value),
        };
        table.reader.wrong(name.span(), format!("there is no boot profile `{}`", name.value), instead);
    }

    /// Notes a class that does not exist.
    pub fn class(&self, name: &Value<'_, '_>, class: &str) {
        if self.classes.contains_key(class) {
            return;
        }
        let instead = match suggest::nearest(class, self.classes.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write [[dhcpd.class]] with name = \"{class}\""),
        };
        name.wrong::<()>(format!("there is no class `{class}`"), instead);
    }
}

/// All classes (`None` only after a mistake was noted), and the names that scopes may refer to.
pub(super) fn classes<'a>(
    dhcpd: &Table<'_, '_>,
    source: &Source<'_>,
    boots: &'a BTreeMap<String, Boot>,
    definitions: &Definitions,
) -> (Option<Vec<Class>>, Known<'a>) {
    let mut tables = dhcpd.tables("class");
    if let Some(extra) = tables.get(CLASSES_MAX) {
        let what = format!("more than {CLASSES_MAX} classes; this one and the next were not looked at");
        extra.reader.wrong(extra.span.clone(), what, "join classes that get the same with `any`");
        tables.truncate(CLASSES_MAX);
    }
    let mut known = Known { boots, classes: HashMap::with_capacity(tables.len()) };
    let mut classes = Vec::with_capacity(tables.len());
    for table in tables {
        classes.push(class(table, source, &mut known, definitions));
    }
    (classes.into_iter().collect(), known)
}

fn class(table: Table<'_, '_>, source: &Source<'_>, known: &mut Known<'_>, definitions: &Definitions) -> Option<Class> {
    let name =
        table.required("name", "\"raspberry-pi\"").and_then(|value| shape::name(&value, "a class", "\"raspberry-pi\""));
    if let Some(name) = &name {
        match known.classes.get(&name.value) {
            Some(&first) => {
                let what = format!(
                    "two classes have the name `{}`; the first is on line {}",
                    name.value,
                    source.line_of(first)
                );
                table.reader.wrong(name.span(), what, "give each its own");
            }
            None => _ = known.classes.insert(name.value.clone(), name.start),
        }
    }
    let condition = table
        .required("match", "{ vendor-class = { starts-with = \"PXEClient\" }, mac-prefix = \"b8:27:eb\" }")
        .and_then(|value| condition::condition(&value, Context { definitions, depth: 0 }));
    let options = table.table("options").map(|table| options(table, definitions)).unwrap_or_default();
    let boot = table.get("boot").map(|value| profile_name(&value));
    known.boot(&table, boot.as_ref().and_then(Option::as_ref));
    let lease = lease_times(&table);
    let quirks = table.table("quirks").map(quirks).unwrap_or_default();
    table.finish();
    Some(Class {
        name: name?.value,
        condition: condition?,
        options,
        boot: match boot {
            Some(boot) => Some(boot?.value),
            None => None,
        },
        lease: lease?,
        quirks,
    })
}

fn lease_times(table: &Table<'_, '_>) -> Option<LeaseTimes> {
    let secs = |key| match table.get(key) {
        Some(value) => value.integer(1..=u64::from(u32::MAX) - 1, "seconds").map(|secs| Some(value.at(secs as u32))),
        None => Some(None),
    };
    let (default, min, max) = (secs("lease_secs"), secs("lease_secs_min"), secs("lease_secs_max"));
    let (default, min, max) = (default?, min?, max?);
    let value = |at: Option<At<u32>>| at.map(|at| at.value);
    for (low, low_name, high, high_name) in [
        (min, "lease_secs_min", default, "lease_secs"),
        (default, "lease_secs", max, "lease_secs_max"),
        (min, "lease_secs_min", max, "lease_secs_max"),
    ] {
        if let (Some(low), Some(high)) = (low, high)
            && low.value > high.value
        {
            let what = format!("`{low_name}` = {} is above `{high_name}` = {}", low.value, high.value);
            table.reader.wrong(low.span(), what, format!("{} at most", high.value));
            return None;
        }
    }
    Some(LeaseTimes { default: value(default), min: value(min), max: value(max) })
}

fn quirks(table: Table<'_, '_>) -> Quirks {
    let quirks = Quirks {
        always_broadcast: table.get("always_broadcast").and_then(|value| value.boolean()),
        reply_delay_millis: table.get("reply_delay_millis").and_then(|value| reply_delay(&value)),
        ignore_link_selection: table.get("ignore_link_selection").and_then(|value| value.boolean()),
    };
    table.finish();
    quirks
}

/// How long replies are held back.
pub(super) fn reply_delay(value: &Value<'_, '_>) -> Option<u16> {
    value.integer(0..=u64::from(REPLY_DELAY_MILLIS_MAX), "milliseconds").map(|millis| millis as u16)
}

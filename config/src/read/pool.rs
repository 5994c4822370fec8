//! A scope's pools: ranges, and who may have their addresses.

use super::class::Known;
use super::options::options;
use super::reader::{At, Table, Value};
use super::shape;
use crate::dhcpd::Pool;
use crate::limit::POOLS_MAX;
use crate::option::Definitions;
use crate::{AddressRange, OptionSet};

const EXAMPLE: &str = "\"10.77.1.100-10.77.1.199\"";

/// The pools of a scope; a dynamic one needs at least one.
pub(super) fn pools(
    table: &Table<'_, '_>,
    dynamic: bool,
    definitions: &Definitions,
    known: &Known<'_>,
) -> Vec<At<Pool>> {
    let value = match dynamic {
        true => table.required("pools", &format!("[{EXAMPLE}]")),
        false => {
            let value = table.get("pools");
            if value.is_none() {
                table.defaulted("pools");
            }
            value
        }
    };
    let Some(value) = value else { return Vec::new() };
    let Some(mut items) = value.list(EXAMPLE) else { return Vec::new() };
    if items.is_empty() && dynamic {
        value.wrong::<()>("a dynamic scope without a pool serves nobody", format!("for example: pools = [{EXAMPLE}]"));
    }
    if let Some(extra) = items.get(POOLS_MAX) {
        extra.wrong::<()>(
            format!("more than {POOLS_MAX} pools in one scope"),
            "join neighbours, or `exclude` what lies between",
        );
        items.truncate(POOLS_MAX);
    }
    items.iter().filter_map(|item| pool(item, definitions, known)).collect()
}

/// A range, or a table with `range`, `allow`, `deny` and `options`.
fn pool(value: &Value<'_, '_>, definitions: &Definitions, known: &Known<'_>) -> Option<At<Pool>> {
    let plain = |range: At<AddressRange>| {
        range.map(|range| Pool { range, allow: Vec::new(), deny: Vec::new(), options: OptionSet::default() })
    };
    let Some(table) = value.table() else { return shape::range(value).map(plain) };
    let range = table.required("range", EXAMPLE).and_then(|value| shape::range(&value));
    let classes = |key| {
        let Some(value) = table.get(key) else { return Vec::new() };
        let name = |item: &Value<'_, '_>| {
            let name = shape::name(item, "a class", "\"raspberry-pi\"")?.value;
            known.class(item, &name);
            Some(name)
        };
        super::listeners::filled_list(&value, "\"raspberry-pi\"").unwrap_or_default().iter().filter_map(name).collect()
    };
    let (allow, deny) = (classes("allow"), classes("deny"));
    let options = table.table("options").map(|table| options(table, definitions)).unwrap_or_default();
    table.finish();
    range.map(|range| range.map(|range| Pool { range, allow, deny, options }))
}

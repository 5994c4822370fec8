//! Boot profiles: `[dhcpd.boot.<name>]`, and `[dhcpd.scope.boot]` for one scope alone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use toml::de::DeTable;

use super::reader::{At, Reader, Table, Value};
use super::shape;
use crate::dhcpd::{Architecture, Boot, Fetches, ScopeBoot};
use crate::environment::System;
use crate::limit::{BOOT_FILE_BYTES_MAX, BOOT_PROFILES_MAX, BOOT_URL_BYTES_MAX};
use crate::print::quoted;

/// The profiles, by name; one that is wrong is among them as an empty one, so that its name is known.
pub(super) fn profiles(dhcpd: &Table<'_, '_>) -> BTreeMap<String, Boot> {
    let mut profiles = BTreeMap::new();
    let Some(table) = dhcpd.table("boot") else { return profiles };
    let entries = table.entries();
    if let Some((name, _)) = entries.get(BOOT_PROFILES_MAX) {
        let what = format!("more than {BOOT_PROFILES_MAX} boot profiles; this one and the next were not looked at");
        table.reader.wrong(name.span(), what, "use one profile for several classes");
    }
    for (name, value) in entries.into_iter().take(BOOT_PROFILES_MAX) {
        if !shape::is_name(name.value) {
            let what = format!("{:?} is not the name of a boot profile", name.value);
            table.reader.wrong(name.span(), what, shape::NAME_SHAPE);
        }
        let boot = match value.table() {
            Some(inner) => boot(inner.at_path(format!("{}.{}", table.path, name.value)), None).unwrap_or_default(),
            None => {
                let example = format!("write [dhcpd.boot.{}] with its files below", name.value);
                value.mistyped("a table: a boot profile has a name", &example).unwrap_or_default()
            }
        };
        profiles.insert(name.value.to_owned(), boot);
    }
    profiles
}

/// `boot` of a scope: the name of a profile, or a table of its own. The outer `None` where it is not there, the inner one where it is wrong.
pub(super) fn of_scope(scope: &Table<'_, '_>, server_address: Option<Ipv4Addr>) -> Option<Option<At<ScopeBoot>>> {
    let value = scope.get("boot")?;
    if value.inner.get_ref().is_str() {
        return Some(profile_name(&value).map(|name| name.map(ScopeBoot::Profile)));
    }
    let Some(table) = scope.table("boot") else { return Some(None) };
    Some(boot(table, Some(server_address)).map(|boot| value.at(ScopeBoot::Own(boot))))
}

/// The name of a profile; whether it exists is checked when all are known.
pub(super) fn profile_name(value: &Value<'_, '_>) -> Option<At<String>> {
    shape::name(value, "a boot profile", "\"default\"")
}

/// A profile that stands in no file.
pub(crate) fn of_files(files: &BTreeMap<String, String>) -> Result<Boot, String> {
    let line = |(key, value): (&String, &String)| format!("{} = {}\n", quoted(key), quoted(value));
    let text: String = files.iter().map(line).collect();
    let parsed = DeTable::parse(&text).map_err(|error| error.message().to_owned())?;
    let reader = Reader::new(&System);
    let profile = boot(Table::new(&reader, "boot_files".into(), 0..text.len(), Some(parsed.get_ref())), None);
    match (reader.finish().notes.into_iter().next(), profile) {
        (None, Some(profile)) => Ok(profile),
        (Some(note), _) => {
            Err(note.instead.map_or_else(|| note.what.clone(), |instead| format!("{}: {instead}", note.what)))
        }
        (None, None) => Err("this is no boot profile".into()),
    }
}

/// One table of boot files. In a scope the scope's own address is the default for `next_server`; a profile has none.
fn boot(table: Table<'_, '_>, scope: Option<Option<Ipv4Addr>>) -> Option<Boot> {
    let next_server = match (table.get("next_server"), scope) {
        (Some(value), _) => value.parsed::<Ipv4Addr>("an IPv4 address", "\"10.77.2.1\"").map(|address| address.value),
        (None, Some(server_address)) => {
            table.defaulted("next_server");
            server_address
        }
        (None, None) => None,
    };
    let ipxe = table.get("ipxe").and_then(|value| Some((ipxe(&value)?, value)));
    let mut files = BTreeMap::new();
    for name in Architecture::names() {
        let Some(value) = table.get(name) else { continue };
        let architecture = Architecture::by_name(name).expect("a name of the list");
        files.extend(file(&value, architecture).map(|file| (architecture, file)));
    }
    for (key, value) in table.entries() {
        let Some(architecture) = by_number(key.value) else { continue };
        if files.contains_key(&architecture) {
            let what = format!("architecture {} is given twice, by name and by number", key.value);
            table.reader.wrong(key.span(), what, "remove one");
            continue;
        }
        files.extend(file(&value, architecture).map(|file| (architecture, file)));
    }
    if let Some((script, value)) = &ipxe
        && files.values().any(|file| same_file(file, script))
    {
        value.wrong::<()>(
            format!("iPXE would load {script:?}, with which firmware starts it, again and for ever"),
            "name a script for iPXE: \"http://10.77.2.1:8080/boot.ipxe\"",
        );
    }
    table.finish_except(|key| by_number(key).is_some());
    Some(Boot { next_server, files, ipxe: ipxe.map(|(script, _)| script) })
}

fn by_number(key: &str) -> Option<Architecture> {
    key.bytes().all(|b| b.is_ascii_digit()).then(|| key.parse().ok().map(Architecture)).flatten()
}

/// Whether two names end in the same file: what a firmware fetches by TFTP is often what it fetches by HTTP too.
fn same_file(one: &str, other: &str) -> bool {
    let last = |name: &str| name.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    last(one) == last(other)
}

/// What firmware of that architecture can fetch.
fn file(value: &Value<'_, '_>, architecture: Architecture) -> Option<String> {
    let text = value.text("\"snponly.efi\"")?.value;
    let fetches = architecture.fetches().unwrap_or(match text.contains("://") {
        true => Fetches::Http,
        false => Fetches::Tftp,
    });
    match fetches {
        Fetches::Http => {
            let example = "\"http://10.77.2.1:8080/snponly.efi\"";
            let url = shape::url(value, &["http", "https"], example)?;
            shape::prefer_address(value, url.value);
            short(value, example, BOOT_URL_BYTES_MAX)
        }
        Fetches::Tftp if text.contains("://") => value.wrong(
            format!("firmware of architecture `{architecture}` fetches by TFTP and takes no URL"),
            "write the file's name on the TFTP server `next_server`: \"snponly.efi\"",
        ),
        Fetches::Tftp => short(value, "\"snponly.efi\"", BOOT_FILE_BYTES_MAX),
    }
}

fn ipxe(value: &Value<'_, '_>) -> Option<String> {
    let example = "\"http://10.77.2.1:8080/boot.ipxe\"";
    let text = value.text(example)?.value;
    if text.contains("://") {
        shape::url(value, &["http", "https", "tftp"], example)?;
        shape::prefer_address(value, text);
    }
    short(value, example, BOOT_URL_BYTES_MAX)
}

/// A name or URL that fits into its field.
fn short(value: &Value<'_, '_>, example: &str, bytes_max: usize) -> Option<String> {
    let text = shape::plain_text(value, example)?;
    match text.len() {
        length if length > bytes_max => value
            .wrong(format!("`{}` has {length} octets", value.name), format!("a DHCP reply has room for {bytes_max}")),
        _ => Some(text),
    }
}

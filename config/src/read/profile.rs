//! The tables `[[bootd.profile]]` and `[bootd.discovery]`.

use std::path::PathBuf;

use super::reader::{At, Table, Value};
use super::shape;
use crate::bootd::{Discovery, Profile};
use crate::environment::Kind;
use crate::limit::LIST_ITEMS_MAX;

/// `None` only after a mistake was noted.
pub(super) fn profiles(bootd: &Table<'_, '_>) -> Option<Vec<Profile>> {
    let tables = bootd.tables("profile");
    if let Some(extra) = tables.get(LIST_ITEMS_MAX) {
        bootd.reader.wrong(extra.span.clone(), format!("more than {LIST_ITEMS_MAX} profiles"), "remove some");
        return None;
    }
    let mut names: Vec<At<String>> = Vec::new();
    let mut all = Some(Vec::new());
    for table in tables {
        let name =
            table.required("name", "\"rescue\"").and_then(|value| shape::name(&value, "a profile", "\"rescue\""));
        if let Some(name) = &name {
            if names.iter().any(|other| other.value == name.value) {
                let what = format!("there are two profiles called `{}`", name.value);
                bootd.reader.wrong(name.span(), what, "give each a name of its own");
                all = None;
            }
            names.push(name.clone());
        }
        let file = |key| table.get(key).map_or(Some(None), |value| template(&value).map(Some));
        let (ipxe, pxelinux, grub) = (file("ipxe"), file("pxelinux"), file("grub"));
        table.finish();
        match (name, ipxe, pxelinux, grub, &mut all) {
            (Some(name), Some(ipxe), Some(pxelinux), Some(grub), Some(all)) => {
                all.push(Profile { name: name.value, ipxe, pxelinux, grub });
            }
            _ => all = None,
        }
    }
    all
}

fn template(value: &Value<'_, '_>) -> Option<PathBuf> {
    let path = value.path("\"/etc/reveille/rescue.ipxe\"")?.value;
    match value.reader.environment.kind(&path) {
        _ if !value.reader.looks.get() => Some(path),
        Ok(Kind::File { .. }) => Some(path),
        Ok(_) => value.wrong(format!("`{}` is not a file", path.display()), "name the template's file"),
        Err(error) => value.wrong(
            format!("the file `{}` cannot be found: {error}", path.display()),
            "name a file that the daemon's user can read",
        ),
    }
}

/// `known` are the profiles that there are; none where they have mistakes of their own. `None` only after a mistake was noted.
pub(super) fn discovery(table: Table<'_, '_>, known: Option<&[Profile]>) -> Option<Discovery> {
    let text = |key, example: &str| table.required(key, example).and_then(|value| shape::plain_text(&value, example));
    let kernel = text("kernel", "\"discovery/kernel\"");
    let initrd = text("initrd", "\"discovery/ramdisk\"");
    let cmdline = table.or("cmdline", String::new(), |value| {
        let text = value.text("\"console=ttyS0\"")?.value;
        match text.chars().any(char::is_control) {
            true => value.wrong("`cmdline` contains a control character", "the kernel line is one line"),
            false => Some(text.to_owned()),
        }
    });
    let profile = match table.get("profile") {
        None => Some(None),
        Some(value) => {
            let name = value.text("\"rescue\"")?.value;
            match known {
                Some(known) if !known.iter().any(|profile| profile.name == name) => {
                    value.wrong(format!("there is no profile `{name}`"), "add [[bootd.profile]] with this name")
                }
                _ => Some(Some(name.to_owned())),
            }
        }
    };
    table.finish();
    Some(Discovery { kernel: kernel?, initrd: initrd?, cmdline, profile: profile? })
}

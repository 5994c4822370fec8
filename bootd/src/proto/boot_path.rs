//! [`ScriptPath`]: which script a path names, and in which language.

use reveille_config::MacAddr;
use uuid::Uuid;

use super::language::Language;

/// The name of the entry script, which DHCP's boot file option points iPXE at.
pub const ENTRY_SCRIPT: &str = "boot.ipxe";

/// Whose script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The machine with this interface.
    Mac(MacAddr),
    /// The machine whose firmware or node has this UUID, or whose node has this name; and with which interface it asks, if it says so.
    Named(&'a str, Option<MacAddr>),
    /// Machines that nobody knows.
    Unknown,
}

/// Which script a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptPath<'a> {
    /// `boot.ipxe`, and `grub.cfg` in any directory: the same for every machine.
    Entry(Language),
    /// One machine's, or that for unknown ones.
    Own(Whose<'a>, Language),
}

impl<'a> ScriptPath<'a> {
    /// Reads a safe path; none means that it names no script.
    ///
    /// iPXE asks for `pxelinux.cfg/<mac>` and `<uuid or node>/<mac>/script.ipxe` (the entry script has it do so), or without the latter's MAC, PXELINUX for `pxelinux.cfg/<uuid>`, `pxelinux.cfg/01-<mac>` and at last
    /// `pxelinux.cfg/default`, GRUB for `grub.cfg-01-<mac>`, `grub.cfg-<uuid>` or `grub.cfg` in the directory it came from, as it was built; the latter sends it on to the former.
    pub fn parse(path: &'a str) -> Option<Self> {
        use Language::{Grub, Ipxe, Pxelinux};
        if path == ENTRY_SCRIPT {
            return Some(Self::Entry(Ipxe));
        }
        let (whose, language) = match path.rsplit_once('/').unwrap_or(("", path)) {
            (_, "grub.cfg") => return Some(Self::Entry(Grub)),
            ("", "discovery.grub") => (Some(Whose::Unknown), Grub),
            (_, name) if name.starts_with("grub.cfg-") => match &name["grub.cfg-".len()..] {
                name if name.len() == 36 => (uuid(name), Grub),
                name => (name.strip_prefix("01-").and_then(mac), Grub),
            },
            ("", "discovery.ipxe") => (Some(Whose::Unknown), Ipxe),
            ("pxelinux.cfg", "default") => (Some(Whose::Unknown), Pxelinux),
            ("pxelinux.cfg", name) => match name.strip_prefix("01-") {
                Some(rest) => (mac(rest), Pxelinux),
                None if name.len() == 36 => (uuid(name), Pxelinux),
                None => (mac(name), Ipxe),
            },
            ("", "script.ipxe") => return None,
            (whose, "script.ipxe") => (named(whose), Ipxe),
            _ => return None,
        };
        Some(Self::Own(whose?, language))
    }
}

fn mac(text: &str) -> Option<Whose<'_>> {
    (text.len() == 17).then(|| text.parse().ok().map(Whose::Mac))?
}

fn uuid(text: &str) -> Option<Whose<'_>> {
    text.parse::<Uuid>().ok().map(|_| Whose::Named(text, None))
}

/// `<mac>`, `<uuid or node>`, or the latter with the MAC of the interface below it.
fn named(directory: &str) -> Option<Whose<'_>> {
    if let Some(own) = mac(directory) {
        return Some(own);
    }
    match directory.split_once('/') {
        None => Some(Whose::Named(directory, None)),
        Some((name, interface)) => match mac(interface)? {
            Whose::Mac(interface) => Some(Whose::Named(name, Some(interface))),
            Whose::Named(..) | Whose::Unknown => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use Language::{Grub, Ipxe, Pxelinux};
        let address = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0xab]);
        let mac = Whose::Mac(address);
        let uuid = Whose::Named("4c4c4544-0044-4810-8031-b4c04f4e3532", None);
        let own = |whose, language| Some(ScriptPath::Own(whose, language));
        for (path, expected) in [
            ("boot.ipxe", Some(ScriptPath::Entry(Ipxe))),
            ("discovery.ipxe", own(Whose::Unknown, Ipxe)),
            ("pxelinux.cfg/52-54-00-12-34-ab", own(mac, Ipxe)),
            ("pxelinux.cfg/52-54-00-12-34-AB", own(mac, Ipxe)),
            ("52-54-00-12-34-ab/script.ipxe", own(mac, Ipxe)),
            ("52:54:00:12:34:ab/script.ipxe", own(mac, Ipxe)),
            ("4c4c4544-0044-4810-8031-b4c04f4e3532/script.ipxe", own(uuid, Ipxe)),
            ("pxelinux.cfg/01-52-54-00-12-34-ab", own(mac, Pxelinux)),
            ("pxelinux.cfg/4c4c4544-0044-4810-8031-b4c04f4e3532", own(uuid, Pxelinux)),
            (
                "pxelinux.cfg/4C4C4544-0044-4810-8031-B4C04F4E3532",
                own(Whose::Named("4C4C4544-0044-4810-8031-B4C04F4E3532", None), Pxelinux),
            ),
            ("rack1-7/script.ipxe", own(Whose::Named("rack1-7", None), Ipxe)),
            ("rack1-7/52-54-00-12-34-ab/script.ipxe", own(Whose::Named("rack1-7", Some(address)), Ipxe)),
            ("rack1-7/52-54-00-12-34-xy/script.ipxe", None),
            ("a/b/52-54-00-12-34-ab/script.ipxe", None),
            ("script.ipxe", None),
            ("grub.cfg-4c4c4544-0044-4810-8031-b4c04f4e3532", own(uuid, Grub)),
            ("EFI/debian/grub.cfg-4c4c4544-0044-4810-8031-b4c04f4e3532", own(uuid, Grub)),
            ("grub.cfg-4c4c4544-0044-4810-8031-b4c04f4e353x", None),
            ("pxelinux.cfg/default", own(Whose::Unknown, Pxelinux)),
            ("grub/grub.cfg-01-52-54-00-12-34-ab", own(mac, Grub)),
            ("grub.cfg-01-52-54-00-12-34-ab", own(mac, Grub)),
            ("grub/grub.cfg", Some(ScriptPath::Entry(Grub))),
            ("grub.cfg", Some(ScriptPath::Entry(Grub))),
            ("discovery.grub", own(Whose::Unknown, Grub)),
            ("grub.cfg-01-52:54:00:12:34:ab", own(mac, Grub)),
            ("grub/grub.cfg-0A4D02", None),
            ("grub.cfg-01-52-54-00-12-34-zz", None),
            ("pxelinux.cfg/0A4D02", None),
            ("pxelinux.cfg/525400", None),
            ("pxelinux.cfg/02-52-54-00-12-34-ab", None),
            ("pxelinux.cfg/01-52-54-00-12-34-zz", None),
            ("autoexec.ipxe", None),
            ("x/boot.ipxe", None),
        ] {
            assert_eq!(ScriptPath::parse(path), expected, "{path}");
        }
    }
}

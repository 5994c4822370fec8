//! [`ScriptPath`]: which script a path names, and in which language.

use reveille_config::MacAddr;
use uuid::Uuid;

use super::language::Language;

/// The name of the entry script, which DHCP's boot file option points iPXE at.
pub const ENTRY_SCRIPT: &str = "boot.ipxe";

/// Whose script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The machine with this interface.
    Mac(MacAddr),
    /// The machine whose firmware, or whose node, has this UUID.
    Uuid(Uuid),
    /// Machines that nobody knows.
    Unknown,
}

/// Which script a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptPath {
    /// `boot.ipxe`, and `grub.cfg` in any directory: the same for every machine.
    Entry(Language),
    /// One machine's, or that for unknown ones.
    Own(Whose, Language),
}

impl ScriptPath {
    /// Reads a safe path; none means that it names no script.
    ///
    /// iPXE asks for `pxelinux.cfg/<mac>` (the entry script has it do so) or `<mac>/script.ipxe`, PXELINUX for `pxelinux.cfg/<uuid>`, `pxelinux.cfg/01-<mac>` and at last
    /// `pxelinux.cfg/default`, GRUB for `grub.cfg-01-<mac>` or `grub.cfg` in the directory it came from, as it was built; the latter sends it on to the former.
    pub fn parse(path: &str) -> Option<Self> {
        use Language::{Grub, Ipxe, Pxelinux};
        if path == ENTRY_SCRIPT {
            return Some(Self::Entry(Ipxe));
        }
        let (whose, language) = match path.rsplit_once('/').unwrap_or(("", path)) {
            (_, "grub.cfg") => return Some(Self::Entry(Grub)),
            ("", "discovery.grub") => (Some(Whose::Unknown), Grub),
            (_, name) if name.starts_with("grub.cfg-01-") => (mac(&name[12..]), Grub),
            ("", "discovery.ipxe") => (Some(Whose::Unknown), Ipxe),
            ("pxelinux.cfg", "default") => (Some(Whose::Unknown), Pxelinux),
            ("pxelinux.cfg", name) => match name.strip_prefix("01-") {
                Some(rest) => (mac(rest), Pxelinux),
                None if name.len() == 36 => (uuid(name), Pxelinux),
                None => (mac(name), Ipxe),
            },
            (whose, "script.ipxe") => (mac(whose).or_else(|| uuid(whose)), Ipxe),
            _ => return None,
        };
        Some(Self::Own(whose?, language))
    }
}

fn mac(text: &str) -> Option<Whose> {
    (text.len() == 17).then(|| text.parse().ok().map(Whose::Mac))?
}

fn uuid(text: &str) -> Option<Whose> {
    (text.len() == 36).then(|| text.parse().ok().map(Whose::Uuid))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use Language::{Grub, Ipxe, Pxelinux};
        let mac = Whose::Mac(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0xab]));
        let uuid = Whose::Uuid("4c4c4544-0044-4810-8031-b4c04f4e3532".parse().unwrap());
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
            ("pxelinux.cfg/4C4C4544-0044-4810-8031-B4C04F4E3532", own(uuid, Pxelinux)),
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
            ("a/52-54-00-12-34-ab/script.ipxe", None),
        ] {
            assert_eq!(ScriptPath::parse(path), expected, "{path}");
        }
    }
}

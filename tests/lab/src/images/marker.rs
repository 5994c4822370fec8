//! The line with which the operating-system image says that it has booted, and from where.

/// What a guest of the operating-system image says of itself on its serial line once it runs.
///
/// `REVEILLE-OS-BOOTED hostname=… build=… disk=… partuuid=… address=… uuid=…`, written by `images/os/init`: only after a
/// partition was found to hold the build id of the kernel line, which only the boot loader on a disk puts there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootMarker {
    /// The host name that DHCP gave it (option 12); `localhost` when none did.
    pub hostname: String,
    /// The [`OsImage::build_id`](super::OsImage::build_id) of what booted.
    pub build: String,
    /// The partition that holds it, like `/dev/vda1`.
    pub disk: String,
    /// That partition's PARTUUID: the disk signature and the partition's number.
    pub partuuid: String,
    /// Its IPv4 address; `None` when no DHCP server answered.
    pub address: Option<String>,
    /// What the machine's firmware says it is (SMBIOS), lowercase; empty when it says nothing.
    pub uuid: String,
}

impl BootMarker {
    /// The word that the line begins with.
    pub const WORD: &str = "REVEILLE-OS-BOOTED";

    /// The marker in a line of the serial log, if there is one. Terminal noise before it and unknown fields do not matter.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.split_once(Self::WORD)?;
        let field = |name: &str| {
            let mut values = fields.split_whitespace().filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            values.next().map(str::to_owned)
        };
        Some(Self {
            hostname: field("hostname")?,
            build: field("build")?,
            disk: field("disk")?,
            partuuid: field("partuuid")?,
            address: field("address").filter(|address| address != "none"),
            uuid: field("uuid").unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_booted_or_is_no_marker() {
        let line = "\u{1b}[2JREVEILLE-OS-BOOTED hostname=node7 build=b4e9068cba0ed666 disk=/dev/vda1 \
                    partuuid=b4e9068c-01 address=10.0.2.15 uuid=11111111-2222-3333-4444-555555555555\r";
        let marker = BootMarker {
            hostname: "node7".into(),
            build: "b4e9068cba0ed666".into(),
            disk: "/dev/vda1".into(),
            partuuid: "b4e9068c-01".into(),
            address: Some("10.0.2.15".into()),
            uuid: "11111111-2222-3333-4444-555555555555".into(),
        };
        assert_eq!(BootMarker::parse(line), Some(marker.clone()));
        let nameless = line.replace("10.0.2.15", "none");
        assert_eq!(BootMarker::parse(&nameless), Some(BootMarker { address: None, ..marker }));
        let table = [
            "",
            "REVEILLE-OS-BOOTED",
            "REVEILLE-OS-BOOTED hostname=node7 build=1 disk=/dev/vda1",
            "REVEILLE-OS-FAILED reason=no-partition-holds-this-build hostname=node7 build=1 disk=a partuuid=b",
        ];
        for line in table {
            assert_eq!(BootMarker::parse(line), None, "{line}");
        }
    }
}

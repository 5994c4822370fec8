//! iPXE scripts, rendered from boot intents, and the check that keeps an intent's text from becoming script.
//!
//! It does not know where intents are kept or who asks. Invariant: every text of an intent that [`check`] has passed ends up as one
//! argument list of one command; it can add neither a line nor a command.
//!
//! How iPXE reads a line (its `exec.c`): split at white space, settings `${…}` expanded, and the tokens `||`, `&&` and `#…` end a
//! command. Hence the rules: printable ASCII only, none of those tokens, and `${…}` only with the characters of a setting's name.

use std::fmt::Write as _;

use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, IntentPut};
use uuid::Uuid;

use super::language::Language;
use super::path::{Encoding, resolve};

/// Octets of a kernel line (x86 Linux reads 2,048 of it, others more).
pub const CMDLINE_BYTES_MAX: usize = 4_096;
/// Octets of a kernel's or a ramdisk's URL or path.
pub const LOCATION_BYTES_MAX: usize = 2_048;
/// Octets of a node's name.
pub const NODE_BYTES_MAX: usize = 255;

/// Why an intent is refused: the field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct IntentRefusal {
    /// The field of the body.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// Refuses an intent whose text could become script, or that cannot be rendered.
pub fn check(put: &IntentPut) -> Result<(), IntentRefusal> {
    for (field, text) in [("node", &put.node), ("hostname", &put.hostname), ("profile", &put.profile)] {
        text.as_ref().map_or(Ok(()), |text| check_printable(field, text, NODE_BYTES_MAX))?;
    }
    if let Some(uuid) = &put.uuid
        && (uuid.len() != 36 || uuid.parse::<Uuid>().is_err())
    {
        return Err(refusal("uuid", "is none, such as 4c4c4544-0044-4810-8031-b4c04f4e3532"));
    }
    match &put.action {
        BootAction::Disk => Ok(()),
        BootAction::Script { script } => check_location("script", script),
        BootAction::Kernel { kernel, initrd, cmdline } => {
            check_location("kernel", kernel)?;
            check_location("initrd", initrd)?;
            check_cmdline(cmdline)
        }
    }
}

fn refusal(field: &'static str, detail: impl Into<String>) -> IntentRefusal {
    IntentRefusal { field, detail: detail.into() }
}

fn check_printable(field: &'static str, text: &str, bytes_max: usize) -> Result<(), IntentRefusal> {
    if text.len() > bytes_max {
        return Err(refusal(field, format!("{} octets long, at most {bytes_max} are taken", text.len())));
    }
    match text.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
        None => Ok(()),
        Some((at, c)) => Err(refusal(
            field,
            format!("has {} at octet {at}; only printable ASCII on one line is taken", c.escape_default()),
        )),
    }
}

fn check_cmdline(cmdline: &str) -> Result<(), IntentRefusal> {
    const FIELD: &str = "cmdline";
    check_printable(FIELD, cmdline, CMDLINE_BYTES_MAX)?;
    if let Some(token) = cmdline.split(' ').find(|t| matches!(*t, "||" | "&&") || t.starts_with('#')) {
        return Err(refusal(FIELD, format!("has `{token}`, which iPXE would read as the end of the command")));
    }
    let mut rest = cmdline;
    while let Some(at) = rest.find("${") {
        let name = rest[at + 2..].split_once('}').map(|(name, _)| name);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_');
        match name {
            Some(name) if !name.is_empty() && name.chars().all(plain) => rest = &rest[at + 2 + name.len()..],
            _ => return Err(refusal(FIELD, "has a `${` that does not begin the name of one setting, as in `${mac}`")),
        }
    }
    Ok(())
}

/// A URL of a scheme iPXE loads from, or a path below the roots.
fn check_location(field: &'static str, location: &str) -> Result<(), IntentRefusal> {
    check_printable(field, location, LOCATION_BYTES_MAX)?;
    if location.contains(' ') || location.contains("${") {
        return Err(refusal(field, "has a space or `${`; write a space in a URL as %20"));
    }
    match location.split_once("://") {
        Some(("http" | "https" | "tftp", rest)) if !rest.is_empty() => Ok(()),
        Some((scheme, _)) => Err(refusal(field, format!("the scheme `{scheme}` is none of http, https and tftp"))),
        None => match resolve(location, Encoding::Plain) {
            Ok(_) => Ok(()),
            Err(why) => Err(refusal(field, format!("neither a URL nor a path below the roots: {why}"))),
        },
    }
}

/// `boot.ipxe`: asks for this machine's script by the MAC of the card it booted from, then by each card's in turn, then by its firmware's UUID and by the
/// name that DHCP calls it (a node's), and for the script of machines that nobody knows last: so a machine that is known by another card gets its own.
///
/// Relative names, so that it works over whichever protocol it came by. `--replace` makes the machine's script the last word: what
/// it ends with is not followed by a try of the next card. EFI firmware goes on to its next boot entry only after a failure; after
/// a success it opens its menu. Hence `exit 1` there.
pub fn render_entry() -> &'static str {
    "#!ipxe\n\
     echo Reveille: looking for what this machine shall boot\n\
     chain --replace --autofree pxelinux.cfg/${mac:hexhyp} ||\n\
     set reveille-nic:int32 0\n\
     :next_nic\n\
     isset ${net${reveille-nic}/mac} || goto unknown\n\
     chain --replace --autofree pxelinux.cfg/${net${reveille-nic}/mac:hexhyp} ||\n\
     inc reveille-nic\n\
     goto next_nic\n\
     :unknown\n\
     isset ${uuid} && chain --replace --autofree ${uuid}/${mac:hexhyp}/script.ipxe ||\n\
     isset ${hostname} && chain --replace --autofree ${hostname:uristring}/${mac:hexhyp}/script.ipxe ||\n\
     chain --replace --autofree discovery.ipxe ||\n\
     echo Reveille: the boot server has nothing for this machine (${mac}); going on to the next boot device\n\
     sleep 3\n\
     iseq ${platform} efi && exit 1 ||\n\
     exit\n"
}

/// The script of one machine. The intent has passed [`check`].
pub fn render_machine(mac: Option<MacAddr>, action: &BootAction, public_url: &str) -> String {
    let mut script = String::with_capacity(1_024);
    let url = |location: &str| Language::Ipxe.location(public_url, location);
    let mac = mac.map_or_else(|| "${mac}".to_owned(), |mac| mac.to_string());
    // Writing to a String cannot fail.
    let _ = match action {
        BootAction::Disk => write!(
            script,
            "#!ipxe\n\
             echo Reveille: {mac} boots from its own disk\n\
             iseq ${{platform}} efi && goto firmware ||\n\
             sanboot --no-describe --drive 0x80 || exit 0\n\
             :firmware\n\
             exit 1\n"
        ),
        BootAction::Script { script: location } => write!(
            script,
            "#!ipxe\n\
             echo Reveille: {mac} loads its script\n\
             chain --replace --autofree {} || exit 1\n",
            url(location),
        ),
        BootAction::Kernel { kernel, initrd, cmdline } => write!(
            script,
            "#!ipxe\n\
             echo Reveille: {mac} loads its kernel\n\
             set reveille-try:int32 0\n\
             :load\n\
             imgfree\n\
             kernel {kernel} {cmdline} initrd=ramdisk || goto again\n\
             initrd --name ramdisk {initrd} || goto again\n\
             boot || goto again\n\
             :again\n\
             inc reveille-try\n\
             iseq ${{reveille-try}} 5 && goto failed ||\n\
             echo Reveille: loading failed, trying again\n\
             sleep 3\n\
             goto load\n\
             :failed\n\
             echo Reveille: cannot load {kernel} or {initrd}; giving up\n\
             sleep 10\n\
             exit 1\n",
            kernel = url(kernel),
            initrd = url(initrd),
        ),
    };
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0xab]);

    fn kernel(kernel: &str, initrd: &str, cmdline: &str) -> BootAction {
        BootAction::Kernel { kernel: kernel.into(), initrd: initrd.into(), cmdline: cmdline.into() }
    }

    #[test]
    fn kernel_script() {
        let script = render_machine(
            Some(MAC),
            &kernel("agent/vm linuz", "https://images.example/rd?sig=1&x=2", "console=ttyS0 BOOTIF=${mac}"),
            "http://10.77.2.1:8080",
        );
        for line in [
            "kernel http://10.77.2.1:8080/agent/vm%20linuz console=ttyS0 BOOTIF=${mac} initrd=ramdisk || goto again",
            "initrd --name ramdisk https://images.example/rd?sig=1&x=2 || goto again",
            "boot || goto again",
        ] {
            assert!(script.lines().any(|l| l == line), "{line:?} is missing in\n{script}");
        }
        assert!(script.starts_with("#!ipxe\n") && script.ends_with('\n'));
    }

    #[test]
    fn disk_script_leaves_efi_to_the_firmware() {
        let script = render_machine(Some(MAC), &BootAction::Disk, "http://x");
        let at = |line: &str| script.lines().position(|l| l == line).unwrap_or_else(|| panic!("{line:?} in\n{script}"));
        assert!(at("iseq ${platform} efi && goto firmware ||") < at("sanboot --no-describe --drive 0x80 || exit 0"));
        assert_eq!(script.lines().last(), Some("exit 1"), "EFI firmware takes a success for the end of booting");
    }

    #[test]
    fn refusals_name_the_field() {
        let long = "a".repeat(5_000);
        #[rustfmt::skip]
        let cases: &[(&str, &str, &str, Option<&str>)] = &[
            ("vmlinuz", "rd", "console=ttyS0 ipa-api-url=http://10.0.0.1:6385",   None),
            ("http://a/k", "https://a/i", "",                                     None),
            ("vmlinuz", "rd", "BOOTIF=${net0/mac:hexhyp} x=a||b a#b",             None),
            ("vmlinuz", "rd", "a\nshell",                                         Some("cmdline")),
            ("vmlinuz", "rd", "a\rshell",                                         Some("cmdline")),
            ("vmlinuz", "rd", "a\tb",                                             Some("cmdline")),
            ("vmlinuz", "rd", "a || shell",                                       Some("cmdline")),
            ("vmlinuz", "rd", "a && shell",                                       Some("cmdline")),
            ("vmlinuz", "rd", "a #b",                                             Some("cmdline")),
            ("vmlinuz", "rd", "${mac",                                            Some("cmdline")),
            ("vmlinuz", "rd", "${a${b}}",                                         Some("cmdline")),
            ("vmlinuz", "rd", "${}",                                              Some("cmdline")),
            ("vmlinuz", "rd", "ü",                                                Some("cmdline")),
            ("vmlinuz", "rd", &long,                                              Some("cmdline")),
            ("vmlinuz\nshell", "rd", "",                                          Some("kernel")),
            ("vmlinuz -- x", "rd", "",                                            Some("kernel")),
            ("../vmlinuz", "rd", "",                                              Some("kernel")),
            ("", "rd", "",                                                        Some("kernel")),
            ("file:///etc/passwd", "rd", "",                                      Some("kernel")),
            ("vmlinuz", "http://a/${x}", "",                                      Some("initrd")),
            ("vmlinuz", "a\0b", "",                                               Some("initrd")),
            ("vmlinuz", "http://", "",                                            Some("initrd")),
        ];
        for (k, i, c, field) in cases {
            let got = check(&IntentPut::new(kernel(k, i, c)));
            assert_eq!(got.as_ref().err().map(|r| r.field), *field, "{k:?} {i:?} {c:?}: {got:?}");
        }
        let node = check(&IntentPut { node: Some("a\nb".into()), ..IntentPut::new(BootAction::Disk) });
        assert_eq!(node.unwrap_err().field, "node");
    }

    proptest! {
        /// No intent that passes adds a line, or a command to its line.
        #[test]
        fn text_never_becomes_script(k in "[ -~\n]{0,12}", i in "\\PC{0,12}", c in "([ -~]|\n|\\|\\||&&|#|\\$\\{|\\}| ){0,30}") {
            let action = kernel(&k, &i, &c);
            if check(&IntentPut::new(action.clone())).is_ok() {
                let ours = render_machine(Some(MAC), &kernel("k", "i", ""), "http://x");
                let theirs = render_machine(Some(MAC), &action, "http://x");
                prop_assert_eq!(ours.lines().count(), theirs.lines().count());
                for (a, b) in ours.lines().zip(theirs.lines()) {
                    let ends = |l: &str| l.split_whitespace().filter(|t| matches!(*t, "||" | "&&") || t.starts_with('#')).count();
                    prop_assert_eq!(ends(a), ends(b), "{} / {}", a, b);
                    prop_assert_eq!(a.split(' ').next(), b.split(' ').next());
                }
            }
        }
    }
}

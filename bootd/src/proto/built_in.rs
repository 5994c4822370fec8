//! Scripts for PXELINUX and GRUB where no profile brings its own; iPXE's are in [`super::script`].

use reveille_config::MacAddr;
use reveille_config::dto::bootd::BootAction;

use super::language::Language;

/// The script of one machine; `mac` is not known for those that nobody knows. The intent has passed [`super::script::check`].
pub fn render(language: Language, mac: Option<MacAddr>, action: &BootAction, public_url: &str) -> String {
    let file = |location: &str| language.escape(&language.location(public_url, location));
    match (language, action) {
        (Language::Ipxe, _) => super::script::render_machine(mac, action, public_url),
        (Language::Pxelinux, BootAction::Disk) => "DEFAULT reveille\nPROMPT 0\nLABEL reveille\nLOCALBOOT 0\n".into(),
        (Language::Pxelinux, BootAction::Kernel { kernel, initrd, cmdline }) => format!(
            "DEFAULT reveille\nPROMPT 0\nLABEL reveille\nKERNEL {}\nINITRD {}\nAPPEND {}\n",
            file(kernel),
            file(initrd),
            language.escape(&language.cmdline(cmdline, mac)),
        ),
        (Language::Pxelinux, BootAction::Script { script }) => {
            format!("DEFAULT reveille\nPROMPT 0\nLABEL reveille\nCONFIG {}\n", file(script))
        }
        // The firmware goes on to its next boot entry.
        (Language::Grub, BootAction::Disk) => "echo 'Reveille: booting from the disk'\nexit\n".into(),
        (Language::Grub, BootAction::Kernel { kernel, initrd, cmdline }) => format!(
            "echo 'Reveille: loading the kernel'\nlinux {} {}\ninitrd {}\nboot\n",
            file(kernel),
            grub_cmdline(&language.cmdline(cmdline, mac)),
            file(initrd),
        ),
        (Language::Grub, BootAction::Script { script }) => format!("configfile {}\n", file(script)),
    }
}

/// The entry script, which sends a machine on to its own. Paths begin at the device that GRUB came from; a GRUB without `smbios` does without the UUID.
pub fn entry(language: Language) -> &'static str {
    match language {
        Language::Ipxe => super::script::render_entry(),
        Language::Grub => {
            "echo 'Reveille: looking for what this machine shall boot'\n\
             configfile /grub.cfg-01-$net_default_mac\n\
             if smbios --type 1 --get-uuid 8 --set reveille_uuid; then configfile /grub.cfg-$reveille_uuid; fi\n\
             configfile /discovery.grub\n\
             echo 'Reveille: the boot server has nothing for this machine; going on to the next boot device'\n\
             sleep 3\n\
             exit\n"
        }
        // It finds its own by itself.
        Language::Pxelinux => "",
    }
}

/// Quoted words, but for the one setting of GRUB's own that [`Language::cmdline`] writes.
fn grub_cmdline(cmdline: &str) -> String {
    Language::Grub.escape(cmdline).replace("${net_default_mac}", "'\"$net_default_mac\"'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        use BootAction::{Disk, Kernel, Script};
        let mac = Some(MacAddr([0x52, 0x54, 0, 0, 0, 1]));
        let kernel =
            Kernel { kernel: "agent/k".into(), initrd: "agent/i".into(), cmdline: "BOOTIF=${mac} x='a;b".into() };
        let script = Script { script: "menu.cfg".into() };
        for (language, action, mac, lines) in [
            (
                Language::Pxelinux,
                &kernel,
                mac,
                &["KERNEL ::agent/k", "INITRD ::agent/i", "APPEND BOOTIF=52:54:00:00:00:01 x='a;b"][..],
            ),
            (Language::Pxelinux, &Disk, mac, &["LOCALBOOT 0"]),
            (Language::Pxelinux, &script, mac, &["CONFIG ::menu.cfg"]),
            (
                Language::Grub,
                &kernel,
                mac,
                &["linux '/agent/k' 'BOOTIF=52:54:00:00:00:01' 'x='\\''a;b'", "initrd '/agent/i'", "boot"],
            ),
            (Language::Grub, &kernel, None, &[r#"linux '/agent/k' 'BOOTIF='"$net_default_mac"'' 'x='\''a;b'"#]),
            (Language::Grub, &Disk, mac, &["exit"]),
            (Language::Grub, &script, mac, &["configfile '/menu.cfg'"]),
            (Language::Ipxe, &script, mac, &["chain --replace --autofree http://x/menu.cfg || exit 1"]),
            (
                Language::Ipxe,
                &kernel,
                None,
                &["kernel http://x/agent/k BOOTIF=${mac} x='a;b initrd=ramdisk || goto again"],
            ),
        ] {
            let text = render(language, mac, action, "http://x");
            for line in lines {
                assert!(text.lines().any(|own| own == *line), "{line:?} is missing in\n{text}");
            }
        }
    }
}

//! [`Language`]: which boot program reads a script, how a file is named in it, and how a value is kept from becoming script.
//!
//! Invariant: whatever text [`Language::escape`] is given, what it returns adds no line and no command to the line on which it is put as an argument.

use reveille_config::MacAddr;
use reveille_config::temp_url::encode_path;

/// A boot program's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// iPXE.
    Ipxe,
    /// PXELINUX, of Syslinux.
    Pxelinux,
    /// GRUB.
    Grub,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ipxe, Self::Pxelinux, Self::Grub];

    /// As the configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipxe => "ipxe",
            Self::Pxelinux => "pxelinux",
            Self::Grub => "grub",
        }
    }

    /// How a kernel, a ramdisk or a script is named: a URL, or a path below the roots. iPXE is given URLs; the others fetch a path from where they
    /// themselves came from.
    pub fn location(self, public_url: &str, location: &str) -> String {
        let path = location.trim_start_matches('/');
        match (self, location.split_once("://")) {
            (Self::Ipxe, None) => format!("{public_url}/{}", encode_path(path)),
            // Without the directory of the configuration before it.
            (Self::Pxelinux, None) => format!("::{path}"),
            (Self::Grub, None) => format!("/{path}"),
            (Self::Grub, Some((scheme @ ("http" | "tftp"), rest))) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                format!("({scheme},{host}){path}")
            }
            (_, Some(_)) => location.to_owned(),
        }
    }

    /// A kernel line with the machine's MAC in the place of iPXE's settings, for who does not know them.
    pub fn cmdline(self, cmdline: &str, mac: Option<MacAddr>) -> String {
        match (self, mac) {
            (Self::Ipxe, _) => cmdline.to_owned(),
            (Self::Grub, None) => cmdline.replace("${mac}", "${net_default_mac}"),
            (_, None) => cmdline.to_owned(),
            (_, Some(mac)) => cmdline
                .replace("${mac}", &mac.to_string())
                .replace("${net0/mac}", &mac.to_string())
                .replace("${mac:hexhyp}", &mac.to_string().replace(':', "-")),
        }
    }

    /// The text as arguments of a command; what could end the command is replaced by `_`, or quoted where the language knows quotes.
    pub fn escape(self, text: &str) -> String {
        let plain: String = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '_' }).collect();
        match self {
            Self::Pxelinux => plain,
            Self::Ipxe => {
                let words: Vec<String> = plain.split(' ').map(escape_ipxe).collect();
                words.join(" ")
            }
            Self::Grub => {
                let words = plain.split(' ').filter(|word| !word.is_empty());
                let quoted: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
                quoted.join(" ")
            }
        }
    }
}

/// One word: iPXE ends commands at the words `||`, `&&` and at those that begin with `#`, and expands `${…}`; only settings with plain names are left.
fn escape_ipxe(word: &str) -> String {
    let ends = matches!(word, "||" | "&&") || word.starts_with('#');
    let mut rest = if ends { &word[1..] } else { word };
    let mut safe = if ends { "_".to_owned() } else { String::new() };
    while let Some(at) = rest.find('$') {
        safe.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_');
        match name {
            Some(name) if !name.is_empty() && name.chars().all(plain) => safe.push('$'),
            _ => safe.push('_'),
        }
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        use Language::{Grub, Ipxe, Pxelinux};
        for (language, text, expected) in [
            (Ipxe, "host-1 a=b", "host-1 a=b"),
            (Ipxe, "a\nshell", "a_shell"),
            (Ipxe, "a || shell && b #c", "a _| shell _& b _c"),
            (Ipxe, "${mac} ${net0/mac:hexhyp}", "${mac} ${net0/mac:hexhyp}"),
            (Ipxe, "${a${b}} $c ${", "_{a${b}} _c _{"),
            (Ipxe, "h\u{f6}st", "h_st"),
            (Pxelinux, "a\nKERNEL x\r", "a_KERNEL x_"),
            (Grub, "a  b", "'a' 'b'"),
            (Grub, "$(reboot); 'x'", r"'$(reboot);' ''\''x'\'''"),
            (Grub, "a\\\n}", r"'a\_}'"),
            (Grub, "", ""),
        ] {
            assert_eq!(language.escape(text), expected, "{language:?} {text:?}");
        }
    }

    #[test]
    fn locations_and_kernel_lines() {
        use Language::{Grub, Ipxe, Pxelinux};
        for (language, location, expected) in [
            (Ipxe, "agent/vm linuz", "http://10.0.0.1:8080/agent/vm%20linuz"),
            (Ipxe, "https://x/k?a=1", "https://x/k?a=1"),
            (Pxelinux, "/agent/kernel", "::agent/kernel"),
            (Pxelinux, "http://x/k", "http://x/k"),
            (Grub, "agent/kernel", "/agent/kernel"),
            (Grub, "http://10.0.0.1/k", "(http,10.0.0.1)/k"),
        ] {
            assert_eq!(language.location("http://10.0.0.1:8080", location), expected, "{language:?} {location}");
        }
        let mac = Some(MacAddr([0x52, 0x54, 0, 0, 0, 1]));
        assert_eq!(Grub.cmdline("BOOTIF=${mac} a", mac), "BOOTIF=52:54:00:00:00:01 a");
        assert_eq!(Grub.cmdline("BOOTIF=${mac}", None), "BOOTIF=${net_default_mac}");
        assert_eq!(Ipxe.cmdline("BOOTIF=${mac}", mac), "BOOTIF=${mac}");
    }

    proptest! {
        /// However a host is called: no line and no command comes of it.
        #[test]
        fn text_never_becomes_script(text in r"([a-zé;]|\n|\r|\t|\||\|\||&&|#|\$\{|\}|'| ){0,30}") {
            for language in Language::ALL {
                let safe = language.escape(&text);
                prop_assert!(safe.chars().all(|c| matches!(c, ' '..='~')), "{:?}", safe);
            }
            let ipxe = Language::Ipxe.escape(&text);
            let ends = |word: &str| matches!(word, "||" | "&&") || word.starts_with('#');
            prop_assert!(!ipxe.split(' ').any(ends), "{:?}", ipxe);
            // Outside of quotes there is nothing but spaces and quoted quotes.
            let mut rest = Language::Grub.escape(&text);
            while let Some(begun) = rest.strip_prefix('\'') {
                let (_, after) = begun.split_once('\'').unwrap();
                rest = after.strip_prefix(r"\'").or_else(|| after.strip_prefix(' ')).unwrap_or(after).to_owned();
            }
            prop_assert_eq!(rest, "");
        }
    }
}

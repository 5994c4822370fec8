//! [`resolve`]: from the path that a machine asked for to a path that is safe to join to a root.
//!
//! It does not look at the disk. Whatever it returns is relative, has no `..`, no empty component and no control character; that
//! links do not lead out of the root is the business of whoever opens it (`openat2` with `RESOLVE_BENEATH`).

use std::fmt;

use percent_encoding::percent_decode_str;

/// Octets of a requested path, before decoding (Linux' `PATH_MAX` is 4,096; boot files stay far below).
pub const PATH_BYTES_MAX: usize = 1_024;
/// Octets of one component (`NAME_MAX`).
pub const COMPONENT_BYTES_MAX: usize = 255;

/// A path below a root: relative, without `..`, `.`, empty components and control characters; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SafePath(String);

impl SafePath {
    /// The path, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a protocol writes paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are (TFTP, RFC 1350; intents).
    Plain,
    /// With `%xx` escapes, decoded once (HTTP, RFC 3986 section 2.1).
    Percent,
}

/// Why a path is refused. What a machine sends is data: this is counted, and never an internal error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathRefusal {
    /// Nothing was asked for.
    #[error("the path is empty")]
    Empty,
    /// Longer than [`PATH_BYTES_MAX`], or a component longer than [`COMPONENT_BYTES_MAX`].
    #[error("the path is too long")]
    TooLong,
    /// A component is `..`.
    #[error("the path has a `..`")]
    Parent,
    /// NUL or another control character.
    #[error("the path has a control character")]
    Control,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a broken percent-encoding")]
    Escape,
    /// Not UTF-8 once decoded (overlong forms of `.` and `/` among others).
    #[error("the path is not UTF-8")]
    NotUtf8,
}

impl PathRefusal {
    /// The word that metrics count it under.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "path-empty",
            Self::TooLong => "path-too-long",
            Self::Parent => "path-parent",
            Self::Control => "path-control",
            Self::Escape => "path-escape",
            Self::NotUtf8 => "path-not-utf8",
        }
    }
}

/// Makes the requested path safe, or says why not.
///
/// Leading slashes stand for the root; slashes in a row further on count as one, and `.` components are left out, as the
/// kernel would do. A backslash is a slash, as it is for UEFI: over HTTP shim asks for `//grubx64.efi` up to version 15, and for `/\\grubx64.efi` since.
pub fn resolve(requested: &str, encoding: Encoding) -> Result<SafePath, PathRefusal> {
    if requested.len() > PATH_BYTES_MAX {
        return Err(PathRefusal::TooLong);
    }
    let decoded = match encoding {
        Encoding::Plain => requested.into(),
        Encoding::Percent => {
            check_escapes(requested.as_bytes())?;
            percent_decode_str(requested).decode_utf8().map_err(|_| PathRefusal::NotUtf8)?
        }
    };
    if decoded.chars().any(|c| c.is_control()) {
        return Err(PathRefusal::Control);
    }
    let mut safe = String::with_capacity(decoded.len());
    for component in decoded.split(['/', '\\']) {
        match component {
            "" | "." => continue,
            ".." => return Err(PathRefusal::Parent),
            long if long.len() > COMPONENT_BYTES_MAX => return Err(PathRefusal::TooLong),
            name => {
                if !safe.is_empty() {
                    safe.push('/');
                }
                safe.push_str(name);
            }
        }
    }
    // A trailing slash asks for a directory, and directories are not served; without this it would name the file.
    if safe.is_empty() || decoded.ends_with(['/', '\\']) {
        return Err(PathRefusal::Empty);
    }
    Ok(SafePath(safe))
}

/// Every `%` is followed by two hexadecimal digits (the decoder itself would let others pass as they are).
fn check_escapes(bytes: &[u8]) -> Result<(), PathRefusal> {
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'%') {
        match bytes.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return Err(PathRefusal::Escape),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use Encoding::{Percent, Plain};
        use PathRefusal as R;
        let long = "a/".repeat(600);
        let component = "a".repeat(256);
        #[rustfmt::skip]
        let cases: &[(&str, Encoding, Result<&str, PathRefusal>)] = &[
            ("boot.ipxe",                     Plain,   Ok("boot.ipxe")),
            ("/boot.ipxe",                    Plain,   Ok("boot.ipxe")),
            ("/a//b/./c",                     Plain,   Ok("a/b/c")),
            ("/a%20b",                        Percent, Ok("a b")),
            ("/a%20b",                        Plain,   Ok("a%20b")),
            ("/a%2fb",                        Percent, Ok("a/b")),
            ("/..a/b..",                      Plain,   Ok("..a/b..")),
            ("/%C3%A4.img",                   Percent, Ok("ä.img")),
            ("/%252e%252e/passwd",            Percent, Ok("%2e%2e/passwd")),
            ("",                              Plain,   Err(R::Empty)),
            ("/",                             Percent, Err(R::Empty)),
            ("/.",                            Percent, Err(R::Empty)),
            ("/images/",                      Percent, Err(R::Empty)),
            ("..",                            Plain,   Err(R::Parent)),
            ("/a/../../etc/passwd",           Plain,   Err(R::Parent)),
            ("/%2e%2e/%2e%2e/etc/passwd",     Percent, Err(R::Parent)),
            ("/.%2e/etc/passwd",              Percent, Err(R::Parent)),
            ("/a%2f..%2f..%2fetc/passwd",     Percent, Err(R::Parent)),
            ("//grubx64.efi",                 Plain,   Ok("grubx64.efi")),
            ("/\\\\grubx64.efi",              Percent, Ok("grubx64.efi")),
            ("/efi/%5C%5Cgrubx64.efi",        Percent, Ok("efi/grubx64.efi")),
            ("\\windows\\bootmgr",            Plain,   Ok("windows/bootmgr")),
            ("/%2fetc/passwd",                Percent, Ok("etc/passwd")),
            ("/..%5c..%5cetc",                Percent, Err(R::Parent)),
            ("a\\..\\..\\etc",                Plain,   Err(R::Parent)),
            ("//",                            Plain,   Err(R::Empty)),
            ("images\\",                      Plain,   Err(R::Empty)),
            ("/a\0.ipxe",                     Plain,   Err(R::Control)),
            ("/a%00.ipxe",                    Percent, Err(R::Control)),
            ("/a%0d%0aSet-Cookie:x",          Percent, Err(R::Control)),
            ("/a%",                           Percent, Err(R::Escape)),
            ("/a%2",                          Percent, Err(R::Escape)),
            ("/a%zz",                         Percent, Err(R::Escape)),
            ("/%c0%ae%c0%ae/etc/passwd",      Percent, Err(R::NotUtf8)),
            ("/%ff",                          Percent, Err(R::NotUtf8)),
            (&long,                           Plain,   Err(R::TooLong)),
            (&component,                      Plain,   Err(R::TooLong)),
        ];
        for (requested, encoding, expected) in cases {
            let got = resolve(requested, *encoding);
            assert_eq!(
                got.as_ref().map(SafePath::as_str),
                expected.as_ref().map(|s| &**s),
                "{requested:?} {encoding:?}"
            );
        }
    }

    proptest! {
        /// Whatever comes in: what is returned stays below the root and is stable when resolved again.
        #[test]
        fn stays_below(requested in "([a-z.%/\\\\\0]|%2e|%2f|%5c|%00|%25){0,40}", percent: bool) {
            let encoding = if percent { Encoding::Percent } else { Encoding::Plain };
            if let Ok(path) = resolve(&requested, encoding) {
                let path = path.as_str();
                prop_assert!(!path.starts_with('/') && !path.is_empty());
                prop_assert!(path.split('/').all(|c| !c.is_empty() && c != ".." && c != "."));
                prop_assert!(!path.contains(['\\', '\0']));
                let again = resolve(path, Encoding::Plain).map(|again| again.as_str() == path);
                prop_assert_eq!(again, Ok(true));
            }
        }
    }
}

//! Temporary URLs, as OpenStack Swift's middleware `tempurl` knows them: what is signed, the signature, and the URL that bears it.
//!
//! The contract between those who make them (the provisioner, the command line, other conductors, Swift's own tools) and bootd, which
//! verifies them. Nothing here reads a clock. Whether a request may pass is decided in bootd.

use std::fmt::Write as _;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::Secret;

/// The table `[bootd.temp_url]`: paths that are served only to who shows a signature.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TempUrlGuard {
    /// Any of these may have signed; two while one takes the other's place.
    pub keys: Vec<Secret>,
    /// The guarded paths below the roots, without a leading slash, each with all that is below it.
    pub guard: Vec<String>,
}

/// The table `[provisioner.temp_url]`: images that agents are handed with a signature.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TempUrlIssue {
    /// What signs.
    pub key: Secret,
    /// How long a URL holds, seconds; default 1,200, as Ironic's `swift_temp_url_duration`.
    pub duration_secs: u32,
    /// Beside paths below bootd's roots: images whose URLs begin with one of these are signed, too (a Swift container's).
    pub urls: Vec<String>,
}

/// The hash below the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Swift's first; verified for old conductors.
    Sha1,
    /// The default of whoever makes one here.
    Sha256,
    /// The longest.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// As a signature with its algorithm begins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Octets of a signature.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or("there are sha1, sha256 and sha512")
    }
}

/// What a signature allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant<'a> {
    /// `GET` (which allows HEAD too), `HEAD`, `PUT` …
    pub method: &'a str,
    /// Until when, Unix seconds.
    pub expires_unix: u64,
    /// The object's path with its leading slash, not encoded.
    pub path: &'a str,
    /// Of the object's name in its container (see [`split`]): all objects that begin with it, instead of the one.
    pub prefix: Option<&'a str>,
    /// From these addresses only, as it is written in the URL.
    pub ip_range: Option<&'a str>,
}

impl Grant<'_> {
    /// What is signed: the lines of Swift's `tempurl`.
    fn message(&self) -> String {
        let mut message = String::new();
        // Writing to a String cannot fail.
        let _ = match self.ip_range {
            Some(range) => write!(message, "ip={range}\n{}\n{}\n", self.method, self.expires_unix),
            None => write!(message, "{}\n{}\n", self.method, self.expires_unix),
        };
        let _ = match self.prefix {
            Some(prefix) => write!(message, "prefix:{}{prefix}", split(self.path).0),
            None => write!(message, "{}", self.path),
        };
        message
    }

    /// The signature.
    pub fn sign(&self, algorithm: Algorithm, key: &[u8]) -> Vec<u8> {
        let message = self.message();
        match algorithm {
            Algorithm::Sha1 => keyed::<Hmac<Sha1>>(key, &message).finalize().into_bytes().to_vec(),
            Algorithm::Sha256 => keyed::<Hmac<Sha256>>(key, &message).finalize().into_bytes().to_vec(),
            Algorithm::Sha512 => keyed::<Hmac<Sha512>>(key, &message).finalize().into_bytes().to_vec(),
        }
    }

    /// Whether it is the signature. How long this takes does not tell how much of it is right.
    pub fn is_signed(&self, algorithm: Algorithm, key: &[u8], signature: &[u8]) -> bool {
        let message = self.message();
        match algorithm {
            Algorithm::Sha1 => keyed::<Hmac<Sha1>>(key, &message).verify_slice(signature),
            Algorithm::Sha256 => keyed::<Hmac<Sha256>>(key, &message).verify_slice(signature),
            Algorithm::Sha512 => keyed::<Hmac<Sha512>>(key, &message).verify_slice(signature),
        }
        .is_ok()
    }

    /// Path and query of the URL, from its leading slash on.
    pub fn signed_path(&self, algorithm: Algorithm, key: &[u8]) -> String {
        let mut url = encode_path(self.path);
        let _ = write!(url, "?temp_url_sig=");
        for octet in self.sign(algorithm, key) {
            let _ = write!(url, "{octet:02x}");
        }
        let _ = write!(url, "&temp_url_expires={}", self.expires_unix);
        for (name, value) in [("temp_url_prefix", self.prefix), ("temp_url_ip_range", self.ip_range)] {
            if let Some(value) = value {
                let _ = write!(url, "&{name}={}", utf8_percent_encode(value, PATH));
            }
        }
        url
    }
}

/// What stays as it is in a path: RFC 3986's unreserved characters, and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path as it is written in a URL.
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

fn keyed<M: KeyInit + Mac>(key: &[u8], message: &str) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 section 2)");
    mac.update(message.as_bytes());
    mac
}

/// A path's container, with the slash at its end, and the object's name in it: `/v1/account/container/` where the path has Swift's form, else `/`.
pub fn split(path: &str) -> (&str, &str) {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    match (path.starts_with("/v1/"), slashes.nth(3)) {
        (true, Some(at)) => path.split_at(at + 1),
        _ => path.split_at(path.len().min(1)),
    }
}

/// The networks of `temp_url_ip_range`: one address, or a network whose host bits are zero.
pub fn ip_range(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Grant<'_> = Grant {
        method: "GET",
        expires_unix: 1_323_479_485,
        path: "/v1/AUTH_account/container/object",
        prefix: None,
        ip_range: None,
    };

    #[test]
    fn signs_the_lines_that_swift_signs() {
        let prefix = Grant { prefix: Some("pre"), ..OBJECT };
        let range = Grant { ip_range: Some("10.0.0.0/24"), ..OBJECT };
        for (grant, lines) in [
            (OBJECT, "GET\n1323479485\n/v1/AUTH_account/container/object"),
            (prefix, "GET\n1323479485\nprefix:/v1/AUTH_account/container/pre"),
            (range, "ip=10.0.0.0/24\nGET\n1323479485\n/v1/AUTH_account/container/object"),
            (
                Grant { ip_range: Some("10.0.0.7"), method: "PUT", ..prefix },
                "ip=10.0.0.7\nPUT\n1323479485\nprefix:/v1/AUTH_account/container/pre",
            ),
            (Grant { path: "/images/os.raw", prefix: Some("images/"), ..OBJECT }, "GET\n1323479485\nprefix:/images/"),
        ] {
            assert_eq!(grant.message(), lines);
        }
    }

    /// The vectors were made with Python's `hmac`, as the documentation of Swift's `tempurl` does it, and the key `mykey`.
    #[test]
    fn signatures() {
        for (algorithm, hexadecimal) in [
            (Algorithm::Sha1, "d9fc2067e52b06598421664cf6610bfc8fc431f6"),
            (Algorithm::Sha256, "05cb4ea08a08f2fdaef35d0f344975370077835c23bdc9342099ecbf03bc0378"),
            (
                Algorithm::Sha512,
                "cd90f5bb657464b0f1861ad13c5ad8cc67f51f4c881dce90bfc90086931ccb89\
                 a0b8d23c6cff7d4afe02d873b0035385d3025497bbd7f0ca35d61bf9936db77d",
            ),
        ] {
            let url = OBJECT.signed_path(algorithm, b"mykey");
            let expected = format!("{}?temp_url_sig={hexadecimal}&temp_url_expires=1323479485", OBJECT.path);
            assert_eq!(url, expected);
            let mut signature = OBJECT.sign(algorithm, b"mykey");
            assert_eq!(signature.len(), algorithm.signature_bytes());
            assert!(OBJECT.is_signed(algorithm, b"mykey", &signature));
            assert!(!OBJECT.is_signed(algorithm, b"other", &signature));
            assert!(!OBJECT.is_signed(algorithm, b"mykey", &signature[1..]));
            signature[0] ^= 1;
            assert!(!OBJECT.is_signed(algorithm, b"mykey", &signature));
        }
        let grant = Grant { path: "/a b/c&d", prefix: Some("a b/"), ip_range: Some("10.0.0.0/8"), ..OBJECT };
        let url = grant.signed_path(Algorithm::Sha1, b"k");
        assert!(url.starts_with("/a%20b/c%26d?temp_url_sig="), "{url}");
        assert!(
            url.ends_with("&temp_url_expires=1323479485&temp_url_prefix=a%20b/&temp_url_ip_range=10.0.0.0/8"),
            "{url}"
        );
    }

    #[test]
    fn splits_where_swift_does() {
        for (path, container, object) in [
            ("/v1/AUTH_a/c/o/p", "/v1/AUTH_a/c/", "o/p"),
            ("/v1/AUTH_a/c/", "/v1/AUTH_a/c/", ""),
            ("/v1/AUTH_a/c", "/", "v1/AUTH_a/c"),
            ("/images/sha256/x", "/", "images/sha256/x"),
            ("/v10/a/c/o", "/", "v10/a/c/o"),
            ("/x", "/", "x"),
            ("", "", ""),
        ] {
            assert_eq!(split(path), (container, object), "{path}");
        }
    }

    #[test]
    fn ranges_are_networks() {
        for (text, good) in [
            ("10.0.0.7", true),
            ("10.0.0.0/24", true),
            ("fd00::/8", true),
            ("10.0.0.7/24", false),
            ("10.0.0.0/33", false),
            ("ten", false),
        ] {
            assert_eq!(ip_range(text).is_some(), good, "{text}");
        }
    }
}

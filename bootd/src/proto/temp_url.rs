//! [`admit`]: whether a request bears a signature that lets it have a guarded path, by Swift's rules (its middleware `tempurl`).
//!
//! It knows nothing of files and clocks. What is signed is `reveille_config::temp_url`'s; here is what a request must have around it: the time, the
//! addresses, the prefix, the method. Parameters that Swift gives to browsers (`inline`, `filename`) are let pass.

use std::net::IpAddr;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::Method;
use percent_encoding::percent_decode_str;
use reveille_config::temp_url::{Algorithm, Grant, TempUrlGuard, ip_range, split};

use super::path::SafePath;

/// Why a request may not have a guarded path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureRefusal {
    /// It has no signature, or no expiry.
    Missing,
    /// A parameter is not what it should be.
    Malformed,
    /// It came too late.
    Expired,
    /// It comes from an address that the URL is not for.
    Address,
    /// The path does not begin with the prefix.
    Prefix,
    /// None of the keys has made the signature, for this path, method and time.
    Signature,
}

impl SignatureRefusal {
    /// The word that metrics count it under.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "signature-missing",
            Self::Malformed => "signature-malformed",
            Self::Expired => "signature-expired",
            Self::Address => "signature-address",
            Self::Prefix => "signature-prefix",
            Self::Signature => "signature-wrong",
        }
    }
}

/// Whether the path is one that needs a signature.
pub fn is_guarded(guard: &TempUrlGuard, path: &SafePath) -> bool {
    let below =
        |own: &str| path.as_str().strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    guard.guard.iter().any(|own| below(own))
}

/// Who asks for what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `GET` or `HEAD`.
    pub method: &'a Method,
    /// The path.
    pub path: &'a SafePath,
    /// All after the question mark.
    pub query: &'a str,
    /// Whose address the request comes from.
    pub peer: IpAddr,
    /// Unix seconds.
    pub now_unix: u64,
}

/// Decides on a request for a guarded path.
pub fn admit(guard: &TempUrlGuard, asked: &Asked<'_>) -> Result<(), SignatureRefusal> {
    use SignatureRefusal as R;
    let parameter = |name: &str| parameter(asked.query, name).transpose().map_err(|()| R::Malformed);
    let (Some(signature), Some(expires)) = (parameter("temp_url_sig")?, parameter("temp_url_expires")?) else {
        return Err(R::Missing);
    };
    let (algorithm, signature) = read_signature(&signature).ok_or(R::Malformed)?;
    let expires_unix = read_expiry(&expires).ok_or(R::Malformed)?;
    let (range, prefix) = (parameter("temp_url_ip_range")?, parameter("temp_url_prefix")?);
    if expires_unix < asked.now_unix {
        return Err(R::Expired);
    }
    if let Some(range) = &range
        && !ip_range(range).ok_or(R::Malformed)?.contains(&asked.peer)
    {
        return Err(R::Address);
    }
    let path = format!("/{}", asked.path);
    if let Some(prefix) = &prefix
        && !split(&path).1.starts_with(prefix.as_str())
    {
        return Err(R::Prefix);
    }
    // Who may get, put or post may look.
    let methods: &[&str] = if asked.method == Method::HEAD { &["HEAD", "GET", "PUT", "POST"] } else { &["GET"] };
    let is_signed =
        guard.keys.iter().flat_map(|key| methods.iter().map(move |method| (key, *method))).any(|(key, method)| {
            let grant =
                Grant { method, expires_unix, path: &path, prefix: prefix.as_deref(), ip_range: range.as_deref() };
            grant.is_signed(algorithm, key.expose().as_bytes(), &signature)
        });
    if is_signed { Ok(()) } else { Err(R::Signature) }
}

/// The first parameter of that name, decoded.
fn parameter(query: &str, name: &str) -> Option<Result<String, ()>> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name)?;
    let spaced = value.replace('+', " ");
    // A plus of base64 that was not encoded is a plus.
    let value = if name == "temp_url_sig" { value } else { &spaced };
    Some(percent_decode_str(value).decode_utf8().map(Into::into).map_err(|_| ()))
}

/// Hexadecimal digits, by whose number the algorithm is known, or `sha512:` and base64 of either alphabet.
fn read_signature(text: &str) -> Option<(Algorithm, Vec<u8>)> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let (algorithm, octets) = match text.split_once(':') {
        Some((name, rest)) => {
            let algorithm = name.parse::<Algorithm>().ok()?;
            let octets = BASE64.decode(rest.replace('-', "+").replace('_', "/")).ok()?;
            (algorithm, octets)
        }
        None => {
            let algorithm = Algorithm::ALL.into_iter().find(|own| own.signature_bytes() * 2 == text.len())?;
            (algorithm, hexadecimal(text)?)
        }
    };
    (octets.len() == algorithm.signature_bytes()).then_some((algorithm, octets))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Unix seconds, or `2026-11-23T15:20:00Z`.
fn read_expiry(text: &str) -> Option<u64> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) {
        return text.parse().ok();
    }
    let time = jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M:%SZ", text).ok()?;
    u64::try_from(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::path::{Encoding, resolve};
    use SignatureRefusal as R;
    use reveille_config::Config;
    use reveille_config::environment::Imagined;

    const NOW: u64 = 1_800_000_000;
    const LATER: &str = "1800000060";

    fn guard() -> TempUrlGuard {
        let world = Imagined::default()
            .directory("/")
            .directory("/r")
            .file("/new", 0o600, "new-key")
            .file("/old", 0o600, "old-key");
        let text = "[bootd]\nhttp = [\"10.0.0.1:80\"]\nroots = [\"/r\"]\n\
            [bootd.temp_url]\nkeys = [{ file = \"/new\" }, { file = \"/old\" }]\nguard = [\"images/private\", \"v1\"]\n";
        let config = Config::parse(text, "t".as_ref(), &world).unwrap();
        config.bootd.unwrap().temp_url.unwrap()
    }

    fn path(text: &str) -> SafePath {
        resolve(text, Encoding::Plain).unwrap()
    }

    fn ask(method: Method, at: &str, query: &str, peer: &str) -> Result<(), R> {
        let (path, peer) = (path(at), peer.parse().unwrap());
        admit(&guard(), &Asked { method: &method, path: &path, query, peer, now_unix: NOW })
    }

    fn get(at: &str, query: &str) -> Result<(), R> {
        ask(Method::GET, at, query, "10.0.0.7")
    }

    /// The query of a URL for `at`, with the key.
    fn query(at: &str, key: &str, algorithm: Algorithm, change: impl FnOnce(&mut Grant<'_>)) -> String {
        let mut grant = Grant { method: "GET", expires_unix: NOW + 60, path: at, prefix: None, ip_range: None };
        change(&mut grant);
        grant.signed_path(algorithm, key.as_bytes()).split_once('?').unwrap().1.to_owned()
    }

    #[test]
    fn guards_a_path_and_all_below_it() {
        for (at, guarded) in [
            ("images/private", true),
            ("images/private/os.raw", true),
            ("images/private/a/b", true),
            ("images/private.raw", false),
            ("images", false),
            ("x/images/private/a", false),
            ("v1/AUTH_a/c/o", true),
        ] {
            assert_eq!(is_guarded(&guard(), &path(at)), guarded, "{at}");
        }
    }

    #[test]
    fn every_form_of_a_right_url() {
        let at = "/v1/AUTH_a/c/pre/o 1";
        for key in ["new-key", "old-key"] {
            for algorithm in Algorithm::ALL {
                let plain = query(at, key, algorithm, |_| {});
                assert_eq!(get(at, &plain), Ok(()), "{plain}");
                assert_eq!(get(at, &format!("inline&filename=a.raw&{plain}&x")), Ok(()));
                assert_eq!(ask(Method::HEAD, at, &plain, "10.0.0.7"), Ok(()), "who may get may look");
                let prefix = query(at, key, algorithm, |grant| grant.prefix = Some("pre/"));
                assert_eq!(get(at, &prefix), Ok(()));
                assert_eq!(get("/v1/AUTH_a/c/pre/other", &prefix), Ok(()));
                let range = query(at, key, algorithm, |grant| grant.ip_range = Some("10.0.0.0/24"));
                assert_eq!(get(at, &range), Ok(()));
                // As base64, in both alphabets, with padding and without; and the time as a date.
                let grant = Grant { method: "GET", expires_unix: NOW + 60, path: at, prefix: None, ip_range: None };
                let octets = grant.sign(algorithm, key.as_bytes());
                use base64::engine::general_purpose as engine;
                for text in [
                    engine::STANDARD.encode(&octets),
                    engine::STANDARD_NO_PAD.encode(&octets),
                    engine::URL_SAFE.encode(&octets),
                    engine::URL_SAFE_NO_PAD.encode(&octets),
                ] {
                    for time in [LATER, "2027-01-15T08:01:00Z", "2027-01-15T08%3A01%3A00Z"] {
                        let query = format!("temp_url_sig={}:{text}&temp_url_expires={time}", algorithm.name());
                        assert_eq!(get(at, &query), Ok(()), "{query}");
                    }
                }
            }
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        let at = "/v1/AUTH_a/c/pre/o";
        let of = |change: fn(&mut Grant<'_>)| query(at, "new-key", Algorithm::Sha256, change);
        let good = of(|_| {});
        let (signature, _) = good.split_once("&temp_url_expires").unwrap();
        let expires = format!("temp_url_expires={LATER}");
        let zeros = |n: usize| format!("temp_url_sig={}&{expires}", "0".repeat(n));
        for (query, expected) in [
            (String::new(), R::Missing),
            (signature.into(), R::Missing),
            (expires.clone(), R::Missing),
            (zeros(64), R::Signature),
            (zeros(40), R::Signature),
            (zeros(128), R::Signature),
            (zeros(63), R::Malformed),
            (zeros(0), R::Malformed),
            (format!("temp_url_sig={}&{expires}", "g".repeat(64)), R::Malformed),
            (format!("temp_url_sig=md5:AAAA&{expires}"), R::Malformed),
            (format!("temp_url_sig=sha1:AAAA&{expires}"), R::Malformed),
            (format!("temp_url_sig=sha1:%ff&{expires}"), R::Malformed),
            (format!("{signature}&temp_url_expires=soon"), R::Malformed),
            (format!("{signature}&temp_url_expires="), R::Malformed),
            (format!("{signature}&temp_url_expires=-1"), R::Malformed),
            (format!("{signature}&temp_url_expires=99999999999999999999"), R::Malformed),
            (format!("{signature}&temp_url_expires=2027-13-01T00:00:00Z"), R::Malformed),
            (format!("{signature}&temp_url_expires=1800000061"), R::Signature),
            (of(|grant| grant.expires_unix = NOW - 1), R::Expired),
            (of(|grant| grant.ip_range = Some("10.0.0.8")), R::Address),
            (of(|grant| grant.ip_range = Some("fd00::/8")), R::Address),
            (of(|grant| grant.ip_range = Some("10.0.0.7/8")), R::Malformed),
            (of(|grant| grant.prefix = Some("other")), R::Prefix),
            // A part that was signed may not be left out, nor one added.
            (of(|grant| grant.ip_range = Some("10.0.0.7")).replace("&temp_url_ip_range=10.0.0.7", ""), R::Signature),
            (of(|grant| grant.prefix = Some("pre")).replace("&temp_url_prefix=pre", ""), R::Signature),
            (format!("{good}&temp_url_prefix=pre"), R::Signature),
            (format!("{good}&temp_url_ip_range=10.0.0.7"), R::Signature),
            (of(|grant| grant.method = "PUT"), R::Signature),
            (of(|grant| grant.path = "/v1/AUTH_a/c/pre/other"), R::Signature),
            // The first counts, as in Swift.
            (format!("temp_url_sig={}&{good}", "0".repeat(64)), R::Signature),
        ] {
            assert_eq!(get(at, &query), Err(expected), "{query}");
        }
        assert_eq!(get(at, &query(at, "another-key", Algorithm::Sha256, |_| {})), Err(R::Signature));
        let head = query(at, "new-key", Algorithm::Sha256, |grant| grant.method = "HEAD");
        assert_eq!((get(at, &head), ask(Method::HEAD, at, &head, "::1")), (Err(R::Signature), Ok(())));
        // The last second still counts.
        assert_eq!(get(at, &of(|grant| grant.expires_unix = NOW)), Ok(()));
    }
}

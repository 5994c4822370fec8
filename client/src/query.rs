//! Query strings and path segments, percent-encoded (RFC 3986).

use std::fmt::{Display, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, with everything encoded that would mean something to the server.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A path with those parameters that have a value.
pub(crate) fn path(path: &str, parameters: &[(&str, Option<&(dyn Display + Sync)>)]) -> String {
    let mut whole = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters {
        if let Some(value) = value {
            write!(whole, "{separator}{name}={}", segment(&value.to_string())).expect("a String takes everything");
            separator = '&';
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    #[test]
    fn encodes_what_would_mean_something() {
        assert_eq!(
            super::path("/v1/leases", &[("scope", Some(&"a b&c")), ("cursor", None), ("limit", Some(&5))]),
            "/v1/leases?scope=a%20b%26c&limit=5"
        );
        assert_eq!(super::segment("../x?"), "..%2Fx%3F");
    }
}

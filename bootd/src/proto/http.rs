//! What to answer to a conditional or ranged GET: RFC 9110, sections 13 and 14, as a pure function.
//!
//! It knows no sockets and no files; it works on the header values and the [`Validators`] of the file. Anything in a request that
//! the RFC lets a server ignore and that does not parse is ignored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName};
use http::{Method, header};

/// What identifies the bytes of a file that is about to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag, with its quotes.
    pub etag: String,
    /// The last change, in whole seconds (HTTP knows no finer time).
    pub last_modified: SystemTime,
    /// Octets.
    pub bytes: u64,
}

impl Validators {
    /// From what the file system says: any change of a file changes at least one of these.
    pub fn of_file(inode: u64, bytes: u64, modified_unix_nanos: i128) -> Self {
        let secs = modified_unix_nanos.max(0) / 1_000_000_000;
        Self {
            etag: format!("\"{inode:x}-{bytes:x}-{modified_unix_nanos:x}\""),
            last_modified: UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).unwrap_or(0)),
            bytes,
        }
    }
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 with all of it.
    Whole,
    /// 206 with the octets `first..=last`.
    Part {
        /// Position of the first octet.
        first: u64,
        /// Position of the last octet.
        last: u64,
    },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416, with `Content-Range: bytes */total`.
    NotSatisfiable,
}

/// Decides on a GET or HEAD (RFC 9110 section 13.2.2, in that order).
pub fn decide(method: &Method, headers: &HeaderMap, file: &Validators) -> Answer {
    if headers.contains_key(header::IF_MATCH) {
        if !matches_etag(headers, header::IF_MATCH, file, Comparison::Strong) {
            return Answer::PreconditionFailed;
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|since| file.last_modified > since) {
        return Answer::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if matches_etag(headers, header::IF_NONE_MATCH, file, Comparison::Weak) {
            return Answer::NotModified;
        }
    } else if date(headers, header::IF_MODIFIED_SINCE).is_some_and(|since| file.last_modified <= since) {
        return Answer::NotModified;
    }
    // Section 14.2: a Range means something for GET only, and only with a matching If-Range.
    if method != Method::GET || !if_range_holds(headers, file) {
        return Answer::Whole;
    }
    let mut ranges = headers.get_all(header::RANGE).iter();
    match (ranges.next().and_then(|value| value.to_str().ok()), ranges.next()) {
        (Some(range), None) => decide_range(range, file.bytes),
        _ => Answer::Whole,
    }
}

/// One byte range (RFC 9110 section 14.1.2). Several ranges, another unit or a broken value: the whole, as section 14.2 allows.
fn decide_range(value: &str, bytes: u64) -> Answer {
    let spec = match value.split_once('=') {
        Some((unit, spec)) if unit.trim().eq_ignore_ascii_case("bytes") => spec.trim(),
        _ => return Answer::Whole,
    };
    let Some((first, last)) = spec.split_once('-') else { return Answer::Whole };
    match (position(first), position(last)) {
        (Position::Number(first), Position::Number(last)) if last < first => Answer::Whole,
        (Position::Number(first), _) if first >= bytes => match position(last) {
            Position::Broken => Answer::Whole,
            _ => Answer::NotSatisfiable,
        },
        (Position::Number(first), Position::Number(last)) => Answer::Part { first, last: last.min(bytes - 1) },
        (Position::Number(first), Position::None) => Answer::Part { first, last: bytes - 1 },
        (Position::None, Position::Number(0)) => Answer::NotSatisfiable,
        (Position::None, Position::Number(_)) if bytes == 0 => Answer::NotSatisfiable,
        (Position::None, Position::Number(suffix)) => {
            Answer::Part { first: bytes.saturating_sub(suffix), last: bytes - 1 }
        }
        _ => Answer::Whole,
    }
}

enum Position {
    None,
    Number(u64),
    Broken,
}

fn position(text: &str) -> Position {
    match text {
        "" => Position::None,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            // A number beyond u64 lies beyond every file.
            Position::Number(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Position::Broken,
    }
}

/// Section 13.1.5: an entity tag is compared strongly, a date must be exactly the one sent as Last-Modified.
fn if_range_holds(headers: &HeaderMap, file: &Validators) -> bool {
    match headers.get(header::IF_RANGE).map(|value| value.to_str()) {
        None => true,
        Some(Ok(tag)) if tag.starts_with('"') => tag == file.etag,
        Some(Ok(text)) => httpdate::parse_http_date(text).is_ok_and(|date| date == file.last_modified),
        Some(Err(_)) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether one of the header's entity tags, or `*`, matches (sections 8.8.3.2, 13.1.1 and 13.1.2).
fn matches_etag(headers: &HeaderMap, name: HeaderName, file: &Validators, comparison: Comparison) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|tag| {
        // Our own tags hold no comma, so that splitting at commas cannot make one out of parts of another.
        match (tag.trim(), comparison) {
            ("*", _) => true,
            (tag, Comparison::Weak) => tag.strip_prefix("W/").unwrap_or(tag) == file.etag,
            (tag, Comparison::Strong) => tag == file.etag,
        }
    })
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn file(bytes: u64) -> Validators {
        Validators { etag: "\"a-1\"".into(), last_modified: httpdate::parse_http_date(MODIFIED).unwrap(), bytes }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn ranges() {
        use Answer::{NotSatisfiable, Part, Whole};
        #[rustfmt::skip]
        let cases: &[(&str, u64, Answer)] = &[
            ("bytes=0-0",        100, Part { first: 0, last: 0 }),
            ("bytes=0-",         100, Part { first: 0, last: 99 }),
            ("bytes=10-19",      100, Part { first: 10, last: 19 }),
            ("bytes=10-1000",    100, Part { first: 10, last: 99 }),
            ("bytes=-1",         100, Part { first: 99, last: 99 }),
            ("bytes=-1000",      100, Part { first: 0, last: 99 }),
            ("BYTES=99-",        100, Part { first: 99, last: 99 }),
            ("bytes=99-99999999999999999999", 100, Part { first: 99, last: 99 }),
            ("bytes=100-",       100, NotSatisfiable),
            ("bytes=100-200",    100, NotSatisfiable),
            ("bytes=99999999999999999999-", 100, NotSatisfiable),
            ("bytes=-0",         100, NotSatisfiable),
            ("bytes=0-",           0, NotSatisfiable),
            ("bytes=-5",           0, NotSatisfiable),
            ("bytes=5-4",        100, Whole),
            ("bytes=0-1,5-6",    100, Whole),
            ("bytes=-",          100, Whole),
            ("bytes=a-b",        100, Whole),
            ("bytes=200-x",      100, Whole),
            ("bytes=+1-2",       100, Whole),
            ("bytes",            100, Whole),
            ("lines=1-2",        100, Whole),
            ("",                 100, Whole),
        ];
        for (range, bytes, expected) in cases {
            let got = decide(&Method::GET, &headers(&[("range", range)]), &file(*bytes));
            assert_eq!(got, *expected, "{range} of {bytes}");
        }
        assert_eq!(decide(&Method::HEAD, &headers(&[("range", "bytes=0-0")]), &file(100)), Whole);
        assert_eq!(
            decide(&Method::GET, &headers(&[("range", "bytes=0-0"), ("range", "bytes=1-1")]), &file(100)),
            Whole
        );
    }

    #[test]
    fn conditions() {
        use Answer::{NotModified, Part, PreconditionFailed, Whole};
        let part = Part { first: 0, last: 0 };
        let range = ("range", "bytes=0-0");
        #[rustfmt::skip]
        let cases: &[(&[(&'static str, &str)], Answer)] = &[
            (&[],                                                                   Whole),
            (&[("if-none-match", "\"a-1\"")],                                       NotModified),
            (&[("if-none-match", "W/\"a-1\"")],                                     NotModified),
            (&[("if-none-match", "\"x\", \"a-1\"")],                                NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a-1\"")],           NotModified),
            (&[("if-none-match", "*")],                                             NotModified),
            (&[("if-none-match", "\"x\"")],                                         Whole),
            (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)],           Whole),
            (&[("if-modified-since", MODIFIED)],                                    NotModified),
            (&[("if-modified-since", LATER)],                                       NotModified),
            (&[("if-modified-since", EARLIER)],                                     Whole),
            (&[("if-modified-since", "yesterday")],                                 Whole),
            (&[("if-match", "\"a-1\"")],                                            Whole),
            (&[("if-match", "W/\"a-1\"")],                                          PreconditionFailed),
            (&[("if-match", "\"x\"")],                                              PreconditionFailed),
            (&[("if-match", "*")],                                                  Whole),
            (&[("if-match", "\"a-1\""), ("if-unmodified-since", EARLIER)],          Whole),
            (&[("if-unmodified-since", EARLIER)],                                   PreconditionFailed),
            (&[("if-unmodified-since", MODIFIED)],                                  Whole),
            (&[("if-match", "\"a-1\""), ("if-none-match", "\"a-1\"")],              NotModified),
            (&[("if-range", "\"a-1\""), range],                                     part),
            (&[("if-range", "W/\"a-1\""), range],                                   Whole),
            (&[("if-range", "\"x\""), range],                                       Whole),
            (&[("if-range", MODIFIED), range],                                      part),
            (&[("if-range", LATER), range],                                         Whole),
            (&[("if-range", "\"x\""), ("range", "bytes=1000-")],                    Whole),
            (&[("if-none-match", "\"a-1\""), range],                                NotModified),
        ];
        for (list, expected) in cases {
            assert_eq!(decide(&Method::GET, &headers(list), &file(100)), *expected, "{list:?}");
        }
    }

    #[test]
    fn tags_tell_files_apart() {
        let base = Validators::of_file(1, 2, 3_000_000_000);
        for other in [(9, 2, 3_000_000_000), (1, 9, 3_000_000_000), (1, 2, 3_000_000_001)] {
            assert_ne!(base.etag, Validators::of_file(other.0, other.1, other.2).etag);
        }
        assert_eq!(base.last_modified, UNIX_EPOCH + Duration::from_secs(3));
        assert_eq!(Validators::of_file(1, 2, -5).last_modified, UNIX_EPOCH);
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(spec in "bytes=[0-9]{0,3}-[0-9]{0,3}", bytes in 0u64..200) {
            match decide_range(&spec, bytes) {
                Answer::Part { first, last } => prop_assert!(first <= last && last < bytes),
                Answer::Whole | Answer::NotSatisfiable => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

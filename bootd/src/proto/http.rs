//! What to answer to a conditional or ranged GET: RFC 9110, sections 13 and 14, as a pure function.
//!
//! It knows no sockets and no files; it works on the header values and the [`Validators`] of the file. Anything in a request that
//! the RFC lets a server ignore and that does not parse is ignored.

use std::fmt;
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

/// Ranges of one request that are answered; one that asks for more gets the whole file, as RFC 9110 section 14.2 allows.
pub const RANGES_MAX: usize = 16;

/// Octets of a file, both ends included; its text is that of `Content-Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first octet.
    pub first: u64,
    /// Position of the last octet.
    pub last: u64,
}

impl ByteRange {
    /// How many.
    pub const fn bytes(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 with all of it.
    Whole,
    /// 206 with these octets.
    Part(ByteRange),
    /// 206 with several, in the order in which they were asked for: at least two, at most [`RANGES_MAX`], together no more than the file.
    Parts(Vec<ByteRange>),
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

/// Byte ranges (RFC 9110 sections 14.1.2 and 14.2). Another unit, a broken value, too many or ranges that overlap so much that they are more than
/// the file: the whole. Those that lie outside the file are left out while another does not.
fn decide_range(value: &str, bytes: u64) -> Answer {
    let specs = match value.split_once('=') {
        Some((unit, specs)) if unit.trim().eq_ignore_ascii_case("bytes") => specs,
        _ => return Answer::Whole,
    };
    let mut ranges = Vec::new();
    // A list may have empty elements (section 5.6.1.2); they count, so that they are not endless.
    for (at, spec) in specs.split(',').map(|spec| spec.trim_matches([' ', '\t'])).enumerate() {
        match one_range(spec, bytes) {
            _ if at >= RANGES_MAX => return Answer::Whole,
            Ok(range) => ranges.extend(range),
            Err(()) if spec.is_empty() && specs.contains(',') => {}
            Err(()) => return Answer::Whole,
        }
    }
    match ranges[..] {
        [] => Answer::NotSatisfiable,
        [range] => Answer::Part(range),
        _ if ranges.iter().map(ByteRange::bytes).fold(0, u64::saturating_add) > bytes => Answer::Whole,
        _ => Answer::Parts(ranges),
    }
}

/// One of them; `None` lies outside the file.
fn one_range(spec: &str, bytes: u64) -> Result<Option<ByteRange>, ()> {
    let (first, last) = spec.split_once('-').ok_or(())?;
    let range = match (position(first), position(last)) {
        (Position::Number(first), Position::Number(last)) if last < first => return Err(()),
        (Position::Number(first), Position::Number(last)) => (first < bytes).then(|| (first, last.min(bytes - 1))),
        (Position::Number(first), Position::None) => (first < bytes).then(|| (first, bytes - 1)),
        (Position::None, Position::Number(suffix)) => {
            (suffix > 0 && bytes > 0).then(|| (bytes.saturating_sub(suffix), bytes - 1))
        }
        _ => return Err(()),
    };
    Ok(range.map(|(first, last)| ByteRange { first, last }))
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
        use Answer::{NotSatisfiable, Whole};
        let part = |first, last| Answer::Part(ByteRange { first, last });
        let parts =
            |list: &[(u64, u64)]| Answer::Parts(list.iter().map(|&(first, last)| ByteRange { first, last }).collect());
        let sixteen = ["1-1"; RANGES_MAX].join(",");
        let (sixteen, more) = (format!("bytes={sixteen}"), format!("bytes={sixteen},1-1"));
        #[rustfmt::skip]
        let cases: &[(&str, u64, Answer)] = &[
            ("bytes=0-0",        100, part(0, 0)),
            ("bytes=0-",         100, part(0, 99)),
            ("bytes=10-19",      100, part(10, 19)),
            ("bytes=10-1000",    100, part(10, 99)),
            ("bytes=-1",         100, part(99, 99)),
            ("bytes=-1000",      100, part(0, 99)),
            ("BYTES=99-",        100, part(99, 99)),
            ("bytes=99-99999999999999999999", 100, part(99, 99)),
            ("bytes=100-",       100, NotSatisfiable),
            ("bytes=100-200",    100, NotSatisfiable),
            ("bytes=99999999999999999999-", 100, NotSatisfiable),
            ("bytes=-0",         100, NotSatisfiable),
            ("bytes=0-",           0, NotSatisfiable),
            ("bytes=-5",           0, NotSatisfiable),
            ("bytes=5-4",        100, Whole),
            ("bytes=0-1,5-6",    100, parts(&[(0, 1), (5, 6)])),
            ("bytes=5-6, 0-1 ,-1", 100, parts(&[(5, 6), (0, 1), (99, 99)])),
            ("bytes=,0-1,,5-6,", 100, parts(&[(0, 1), (5, 6)])),
            ("bytes=0-1,200-",   100, part(0, 1)),
            ("bytes=200-,300-",  100, NotSatisfiable),
            ("bytes=0-1,x",      100, Whole),
            ("bytes=0-,0-",      100, Whole),
            ("bytes=0-59,50-99", 100, Whole),
            ("bytes=,",          100, NotSatisfiable),
            (&sixteen,           100, parts(&[(1, 1); RANGES_MAX])),
            (&more,              100, Whole),
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
        use Answer::{NotModified, PreconditionFailed, Whole};
        let part = Answer::Part(ByteRange { first: 0, last: 0 });
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
            (&[("if-range", "\"a-1\""), range],                                     part.clone()),
            (&[("if-range", "W/\"a-1\""), range],                                   Whole),
            (&[("if-range", "\"x\""), range],                                       Whole),
            (&[("if-range", MODIFIED), range],                                      part.clone()),
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
        fn parts_lie_in_the_file(spec in "bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,3}-[0-9]{0,3}){0,3}", bytes in 0u64..200) {
            match decide_range(&spec, bytes) {
                Answer::Part(range) => prop_assert!(range.first <= range.last && range.last < bytes),
                Answer::Parts(ranges) => {
                    prop_assert!((2..=RANGES_MAX).contains(&ranges.len()));
                    prop_assert!(ranges.iter().all(|range| range.first <= range.last && range.last < bytes));
                    prop_assert!(ranges.iter().map(ByteRange::bytes).sum::<u64>() <= bytes);
                }
                Answer::Whole | Answer::NotSatisfiable => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

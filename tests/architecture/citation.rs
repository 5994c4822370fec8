//! Citations of RFCs: `//= <url>#section-x` and `//# <quoted requirement>` at the code that keeps it, the same with `//= type=test` at its test.
//!
//! What is cited at code must be cited at a test, and the other way round. Two citations meet when they name the same section and one quotes the
//! other or a part of it. `docs/rfc/` lists what applies to a server; what of that is cited nowhere yet is counted, and may only become less.

use std::path::Path;

/// One citation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// `dhcpd/src/proto/view.rs:12`.
    pub place: String,
    /// `rfc2131`.
    pub rfc: String,
    /// `section-4.1`.
    pub section: String,
    /// The quotation, white space folded.
    pub quote: String,
    /// Whether it stands at a test.
    pub at_test: bool,
}

/// What begins the address of every RFC.
const BASE: &str = "https://www.rfc-editor.org/rfc/";

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The citations of a source, and its lines that look like one and are none.
pub fn citations(path: &Path, text: &str) -> (Vec<Citation>, Vec<String>) {
    let (mut found, mut broken): (Vec<Citation>, _) = (Vec::new(), Vec::new());
    // Whether the last line belongs to the last citation, which may go on.
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        let (line, place) = (line.trim(), format!("{}:{}", path.display(), number + 1));
        if let Some(annotation) = line.strip_prefix("//= ") {
            match (annotation.strip_prefix(BASE).and_then(|rest| rest.split_once('#')), found.last_mut()) {
                (Some((rfc, section)), _) => {
                    let (rfc, section) = (rfc.to_owned(), section.to_owned());
                    found.push(Citation { place, rfc, section, quote: String::new(), at_test: false });
                    open = true;
                }
                (None, Some(last)) if annotation == "type=test" && open && last.quote.is_empty() => last.at_test = true,
                _ => broken.push(format!("{place}: neither {BASE}rfc…#section-… nor type=test")),
            }
        } else if let Some(quote) = line.strip_prefix("//# ") {
            match found.last_mut().filter(|_| open) {
                Some(last) => last.quote = fold(&format!("{} {quote}", last.quote)),
                None => broken.push(format!("{place}: a quotation of nothing")),
            }
        } else {
            open = false;
        }
    }
    broken.extend(found.iter().filter(|own| own.quote.is_empty()).map(|own| format!("{}: quotes nothing", own.place)));
    (found, broken)
}

/// Whether two citations are of one requirement.
fn meets(one: &Citation, other: &Citation) -> bool {
    let quoted = one.quote.contains(&other.quote) || other.quote.contains(&one.quote);
    one.rfc == other.rfc && one.section == other.section && quoted
}

/// Those that are cited at code and at no test, or at a test and at no code.
pub fn unpaired(all: &[Citation]) -> Vec<&Citation> {
    all.iter().filter(|one| !all.iter().any(|other| other.at_test != one.at_test && meets(one, other))).collect()
}

/// A requirement of a list in `docs/rfc/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// `rfc2131`.
    pub rfc: String,
    /// Its section's number, as `4.3.2`.
    pub section: String,
    /// The sentence.
    pub quote: String,
    /// Why it does not apply; `None` where it does.
    pub why_not: Option<String>,
}

/// The list `rfc….md`: `- 4.1 "quotation"` below `## Applies`, and `- 4.4 "quotation" reason` below `## Does not apply`.
///
/// # Panics
/// At a line that is neither.
pub fn requirements(rfc: &str, text: &str) -> Vec<Requirement> {
    let mut applies = true;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "## Applies" => applies = true,
            "## Does not apply" => applies = false,
            _ => {}
        }
        let Some(entry) = line.strip_prefix("- ") else { continue };
        let parts = entry.split_once(" \"").and_then(|(section, rest)| Some((section, rest.rsplit_once('"')?)));
        let Some((section, (quote, why))) = parts else {
            panic!("{rfc}: not `- section \"quotation\" reason`: {line}")
        };
        let why_not = (!applies).then(|| why.trim().to_owned());
        assert_eq!(applies, why.trim().is_empty(), "{rfc}: a reason, and only where it does not apply: {line}");
        found.push(Requirement { rfc: rfc.to_owned(), section: section.to_owned(), quote: fold(quote), why_not });
    }
    found
}

impl Requirement {
    /// Whether a citation is of this requirement, in whichever section it sees it.
    pub fn is_cited_by(&self, citation: &Citation) -> bool {
        let quoted = citation.quote.contains(&self.quote) || self.quote.contains(&citation.quote);
        citation.rfc == self.rfc && quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str =
        "//= https://www.rfc-editor.org/rfc/rfc1#section-2\n//# A server MUST\n//# answer. It does.\nfn a() {}\n";
    const TEST: &str =
        "    //= https://www.rfc-editor.org/rfc/rfc1#section-2\n    //= type=test\n    //# A server MUST answer.\n";

    fn read(text: &str) -> (Vec<Citation>, Vec<String>) {
        citations(Path::new("x.rs"), text)
    }

    #[test]
    fn a_citation_meets_its_test() {
        let all: Vec<_> = [read(CODE).0, read(TEST).0].concat();
        assert_eq!((all[0].quote.as_str(), all[1].at_test), ("A server MUST answer. It does.", true));
        assert_eq!(unpaired(&all), Vec::<&Citation>::new());
        assert_eq!(unpaired(&all[..1]), [&all[0]]);
        assert_eq!(unpaired(&all[1..]), [&all[1]]);
        let other = TEST.replace("section-2", "section-3");
        assert_eq!(unpaired(&[read(CODE).0, read(&other).0].concat()).len(), 2);
    }

    #[test]
    fn what_is_no_citation_is_said() {
        for text in [
            "//= rfc1, section 2\n//# x\n",
            "//# x\n",
            "//= https://www.rfc-editor.org/rfc/rfc1#section-2\nfn a() {}\n",
        ] {
            assert!(!read(text).1.is_empty(), "{text}");
        }
        assert!(read(CODE).1.is_empty() && read(TEST).1.is_empty());
    }

    #[test]
    fn a_list_says_what_applies() {
        let text = "# RFC 1\n\n## Applies\n- 2 \"A server MUST answer.\"\n\n## Does not apply\n- 3 \"A client MUST ask.\" A client's.\n";
        let list = requirements("rfc1", text);
        assert_eq!(list[1].why_not.as_deref(), Some("A client's."));
        assert!(list[0].is_cited_by(&read(CODE).0[0]) && !list[1].is_cited_by(&read(CODE).0[0]));
    }
}

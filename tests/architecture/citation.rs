//! Citations of RFCs: `//= <url>#section-x` and `//# <quoted requirement>` at the code that keeps it, the same with `//= type=test` at its test.
//!
//! `docs/rfc/` lists what applies to a server, and what does not. [`check`] says which listed requirement has no code or no test that cites it, and which
//! citation is of nothing that is listed. A citation is of a requirement when it names the same section and quotes the same words.

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

/// A requirement of a list in `docs/rfc/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// `rfc2131`.
    pub rfc: String,
    /// Its section's number, as `4.3.2`.
    pub section: String,
    /// The sentence.
    pub quote: String,
    /// Why it does not apply, or is not kept; `None` where it applies and is.
    pub why_not: Option<String>,
}

/// The list `rfc….md`: `- 4.1 "quotation"` below `## Applies`, and `- 4.4 "quotation" reason` below `## Not kept` and `## Does not apply`.
///
/// # Panics
/// At a line that is neither.
pub fn requirements(rfc: &str, text: &str) -> Vec<Requirement> {
    let mut applies = true;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "## Applies" => applies = true,
            "## Does not apply" | "## Not kept" => applies = false,
            heading => assert!(!heading.starts_with("## "), "{rfc}: no such heading: {heading}"),
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
    /// Whether a citation is of this requirement.
    pub fn is_cited_by(&self, citation: &Citation) -> bool {
        let section = citation.section.strip_prefix("section-").unwrap_or(&citation.section);
        citation.rfc == self.rfc && section == self.section && citation.quote == self.quote
    }
}

/// What is wrong between the lists and the citations, one line each.
pub fn check(requirements: &[Requirement], citations: &[Citation]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, own) in requirements.iter().enumerate() {
        let Requirement { rfc, section, quote, why_not } = own;
        let mut tell = |what: String| wrong.push(format!("{what}: {rfc} {section}: {quote}"));
        if requirements[..place].iter().any(|other| (&other.rfc, &other.section, &other.quote) == (rfc, section, quote))
        {
            tell("listed twice".into());
        }
        let mut places = [Vec::new(), Vec::new()];
        for citation in citations.iter().filter(|citation| own.is_cited_by(citation)) {
            places[usize::from(citation.at_test)].push(&*citation.place);
        }
        match (why_not, places.each_ref().map(|places| places.first())) {
            (None, [Some(_), Some(_)]) | (Some(_), [None, None]) => {}
            (None, [None, None]) => tell("applies, and is cited nowhere".into()),
            (None, [Some(at), None]) => tell(format!("cited at code ({at}) and at no test")),
            (None, [None, Some(at)]) => tell(format!("cited at a test ({at}) and at no code")),
            (Some(_), [at, at_test]) => {
                tell(format!("said not to apply, and cited ({})", at.or(at_test).copied().unwrap_or_default()));
            }
        }
    }
    let listed = |citation: &&Citation| requirements.iter().any(|own| own.is_cited_by(citation));
    for Citation { place, rfc, section, quote, .. } in citations.iter().filter(|citation| !listed(citation)) {
        wrong.push(format!("{place}: not in docs/rfc/{rfc}.md: {section}: {quote}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# RFC 1\n\n## Applies\n- 2 \"A server MUST answer. It does.\"\n";
    const CODE: &str =
        "//= https://www.rfc-editor.org/rfc/rfc1#section-2\n//# A server MUST\n//# answer. It does.\nfn a() {}\n";
    const TEST: &str = "    //= https://www.rfc-editor.org/rfc/rfc1#section-2\n    //= type=test\n    //# A server MUST answer. It does.\n";

    fn read(text: &str) -> (Vec<Citation>, Vec<String>) {
        citations(Path::new("x.rs"), text)
    }

    #[test]
    fn a_citation_is_read_over_several_lines() {
        let all: Vec<_> = [read(CODE).0, read(TEST).0].concat();
        assert_eq!((all[0].quote.as_str(), all[1].at_test), ("A server MUST answer. It does.", true));
        assert_eq!((all[0].place.as_str(), all[0].at_test), ("x.rs:1", false));
    }

    #[test]
    fn each_requirement_is_cited_at_code_and_at_a_test_and_each_citation_is_listed() {
        let both = [CODE, TEST].concat();
        let not_applying =
            LIST.replace("## Applies", "## Does not apply").replace("does.\"\n", "does.\" A client's.\n");
        let not_kept = not_applying.replace("## Does not apply", "## Not kept");
        let twice = format!("{LIST}- 2 \"A server MUST answer. It does.\"\n");
        for (why, list, source, expected) in [
            ("both", LIST, &*both, &[][..]),
            ("neither", LIST, "fn a() {}\n", &["applies, and is cited nowhere: rfc1 2: A server MUST answer"]),
            ("code only", LIST, CODE, &["cited at code (x.rs:1) and at no test: rfc1 2"]),
            ("a test only", LIST, TEST, &["cited at a test (x.rs:1) and at no code: rfc1 2"]),
            ("it does not apply", &not_applying, "", &[]),
            (
                "it does not apply, and is cited",
                &not_applying,
                &both,
                &["said not to apply, and cited (x.rs:1): rfc1 2"],
            ),
            (
                "it is not kept, and a test cites it",
                &not_kept,
                TEST,
                &["said not to apply, and cited (x.rs:1): rfc1 2"],
            ),
            (
                "another section",
                LIST,
                &both.replace("section-2", "section-3"),
                &["applies, and is cited nowhere", "x.rs:1: not in docs/rfc/rfc1.md: section-3", "x.rs:5: not in"],
            ),
            (
                "another RFC",
                LIST,
                &format!("{both}{}", CODE.replace("rfc1#", "rfc2#")),
                &["x.rs:8: not in docs/rfc/rfc2.md"],
            ),
            (
                "a part of it",
                LIST,
                &format!("{both}{}", CODE.replace(" It does", "")),
                &["x.rs:8: not in docs/rfc/rfc1.md"],
            ),
            ("listed twice", &twice, &both, &["listed twice: rfc1 2"]),
        ] {
            let wrong = check(&requirements("rfc1", list), &read(source).0);
            let as_expected = wrong.iter().zip(expected).all(|(wrong, expected)| wrong.starts_with(expected));
            assert!(wrong.len() == expected.len() && as_expected, "{why}: {wrong:#?}");
        }
    }

    #[test]
    fn what_is_no_citation_is_said() {
        for text in [
            "//= rfc1, section 2\n//# x\n",
            "//# x\n",
            "//= https://www.rfc-editor.org/rfc/rfc1#section-2\nfn a() {}\n",
            "//= https://www.rfc-editor.org/rfc/rfc1#section-2\n//# x\n//= type=test\n",
        ] {
            assert!(!read(text).1.is_empty(), "{text}");
        }
        assert!(read(CODE).1.is_empty() && read(TEST).1.is_empty());
    }

    #[test]
    fn a_list_says_what_applies() {
        let text = "# RFC 1\nIn words.\n\n## Applies\n- 2 \"If the \"N\" bit is 1, it MUST answer.\"\n\n## Does not apply\n- 3 \"A client MUST ask.\" A client's.\n";
        let list = requirements("rfc1", text);
        assert_eq!((list.len(), list[0].quote.as_str()), (2, "If the \"N\" bit is 1, it MUST answer."));
        assert_eq!(list[1].why_not.as_deref(), Some("A client's."));
    }

    #[test]
    #[should_panic(expected = "a reason, and only where it does not apply")]
    fn what_does_not_apply_has_its_reason() {
        requirements("rfc1", "## Does not apply\n- 3 \"A client MUST ask.\"\n");
    }
}

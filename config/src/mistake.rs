//! [`Mistake`]: what is wrong in the configuration file, where, and what would be right.
//!
//! It never carries a secret: lines that hold one are masked before an excerpt is taken.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::limit::EXCERPT_CHARS_MAX;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    #[default]
    Error,
    /// The file can be used, and this is likely to become trouble.
    Advice,
}

/// One mistake of the operator in the configuration file, or a piece of advice about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {what}", self.place())]
pub struct Mistake {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1; 0 where the file as a whole is meant (it cannot be read).
    pub line: usize,
    /// Column, from 1, in characters (not octets); 0 together with line 0.
    pub column: usize,
    /// How many characters of the line are meant; at least 1.
    pub width: usize,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// The line itself, without its end, cut at [`EXCERPT_CHARS_MAX`] characters; secrets are masked.
    pub excerpt: String,
}

impl Mistake {
    /// A mistake about the whole file.
    pub(crate) fn whole_file(file: &Path, what: String, instead: Option<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            width: 1,
            what,
            instead,
            excerpt: String::new(),
        }
    }

    /// `file:line:column`, or the file alone where it is meant as a whole.
    fn place(&self) -> String {
        let file = self.file.display();
        if self.line == 0 { file.to_string() } else { format!("{file}:{}:{}", self.line, self.column) }
    }

    /// The mistake for a terminal: message, place, the line with the place underlined, and what would be right.
    pub fn render(&self, color: bool) -> String {
        let paint = |code: &'static str| if color { code } else { "" };
        let (red, blue, bold, plain) = (paint("\x1b[1;31m"), paint("\x1b[1;34m"), paint("\x1b[1m"), paint("\x1b[0m"));
        let headline = match self.severity {
            Severity::Error => format!("{red}error{plain}"),
            Severity::Advice => format!("{}advice{plain}", paint("\x1b[1;33m")),
        };
        let mut text = format!("{headline}{bold}: {}{plain}\n", self.what);
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        if self.line == 0 {
            let _ = writeln!(text, " {blue}-->{plain} {}", self.file.display());
        } else {
            let _ = writeln!(text, "{gutter}{blue}-->{plain} {}:{}:{}", self.file.display(), self.line, self.column);
            let _ = writeln!(text, "{gutter} {blue}|{plain}");
            let _ = writeln!(text, "{blue}{number} |{plain} {}", self.excerpt);
            let length = self.excerpt.chars().count();
            if self.column <= length + 1 {
                let carets = self.width.clamp(1, (length + 1).saturating_sub(self.column).max(1));
                let (before, marks) = (" ".repeat(self.column - 1), "^".repeat(carets));
                let _ = writeln!(text, "{gutter} {blue}|{plain} {before}{red}{marks}{plain}");
            }
        }
        if let Some(instead) = &self.instead {
            let _ = writeln!(text, "{gutter} {blue}={plain} {bold}help{plain}: {instead}");
        }
        text
    }
}

/// The text of the file with the starts of its lines: octet positions become lines and columns here.
pub(crate) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, line_starts }
    }

    /// The line, from 1, that holds octet `at`.
    pub fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// The mistake at the octets `span`; those of `masked` are not shown.
    pub fn mistake(&self, span: &Range<usize>, what: &str, instead: Option<&str>, masked: &[Range<usize>]) -> Mistake {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end.max(start));
        let line = self.line_of(start);
        let line_start = self.line_starts[line - 1];
        let line_end = self.line_starts.get(line).map_or(self.text.len(), |&next| next - 1);
        let width = self.text[start..end.min(line_end).max(start)].trim_end().chars().count().max(1);
        Mistake {
            severity: Severity::Error,
            file: self.file.into(),
            line,
            column: self.text[line_start..start].chars().count() + 1,
            width,
            what: printable(what),
            instead: instead.map(printable),
            excerpt: self.excerpt(line_start..line_end, masked),
        }
    }

    fn excerpt(&self, line: Range<usize>, masked: &[Range<usize>]) -> String {
        let text = self.text[line.clone()].trim_end_matches('\r');
        let within = masked.iter().filter(|mask| mask.start < line.end && line.start < mask.end);
        let mask = within.map(|mask| mask.start.saturating_sub(line.start)).chain(secret_start(text)).min();
        let shown = match mask {
            Some(at) if at < text.len() => {
                format!("{}\"******\"", &text[..self.boundary(line.start + at) - line.start])
            }
            _ => text.to_owned(),
        };
        shown.chars().take(EXCERPT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The nearest character boundary at or below `at`.
    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Where the value of a key begins that names a secret, if the value is no reference (`{ file = … }`); a line that does not
/// parse is masked this way too.
pub(crate) fn secret_start(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "secret", "token"]
        .iter()
        .filter_map(|word| {
            let word_end = lower.find(word)? + word.len();
            let value = word_end + lower[word_end..].find('=')? + 1;
            let value = value + (line[value..].len() - line[value..].trim_start().len());
            (!line[value..].starts_with('{')).then_some(value)
        })
        .min()
}

/// Control characters become visible, so that a value from the file cannot steer the operator's terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

//! The syntax of the file: a table of what could be read, and a note for each line that could not.
//!
//! The parser of `toml` goes on behind most errors by itself. Two kinds spoil what follows: a value that is never closed swallows the
//! rest of the file, and a broken header lends its keys to the table before. Such lines are blanked and the rest is read again, at
//! the same places.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::reader::Note;
use crate::mistake::secret_start;
use crate::print::quoted;

/// How many times a file is read again; behind that, false mistakes may follow true ones.
const ROUNDS_MAX: usize = 16;

/// The text without what would spoil the rest, octet for octet as long as before, and a note for each part left out.
pub(super) fn readable(text: &str) -> (Cow<'_, str>, Vec<Note>) {
    let mut text = Cow::Borrowed(text);
    let mut notes = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let (root, errors) = DeTable::parse_recoverable(&text);
        if errors.is_empty() {
            break;
        }
        let found =
            unclosed_value(&text, root.get_ref(), &errors).or_else(|| broken_header(&text, root.get_ref(), &errors));
        let Some((note, blank)) = found else { break };
        notes.push(note);
        // Lines and whole characters become spaces, so that it stays UTF-8.
        let blanked = text.char_indices().flat_map(|(at, c)| {
            let hidden = blank.contains(&at) && c != '\n';
            std::iter::repeat_n(if hidden { ' ' } else { c }, if hidden { c.len_utf8() } else { 1 })
        });
        text = Cow::Owned(blanked.collect());
    }
    (text, notes)
}

/// Parses as much as it can; one note per line, the first.
pub(super) fn parse(text: &str) -> (DeTable<'_>, Vec<Note>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut errors: Vec<(Range<usize>, Error)> =
        errors.into_iter().map(|error| (error.span().unwrap_or(0..0), error)).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut line_end = None;
    let mut notes = Vec::new();
    for (span, error) in errors {
        if line_end.is_some_and(|end| span.start <= end) {
            continue;
        }
        line_end = Some(line_at(text, span.start).end);
        let instead = hint(text, &span);
        notes.push(Note { what: format!("syntax: {}", error.message()), span, instead, missing: false });
    }
    (Spanned::into_inner(root), notes)
}

/// The outermost value that runs to the end of the file because it is not closed, and its first line.
fn unclosed_value(text: &str, root: &DeTable<'_>, errors: &[Error]) -> Option<(Note, Range<usize>)> {
    let end = text.trim_end().len();
    errors.iter().find(|error| error.span().is_none_or(|span| span.end >= end))?;
    let (start, what, close) = values(root).filter_map(|value| unclosed(text, value, end)).min()?;
    let note = Note {
        span: start..start + 1,
        what: format!("syntax: this {what} is never closed"),
        instead: Some(format!("close it with {close}")),
        missing: false,
    };
    Some((note, line_at(text, start)))
}

fn unclosed(text: &str, value: &Spanned<DeValue<'_>>, end: usize) -> Option<(usize, &'static str, &'static str)> {
    let span = value.span();
    let written = text.get(span.clone())?;
    // The parser leaves an inline table early, and then its span does not end with its bracket.
    let open = |close| span.end >= end || !written.ends_with(close);
    let runs_out = span.end >= end && !is_header(text, span.start);
    match value.get_ref() {
        DeValue::Array(_) if runs_out => Some((span.start, "list", "`]`")),
        DeValue::Table(_) if open('}') && written.starts_with('{') => Some((span.start, "inline table", "`}`")),
        DeValue::String(_) if runs_out && written.starts_with("\"\"\"") => {
            Some((span.start, "text over several lines", "`\"\"\"`"))
        }
        DeValue::String(_) if runs_out && written.starts_with("'''") => {
            Some((span.start, "text over several lines", "`'''`"))
        }
        DeValue::Table(table) => values(table).filter_map(|value| unclosed(text, value, end)).min(),
        DeValue::Array(items) => items.iter().filter_map(|item| unclosed(text, item, end)).min(),
        _ => None,
    }
}

/// The first line that begins as a header, does not end as one and is in no value; with the keys below it.
fn broken_header(text: &str, root: &DeTable<'_>, errors: &[Error]) -> Option<(Note, Range<usize>)> {
    let mut starts: Vec<usize> =
        errors.iter().filter_map(|error| Some(line_at(text, error.span()?.start).start)).collect();
    starts.sort_unstable();
    let line = starts.into_iter().map(|start| line_at(text, start)).find(|line| {
        let written = text[line.clone()].trim();
        let opening = written.bytes().take_while(|&b| b == b'[').count();
        let header = written.split('#').next().unwrap_or_default().trim_end();
        let closing = header.bytes().rev().take_while(|&b| b == b']').count();
        opening > 0
            && (opening != closing || opening > 2)
            && !values(root).any(|value| in_value(text, value, line.start))
    })?;
    let written = text[line.clone()].trim();
    let start = line.start + text[line.clone()].len() - text[line.clone()].trim_start().len();
    let note = Note {
        span: start..start + written.len(),
        what: "syntax: this header of a table is broken".into(),
        instead: Some("write [table], or [[table]] for one of a list; its keys were not looked at".into()),
        missing: false,
    };
    let next = text[line.end..].match_indices("\n").map(|(at, _)| line.end + at + 1);
    let next = next.into_iter().find(|&at| text[at..].trim_start_matches([' ', '\t']).starts_with('['));
    Some((note, line.start..next.unwrap_or(text.len())))
}

fn in_value(text: &str, value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    let span = value.span();
    let inside = span.start < at && at < span.end && !is_header(text, span.start);
    inside
        || match value.get_ref() {
            DeValue::Table(table) => values(table).any(|value| in_value(text, value, at)),
            DeValue::Array(items) => items.iter().any(|item| in_value(text, item, at)),
            _ => false,
        }
}

fn values<'t, 'i>(table: &'t DeTable<'i>) -> impl Iterator<Item = &'t Spanned<DeValue<'i>>> {
    table.iter().map(|(_, value)| value)
}

/// Whether a table's span, which is that of its header or its first key, begins its line.
fn is_header(text: &str, at: usize) -> bool {
    text[line_at(text, at).start..at].trim().is_empty()
}

/// The line that holds octet `at`, without its end.
fn line_at(text: &str, at: usize) -> Range<usize> {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    start..text[at..].find('\n').map_or(text.len(), |length| at + length)
}

/// What would be right on a line that assigns something that is no value; never for a secret.
fn hint(text: &str, span: &Range<usize>) -> Option<String> {
    let line = &text[line_at(text, span.start)];
    if secret_start(line).is_some() {
        return None;
    }
    let (key, value) = line.split('#').next()?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim().trim_end_matches(','));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    Some(match value {
        "" => format!("write a value after `{key} =`"),
        "yes" | "on" | "True" | "TRUE" => format!("write {key} = true"),
        "no" | "off" | "False" | "FALSE" => format!("write {key} = false"),
        value if value.chars().all(plain) && value.parse::<i64>().is_err() => {
            format!("a text needs quotes: {key} = {}", quoted(value))
        }
        value if value.starts_with('"') && value.matches('"').count() == 1 => {
            format!("close the quotes: {key} = {value}\"")
        }
        value if value.starts_with('"') && value.contains('\\') => {
            "write a backslash twice, or use single quotes: 'C:\\path'".into()
        }
        _ if line.trim_end().ends_with(',') => "no comma at the end of a line".into(),
        _ => return None,
    })
}

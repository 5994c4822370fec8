//! The syntax of the file: a table of what could be read, and a note for each line that could not.

use toml::Spanned;
use toml::de::DeTable;

use super::reader::Note;

/// Parses as much as it can. At most one note per line.
pub(super) fn parse(text: &str) -> (DeTable<'_>, Vec<Note>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let note = |error: toml::de::Error| Note {
        span: error.span().unwrap_or(0..0),
        what: error.message().to_owned(),
        instead: None,
        missing: false,
    };
    (Spanned::into_inner(root), errors.into_iter().map(note).collect())
}

//! How results are printed: a table for people, JSON for scripts.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use reveille_config::Mistake;
use serde::Serialize;

/// Prints `value` as one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// The reader of our output went away, as `head` does: not our error.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct ReaderGone;

/// Prints one line.
///
/// # Errors
/// [`ReaderGone`], or what the system says.
pub fn line(text: &str) -> anyhow::Result<()> {
    octets(format!("{text}\n").as_bytes())
}

/// Prints octets as they are.
///
/// # Errors
/// As [`line()`].
pub fn octets(octets: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(octets).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => anyhow::Error::new(ReaderGone),
        _ => anyhow::Error::new(error).context("cannot write the output"),
    })
}

/// Control characters become visible: host names and the like come from machines, and may not steer the reader's terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect::<String>().into()
}

/// Prints rows below their headings, or `nothing` where there are none.
pub fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    nothing: &str,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| printable(&cell).into_owned())));
    if table.is_empty() {
        return line(nothing);
    }
    let mut rows: Vec<_> =
        table.lines().map(|row| row.strip_prefix(' ').unwrap_or(&row).trim_end().to_owned()).collect();
    if is_coloured() {
        rows[0] = format!("\x1b[1m{}\x1b[0m", rows[0]);
    }
    line(&rows.join("\n"))
}

/// Whether headings stand out: on a terminal only, and not where NO_COLOR says that somebody does not want it (no-color.org).
fn is_coloured() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

/// A Unix time as RFC 3339.
pub fn time(unix: u64) -> String {
    i64::try_from(unix)
        .ok()
        .and_then(|unix| Timestamp::from_second(unix).ok())
        .map_or_else(|| unix.to_string(), |t| t.to_string())
}

/// A Unix time in milliseconds as RFC 3339.
pub fn time_millis(unix_millis: u64) -> String {
    i64::try_from(unix_millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| unix_millis.to_string(), |t| format!("{t:.3}"))
}

/// A mistake of the configuration in one line: place, what is wrong, what would be right.
pub fn in_one_line(mistake: &Mistake) -> String {
    let instead = mistake.instead.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{mistake}{instead}")
}

/// What is there, or `-`.
pub fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(super::printable("plain-1"), "plain-1");
        assert_eq!(super::printable("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}

//! How results are printed: a table for people, JSON for scripts.

use std::io::{ErrorKind, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

/// Prints `value` as one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints one line; a reader that went away is an error that [`is_broken_pipe`] knows.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Prints rows below their headings, or `nothing` where there are none.
pub fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    nothing: &str,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table.add_rows(rows);
    if table.is_empty() {
        return line(nothing);
    }
    line(&table.lines().map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
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

/// What is there, or `-`.
pub fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Whether the reader of our output went away, as `head` does: not our error.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

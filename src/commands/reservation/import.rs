//! `reveille reservation import`: a CSV file as one batch.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use reveille_client::{ClientError, Dhcpd};
use reveille_config::dto::dhcpd::{Batch, ReservationPut};
use serde_json::{Map, Value};

use crate::output;

/// Columns that a reservation has by these names.
pub const COLUMNS: [&str; 13] = [
    "mac",
    "client_id",
    "circuit_id",
    "remote_id",
    "address",
    "scope",
    "pool",
    "hostname",
    "boot",
    "boot_file",
    "lease_secs",
    "node",
    "expires_unix",
];

/// What stands before the dot in columns of which there are many, and the field that they fill.
pub const TABLES: [(&str, &str); 3] = [("label", "labels"), ("option", "options"), ("boot_files", "boot_files")];

/// Puts what the file says.
pub async fn run(dhcpd: &Dhcpd, file: &Path, dry_run: bool, json: bool) -> anyhow::Result<ExitCode> {
    let name = file.display();
    let batch = match file.to_str() {
        Some("-") => read(std::io::stdin().lock()),
        _ => read(File::open(file).with_context(|| format!("cannot open {name}"))?),
    };
    let (batch, lines) = batch.with_context(|| name.to_string())?;
    let done = match dhcpd.put_batch(&batch, dry_run).await {
        Err(ClientError::Refused { problem }) if !problem.errors.is_empty() => {
            for error in &problem.errors {
                let line = usize::try_from(error.row).ok().and_then(|row| lines.get(row)).copied().unwrap_or(0);
                let field = error.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
                eprintln!("{name}:{line}: {field}{}", output::printable(&error.detail));
            }
            bail!("{}", problem.detail);
        }
        done => done?,
    };
    if json {
        output::json(&done)?;
    } else {
        let would = if dry_run { "would be " } else { "" };
        let what =
            format!("{} {would}made, {} {would}changed, {} as they were", done.created, done.changed, done.unchanged);
        output::line(&what)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows, and the line that each stands on.
pub fn read(mut from: impl Read) -> anyhow::Result<(Batch, Vec<u64>)> {
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers()?.clone();
    if let Some(unknown) = columns.iter().find(|name| !is_column(name)) {
        bail!(
            "line 1: no column is called `{unknown}`; there are: {}, label.NAME, option.NAME, boot_files.STAGE",
            COLUMNS.join(", ")
        );
    }
    if !columns.iter().any(|name| COLUMNS[..4].contains(&name)) {
        bail!("line 1: there is none of the columns {}", COLUMNS[..4].join(", "));
    }
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, |at| line_of(&text, at));
        let mut row = Map::new();
        for (column, field) in columns.iter().zip(&record).filter(|(_, field)| !field.is_empty()) {
            match column.split_once('.') {
                Some(("label", name)) => put_into(&mut row, "labels", name, Value::from(field)),
                Some(("boot_files", name)) => put_into(&mut row, "boot_files", name, Value::from(field)),
                Some((_, name)) => {
                    let value = serde_json::from_str(field).unwrap_or_else(|_| Value::from(field));
                    put_into(&mut row, "options", name, value);
                }
                None if matches!(column, "lease_secs" | "expires_unix") => {
                    let number: u64 = field.parse().with_context(|| format!("line {line}: {column}: {field}"))?;
                    row.insert(column.into(), number.into());
                }
                None => _ = row.insert(column.into(), field.into()),
            }
        }
        let put: ReservationPut = serde_json::from_value(row.into()).with_context(|| format!("line {line}"))?;
        batch.put.push(put);
        lines.push(line);
    }
    Ok((batch, lines))
}

/// The line of a record that was read from `at` on: empty lines before it are skipped without a record.
fn line_of(text: &str, at: &csv::Position) -> u64 {
    let rest = usize::try_from(at.byte()).ok().and_then(|byte| text.as_bytes().get(byte..)).unwrap_or_default();
    let skipped = rest.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).filter(|octet| **octet == b'\n');
    at.line() + skipped.count() as u64
}

fn is_column(name: &str) -> bool {
    COLUMNS.contains(&name)
        || name
            .split_once('.')
            .is_some_and(|(kind, name)| TABLES.iter().any(|(own, _)| *own == kind) && !name.is_empty())
}

fn put_into(row: &mut Map<String, Value>, table: &str, name: &str, value: Value) {
    let table = row.entry(table).or_insert_with(|| Map::new().into());
    if let Some(table) = table.as_object_mut() {
        table.insert(name.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_any_order_and_empty_fields_say_nothing() {
        let text = "address, mac,label.rack,option.routers,lease_secs\n10.0.0.1,52:54:00:00:00:01,r 1,\"[\"\"10.0.0.9\"\"]\",600\n\n,52:54:00:00:00:02,,,\n";
        let (batch, lines) = read(text.as_bytes()).unwrap();
        assert_eq!(lines, [2, 4]);
        let [first, second] = &batch.put[..] else { panic!("{batch:?}") };
        assert_eq!((first.labels["rack"].as_str(), first.lease_secs), ("r 1", Some(600)));
        assert_eq!(first.options["routers"], serde_json::json!(["10.0.0.9"]));
        let mac = "52:54:00:00:00:02".parse().ok();
        assert_eq!(*second, ReservationPut { mac, ..ReservationPut::default() });
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, words) in [
            ("mac,colour\n", "no column is called `colour`"),
            ("address\n", "none of the columns mac, client_id"),
            ("mac,address\n52:54:00:00:00:01,nonsense\n", "line 2"),
            ("mac,lease_secs\n52:54:00:00:00:01,1\n52:54:00:00:00:02,x\n", "line 3: lease_secs"),
            ("mac,address\n52:54:00:00:00:01\n", "line: 2"),
        ] {
            let error = format!("{:#}", read(text.as_bytes()).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

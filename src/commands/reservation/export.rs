//! `reveille reservation export`: reservations as a file that `reservation import` reads, or as the batch that the API takes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use reveille_client::Dhcpd;
use reveille_config::dto::dhcpd::{Batch, Origin, Reservation, ReservationPut};
use serde_json::Value;

use super::import::{COLUMNS, TABLES};
use super::listed;
use crate::output;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of this scope only
    #[arg(long)]
    scope: Option<String>,
    /// As the JSON body of `POST /v1/reservations:batch`
    #[arg(long)]
    json: bool,
}

/// Writes the reservations that the API has made; those of the configuration file are there already.
pub async fn run(dhcpd: &Dhcpd, args: Args) -> anyhow::Result<ExitCode> {
    let all = listed(dhcpd, args.scope.as_deref()).await?;
    let rows: Vec<ReservationPut> = all.into_iter().filter(|own| own.origin == Origin::Api).map(as_put).collect();
    let octets = if args.json {
        let batch = Batch { put: rows, ..Batch::default() };
        [serde_json::to_vec_pretty(&batch)?, b"\n".to_vec()].concat()
    } else {
        csv(&rows)?
    };
    match &args.output {
        None => output::octets(&octets)?,
        Some(file) => {
            let cannot = || format!("cannot write {}", file.display());
            let mut to = File::create(file).with_context(cannot)?;
            to.write_all(&octets).and_then(|()| to.sync_all()).with_context(cannot)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What would make it again.
fn as_put(own: Reservation) -> ReservationPut {
    ReservationPut {
        mac: own.mac,
        client_id: own.client_id,
        circuit_id: own.circuit_id,
        remote_id: own.remote_id,
        scope: Some(own.scope),
        address: Some(own.address),
        pool: None,
        hostname: own.hostname,
        boot_file: own.boot_file,
        boot: own.boot,
        boot_files: own.boot_files,
        options: own.options,
        lease_secs: own.lease_secs,
        node: own.node,
        labels: own.labels,
        expires_unix: own.expires_unix,
    }
}

/// The columns that some row fills, in the order of the import's help.
fn csv(rows: &[ReservationPut]) -> anyhow::Result<Vec<u8>> {
    let rows = rows.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
    let is_there = |column: &&&str| rows.iter().any(|row| row.get(**column).is_some());
    let mut columns: Vec<String> = COLUMNS.iter().filter(is_there).map(|column| (*column).to_owned()).collect();
    for (prefix, field) in TABLES {
        let names = rows.iter().filter_map(|row| row.get(field)?.as_object()).flat_map(|table| table.keys());
        let names: BTreeSet<&String> = names.collect();
        columns.extend(names.into_iter().map(|name| format!("{prefix}.{name}")));
    }
    if columns.is_empty() {
        columns.push(COLUMNS[0].into());
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for row in &rows {
        let value = |column: &String| {
            let value = match column.split_once('.') {
                Some((prefix, name)) => {
                    let field = TABLES.iter().find(|(own, _)| *own == prefix).map(|(_, field)| *field)?;
                    row.get(field)?.get(name)?
                }
                None => row.get(column.as_str())?,
            };
            Some(match value {
                // One that would be read as something else stays JSON.
                Value::String(text) if !column.starts_with("option.") || !is_json(text) => text.clone(),
                value => value.to_string(),
            })
        };
        writer.write_record(columns.iter().map(|column| value(column).unwrap_or_default()))?;
    }
    Ok(writer.into_inner()?)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::import::read;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let rows = [
            json!({ "mac": "52:54:00:00:00:01", "scope": "prov", "address": "10.0.0.1", "hostname": "n1", "node": "a,\"b\"",
                "labels": { "rack": "r 1", "x.y": "1" }, "lease_secs": 600,
                "options": { "routers": ["10.0.0.9"], "interface-mtu": 1400, "domain-name": "true", "225": "hex:0a" } }),
            json!({ "client_id": "01aa", "scope": "prov", "address": "10.0.0.2", "boot_files": { "efi_x64": "x.efi", "ipxe": "http://x/y" } }),
            json!({ "circuit_id": "07", "remote_id": "08", "scope": "prov", "address": "10.0.0.3", "boot": "arm", "expires_unix": 4_000_000_000u64 }),
            json!({ "mac": "52:54:00:00:00:05", "client_id": "05", "remote_id": "05", "scope": "prov", "address": "10.0.0.5" }),
            json!({ "remote_id": "09", "scope": "prov", "address": "10.0.0.4", "boot_file": "f" }),
        ];
        let rows: Vec<ReservationPut> = rows.into_iter().map(|row| serde_json::from_value(row).unwrap()).collect();
        for some in [&rows[..], &rows[..1], &rows[4..]] {
            let text = csv(some).unwrap();
            let (batch, _) = read(&*text).unwrap();
            assert_eq!(batch.put, some, "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(csv(&[]).unwrap(), b"mac\n");
    }
}

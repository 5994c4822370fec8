//! `reveille lease export`: all leases as they stream, into a file or to standard output; no more than a piece of them is in memory.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use reveille_client::{Dhcpd, ExportFormat, LeaseExport};

use super::filter::Filter;
use crate::output;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// How they are written
    #[arg(long, default_value = "jsonl")]
    format: Format,
    /// The file, which is there when all of it is [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The same as --format jsonl
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

/// How leases are written.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A JSON document a line
    Jsonl,
    /// The columns of Kea's kea-leases4.csv
    Csv,
}

/// Writes the leases.
pub async fn run(args: Args, dhcpd: &Dhcpd) -> anyhow::Result<()> {
    let format = match args.format {
        Format::Jsonl => ExportFormat::JsonLines,
        Format::Csv => ExportFormat::Csv,
    };
    let export = dhcpd.export_leases(&args.filter.query(), format).await?;
    match &args.output {
        None => copy(export, &args.format, output::octets).await.map(drop),
        Some(file) => into(export, &args.format, file).await,
    }
}

/// Into a file beside the one that is meant, which takes its name at the end: nobody finds half of it.
async fn into(export: LeaseExport, format: &Format, file: &Path) -> anyhow::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let cannot = || format!("cannot write {}", partial.display());
    let mut to = File::create(&partial).with_context(cannot)?;
    let copied = copy(export, format, |piece| to.write_all(piece).with_context(cannot)).await;
    let done = copied.and_then(|count| {
        to.sync_all().with_context(cannot)?;
        std::fs::rename(&partial, file).with_context(|| format!("cannot name {}", file.display()))?;
        eprintln!("{count} leases in {}", file.display());
        Ok(())
    });
    if done.is_err() {
        // What is left of it is of no use; that it cannot be removed is the smaller trouble.
        let _ = std::fs::remove_file(&partial);
    }
    done
}

/// Passes on piece by piece, and says how many leases they were.
async fn copy(
    mut export: LeaseExport,
    format: &Format,
    mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} leases, {per_sec}") {
        bar.set_style(style);
    }
    let mut lines = 0;
    while let Some(piece) = export.piece().await? {
        write(&piece)?;
        lines += piece.iter().filter(|octet| **octet == b'\n').count() as u64;
        bar.set_position(lines);
    }
    bar.finish_and_clear();
    // The first line of CSV names the columns.
    Ok(lines.saturating_sub(u64::from(matches!(format, Format::Csv))))
}

//! `reveille lease repair`: makes a damaged lease journal usable again while dhcpd does not run.
//!
//! Everything is in `reveille_dhcpd::store::journal::repair`; this finds the directory and says what it did.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use reveille_dhcpd::store::journal::{RepairReport, repair};
use serde_json::json;

use crate::output;
use crate::target::Target;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Nothing is deleted: the files as they were stay in the same directory, as cut-N-….\n\
    Exit code: 0 the journal can be opened (again), 1 it was not repaired.")]
pub struct Args {
    /// dhcpd's state directory, with `journal` in it [default: that of --config]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Repairs and reports.
pub fn run(args: Args, target: &Target) -> anyhow::Result<ExitCode> {
    let state_dir = match args.state_dir {
        Some(dir) => dir,
        None => target.dhcpd_state_dir()?.context("say --state-dir DIR, or --config FILE")?,
    };
    let journal = state_dir.join("journal");
    check_owner(&journal)?;
    let report = repair(&journal).with_context(|| format!("{} was not repaired", journal.display()))?;
    if args.json {
        output::json(&document(report.as_ref()))?;
    } else {
        output::line(&words(&journal, report.as_ref()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A repair makes files, which dhcpd's user must be able to open; and it must not make a journal where there is none.
fn check_owner(journal: &Path) -> anyhow::Result<()> {
    let owner = match std::fs::metadata(journal) {
        Ok(found) if found.is_dir() => found.uid(),
        _ => bail!("there is no lease journal at {}", journal.display()),
    };
    let own = std::fs::metadata("/proc/self").context("cannot tell which user this is")?.uid();
    if own != owner {
        bail!(
            "{} belongs to user {owner}, and what a repair makes must too: sudo -u '#{owner}' reveille lease repair …",
            journal.display()
        );
    }
    Ok(())
}

fn words(journal: &Path, report: Option<&RepairReport>) -> String {
    let Some(report) = report else { return format!("{}: nothing to repair", journal.display()) };
    let mut lines = vec![format!("{}: repaired", journal.display())];
    for damage in &report.damage {
        lines.push(format!(
            "  {} from octet {} on, {} octets: {}",
            damage.file, damage.offset, damage.octets, damage.what
        ));
    }
    let (kept, seen) = (report.kept_through, report.seen_through);
    lines.push(match seen.checked_sub(kept) {
        None | Some(0) => format!("  the log is kept through sequence {kept}, the highest that was found"),
        Some(lost) => {
            format!("  the log is kept through sequence {kept}; at least {lost} records are lost, through {seen}")
        }
    });
    if report.snapshot_records_lost > 0 {
        lines.push(format!("  of the snapshot {} records are lost", report.snapshot_records_lost));
    }
    lines.push(format!("  the next record gets sequence {}", report.next_sequence));
    lines.push(format!("  the files as they were: {}", report.copies.join(" ")));
    if kept < seen || report.snapshot_records_lost > 0 {
        lines.push("Addresses whose records are lost count as free. Reservations made over the API among them must be put again.".into());
    }
    lines.join("\n")
}

fn document(report: Option<&RepairReport>) -> serde_json::Value {
    let Some(report) = report else { return json!({ "repaired": false }) };
    let damage = report.damage.iter().map(
        |damage| json!({ "file": damage.file, "offset": damage.offset, "octets": damage.octets, "what": damage.what }),
    );
    json!({
        "repaired": true,
        "damage": damage.collect::<Vec<_>>(),
        "snapshot_records_lost": report.snapshot_records_lost,
        "kept_through": report.kept_through,
        "seen_through": report.seen_through,
        "next_sequence": report.next_sequence,
        "copies": report.copies,
    })
}

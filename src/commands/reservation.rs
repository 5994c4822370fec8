//! `reveille reservation`: which machine always gets which address.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use reveille_client::Dhcpd;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::Reservation;
use serde_json::json;

mod export;
mod filter;
mod import;
mod put;

use self::filter::Filter;
use crate::commands::events::{self, Source};
use crate::commands::hostsdir;
use crate::output;
use crate::target::DhcpdTarget;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: DhcpdTarget,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the reservations
    List {
        /// Of this scope only
        #[arg(long)]
        scope: Option<String>,
        #[command(flatten)]
        filter: Filter,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the reservation of a machine
    Get {
        /// Show its tag instead, for --if-match of `put` and `delete`
        #[arg(long, conflicts_with = "json")]
        tag: bool,
        /// The machine, or another identity of the client
        client: ReservedFor,
        /// The scope, where it has several
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make or replace a reservation; it is durable and in force when the command returns
    #[command(after_help = put::HELP)]
    Put(Box<put::Args>),
    /// Put the reservations of a CSV file, all or none: see below
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
        /// Only say what it would change, and what is wrong
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what becomes of reservations, as it happens
    Watch(events::Watch),
    /// Keep reservations as the files say that Ironic's own `dnsmasq` provider writes
    FollowDnsmasq(hostsdir::Args),
    /// Write the reservations as a file that `import` reads
    #[command(after_help = EXPORT_HELP)]
    Export(export::Args),
    /// Delete reservations; no error where there is none
    #[command(after_help = "Example:\n  reveille reservation delete 52:54:00:bb:00:01 client-id:0152540012ab")]
    Delete {
        /// The machines, or other identities of clients
        #[arg(required = true, value_name = "CLIENT")]
        clients: Vec<ReservedFor>,
        /// The scope, where one has several
        #[arg(long)]
        scope: Option<String>,
        /// Only what still has this tag (`get --tag`); `*`: only what is there
        #[arg(long, value_name = "TAG", value_parser = tag)]
        if_match: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

const EXPORT_HELP: &str = "Those of the configuration file are left out: they are there already.\n\n\
    Examples:\n  \
    reveille reservation export --output reservations.csv\n  \
    reveille reservation export --json | curl --unix-socket /run/reveille/dhcpd.sock --data-binary @- http://localhost/v1/reservations:batch";

const IMPORT_HELP: &str = "The first line names the columns, in any order; one that says for whom must be among them:\n  \
    mac,client_id,circuit_id,remote_id,address,scope,pool,hostname,boot,boot_file,lease_secs,node,expires_unix,\n  \
    label.NAME,option.NAME,boot_files.STAGE\n\n\
    A row with several of the first four is for one client that comes with any of them. An empty field says nothing. For example:\n  \
    mac,address,hostname,label.rack,option.routers\n  \
    52:54:00:bb:00:01,10.77.2.21,rack1-1,r1,\"[\"\"10.77.2.1\"\"]\"\n  \
    52:54:00:bb:00:02,10.77.2.22,rack1-2,r1,\n\n\
    The same file again changes nothing. Reservations that it does not name stay.";

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dhcpd = args.target.dhcpd()?;
    match args.verb {
        Verb::List { scope, filter, json } => {
            let mut all = listed(&dhcpd, scope.as_deref()).await?;
            all.retain(|own| filter.shows(own));
            if json { output::json(&all)? } else { print(&all)? }
        }
        Verb::Get { client, scope, tag: true, .. } => {
            let (_, tag) = dhcpd.tagged_reservation(client, scope.as_deref()).await?;
            output::line(&tag.context("dhcpd has sent no tag")?)?;
        }
        Verb::Get { client, scope, json, .. } => show(dhcpd.reservation(client, scope.as_deref()).await?, json)?,
        Verb::Put(args) => return put::run(&dhcpd, *args).await,
        Verb::Watch(args) => events::watch(args, &["reserved", "unreserved"], &Source::Dhcpd(dhcpd)).await?,
        Verb::Import { file, dry_run, json } => return import::run(&dhcpd, &file, dry_run, json).await,
        Verb::FollowDnsmasq(args) => return hostsdir::run(args, &dhcpd).await,
        Verb::Export(args) => return export::run(&dhcpd, args).await,
        Verb::Delete { clients, scope, if_match, json } => {
            let dhcpd = if_match.map_or(dhcpd.clone(), |tag| dhcpd.if_match(&tag));
            return delete(&dhcpd, &clients, scope.as_deref(), json).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A tag as the API takes it, in its quotes; the shell has often eaten them.
fn tag(text: &str) -> Result<String, String> {
    let bare = text.trim_matches('"');
    if bare.is_empty() || bare.contains(|c: char| c == '"' || c.is_control() || !c.is_ascii()) {
        return Err("a tag as `reveille reservation get --tag` shows it is expected, or `*`".into());
    }
    Ok(if bare == "*" { bare.into() } else { format!("\"{bare}\"") })
}

/// All reservations, page by page.
async fn listed(dhcpd: &Dhcpd, scope: Option<&str>) -> anyhow::Result<Vec<Reservation>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = dhcpd.reservations(scope, cursor.as_deref()).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// One after the other; the first that cannot be deleted ends it.
async fn delete(dhcpd: &Dhcpd, clients: &[ReservedFor], scope: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    for client in clients {
        dhcpd.delete_reservation(client.clone(), scope).await.with_context(|| client.to_string())?;
    }
    if json {
        output::json(
            &clients.iter().map(|client| json!({ "client": client.to_string(), "deleted": true })).collect::<Vec<_>>(),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(reservation: Reservation, json: bool) -> anyhow::Result<()> {
    if json { output::json(&reservation) } else { print(&[reservation]) }
}

/// With commas between them; `None` where there are none.
fn all(words: &[impl ToString]) -> Option<String> {
    (!words.is_empty()).then(|| words.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn print(reservations: &[Reservation]) -> anyhow::Result<()> {
    let rows = reservations.iter().map(|own| {
        let pairs = |pairs: &BTreeMap<String, String>| {
            all(&pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
        };
        let boot = own.boot.clone().or_else(|| own.boot_file.clone()).or_else(|| pairs(&own.boot_files));
        [
            output::or_dash(all(&own.identities()).as_deref()),
            own.address.to_string(),
            own.scope.clone(),
            output::or_dash(own.hostname.as_deref()),
            output::or_dash(boot.as_deref()),
            output::or_dash(own.node.as_deref()),
            output::or_dash(pairs(&own.labels).as_deref()),
            own.expires_unix.map_or_else(|| "-".into(), output::time),
            format!("{:?}", own.origin).to_lowercase(),
        ]
    });
    let headings = ["CLIENT", "ADDRESS", "SCOPE", "HOST NAME", "BOOT", "NODE", "LABELS", "EXPIRES", "FROM"];
    output::table(headings, rows, "no reservations")
}

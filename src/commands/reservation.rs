//! `reveille reservation`: which machine always gets which address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use reveille_client::Dhcpd;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{Reservation, ReservationPut};
use serde_json::{Value, json};

mod export;
mod import;

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
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the reservation of a machine
    Get {
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
    #[command(after_help = PUT_HELP)]
    Put {
        /// The machine, or another identity of the client
        client: ReservedFor,
        /// Its address [default: chosen from the scope's pools and kept]
        #[arg(long)]
        address: Option<Ipv4Addr>,
        /// Its scope, where the address does not tell
        #[arg(long)]
        scope: Option<String>,
        /// Its host name
        #[arg(long)]
        hostname: Option<String>,
        /// Its boot file, instead of the scope's
        #[arg(long)]
        boot_file: Option<String>,
        /// An option by name or number, as in routers='["10.77.2.1"]' or domain-name=example.net
        #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
        options: Vec<(String, Value)>,
        /// Instead of an address: the pool to choose from, as in 10.77.2.100-10.77.2.199
        #[arg(long, conflicts_with = "address")]
        pool: Option<String>,
        /// Its boot profile, one of the configuration
        #[arg(long, conflicts_with_all = ["boot_file", "boot_files"])]
        boot: Option<String>,
        /// Its boot file for an architecture or stage, as in efi_x64=snponly.efi or ipxe=http://10.77.2.1:8080/boot.ipxe
        #[arg(long = "boot-for", value_name = "STAGE=FILE", value_parser = pair)]
        boot_files: Vec<(String, String)>,
        /// Its lease time, seconds, whatever it asks for
        #[arg(long)]
        lease_secs: Option<u32>,
        /// A label
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
        /// The node's id
        #[arg(long)]
        node: Option<String>,
        /// After how many seconds the reservation ends by itself ("for this deploy only")
        #[arg(long, value_name = "SECS")]
        expires_in: Option<u64>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
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
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

const PUT_HELP: &str = "A client is a machine by its MAC address, or one of: client-id:HEX (option 61), circuit:HEX and remote:HEX (the port that its relay names, option 82), or both as \
    circuit:HEX+remote:HEX.\n\n\
    Examples:\n  \
    reveille reservation put 52:54:00:bb:00:01 --address 10.77.2.21 --hostname rack1-1 --label rack=r1\n  \
    reveille reservation put circuit:65746831+remote:746f722d37 --scope prov --boot-for efi_x64=snponly.efi\n  \
    reveille reservation put client-id:0152540012ab --pool 10.77.2.100-10.77.2.199 --expires-in 3600";

const EXPORT_HELP: &str = "Those of the configuration file are left out: they are there already.\n\n\
    Examples:\n  \
    reveille reservation export --output reservations.csv\n  \
    reveille reservation export --json | curl --unix-socket /run/reveille/dhcpd.sock --data-binary @- http://localhost/v1/reservations:batch";

const IMPORT_HELP: &str = "The first line names the columns, in any order; one that says for whom must be among them:\n  \
    mac,client_id,circuit_id,remote_id,address,scope,pool,hostname,boot,boot_file,lease_secs,node,expires_unix,\n  \
    label.NAME,option.NAME,boot_files.STAGE\n\n\
    An empty field says nothing. For example:\n  \
    mac,address,hostname,label.rack,option.routers\n  \
    52:54:00:bb:00:01,10.77.2.21,rack1-1,r1,\"[\"\"10.77.2.1\"\"]\"\n  \
    52:54:00:bb:00:02,10.77.2.22,rack1-2,r1,\n\n\
    The same file again changes nothing. Reservations that it does not name stay.";

/// `NAME=VALUE`, both texts.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME=VALUE`, the value as JSON where it is JSON, else as text.
fn option(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dhcpd = args.target.dhcpd()?;
    match args.verb {
        Verb::List { scope, json } => {
            let all = listed(&dhcpd, scope.as_deref()).await?;
            if json { output::json(&all)? } else { print(&all)? }
        }
        Verb::Get { client, scope, json } => show(dhcpd.reservation(client, scope.as_deref()).await?, json)?,
        Verb::Put {
            client,
            address,
            scope,
            hostname,
            boot_file,
            options,
            pool,
            boot,
            boot_files,
            lease_secs,
            labels,
            node,
            expires_in,
            json,
        } => {
            let now =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("the clock is wrong")?;
            let put = ReservationPut {
                scope,
                address,
                hostname,
                boot_file,
                options: options.into_iter().collect(),
                node,
                pool,
                boot,
                boot_files: boot_files.into_iter().collect(),
                lease_secs,
                labels: labels.into_iter().collect(),
                expires_unix: expires_in.map(|secs| now.as_secs().saturating_add(secs)),
                ..ReservationPut::default()
            };
            show(dhcpd.put_reservation(client, &put).await?, json)?;
        }
        Verb::Watch(args) => events::watch(args, &["reserved", "unreserved"], &Source::Dhcpd(dhcpd)).await?,
        Verb::Import { file, dry_run, json } => return import::run(&dhcpd, &file, dry_run, json).await,
        Verb::FollowDnsmasq(args) => return hostsdir::run(args, &dhcpd).await,
        Verb::Export(args) => return export::run(&dhcpd, args).await,
        Verb::Delete { clients, scope, json } => return delete(&dhcpd, &clients, scope.as_deref(), json).await,
    }
    Ok(ExitCode::SUCCESS)
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

fn print(reservations: &[Reservation]) -> anyhow::Result<()> {
    let rows = reservations.iter().map(|own| {
        let pairs = |pairs: &BTreeMap<String, String>| {
            let all: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (!all.is_empty()).then(|| all.join(","))
        };
        let boot = own.boot.clone().or_else(|| own.boot_file.clone()).or_else(|| pairs(&own.boot_files));
        [
            own.client().map_or_else(|| "-".into(), |client| client.to_string()),
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

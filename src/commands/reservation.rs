//! `reveille reservation`: which machine always gets which address.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{Reservation, ReservationPut};
use serde_json::Value;

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
    /// Delete a reservation; no error where there is none
    Delete {
        /// The machine, or another identity of the client
        client: ReservedFor,
        /// The scope, where it has several
        #[arg(long)]
        scope: Option<String>,
    },
}

const IMPORT_HELP: &str = "The first line names the columns, in any order; `mac` must be among them:\n  \
    mac,address,scope,pool,hostname,boot,boot_file,lease_secs,node,expires_unix,label.NAME,option.NAME\n\n\
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
            let mut all = Vec::new();
            let mut cursor = None;
            loop {
                let page = dhcpd.reservations(scope.as_deref(), cursor.as_deref()).await?;
                all.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
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
        Verb::Delete { client, scope } => dhcpd.delete_reservation(client, scope.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(reservation: Reservation, json: bool) -> anyhow::Result<()> {
    if json { output::json(&reservation) } else { print(&[reservation]) }
}

fn print(reservations: &[Reservation]) -> anyhow::Result<()> {
    let rows = reservations.iter().map(|reservation| {
        [
            reservation.client().map_or_else(|| "-".into(), |client| client.to_string()),
            reservation.address.to_string(),
            reservation.scope.clone(),
            output::or_dash(reservation.hostname.as_deref()),
            output::or_dash(reservation.boot_file.as_deref()),
            format!("{:?}", reservation.origin).to_lowercase(),
        ]
    });
    output::table(["CLIENT", "ADDRESS", "SCOPE", "HOST NAME", "BOOT FILE", "FROM"], rows, "no reservations")
}

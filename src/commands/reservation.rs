//! `reveille reservation`: which machine always gets which address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Subcommand;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Reservation, ReservationPut};
use serde_json::Value;

use crate::commands::events::{self, Source};
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
        /// The machine
        mac: MacAddr,
        /// The scope, where it has several
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make or replace a reservation; it is durable and in force when the command returns
    Put {
        /// The machine
        mac: MacAddr,
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
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what becomes of reservations, as it happens
    Watch(events::Watch),
    /// Delete a reservation; no error where there is none
    Delete {
        /// The machine
        mac: MacAddr,
        /// The scope, where it has several
        #[arg(long)]
        scope: Option<String>,
    },
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
        Verb::Get { mac, scope, json } => show(dhcpd.reservation(mac, scope.as_deref()).await?, json)?,
        Verb::Put { mac, address, scope, hostname, boot_file, options, json } => {
            let options: BTreeMap<_, _> = options.into_iter().collect();
            let put = ReservationPut { scope, address, hostname, boot_file, options, node: None };
            show(dhcpd.put_reservation(mac, &put).await?, json)?;
        }
        Verb::Watch(args) => events::watch(args, &["reserved", "unreserved"], &Source::Dhcpd(dhcpd)).await?,
        Verb::Delete { mac, scope } => dhcpd.delete_reservation(mac, scope.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(reservation: Reservation, json: bool) -> anyhow::Result<()> {
    if json { output::json(&reservation) } else { print(&[reservation]) }
}

fn print(reservations: &[Reservation]) -> anyhow::Result<()> {
    let rows = reservations.iter().map(|reservation| {
        [
            reservation.mac.to_string(),
            reservation.address.to_string(),
            reservation.scope.clone(),
            output::or_dash(reservation.hostname.as_deref()),
            output::or_dash(reservation.boot_file.as_deref()),
            format!("{:?}", reservation.origin).to_lowercase(),
        ]
    });
    output::table(["MAC", "ADDRESS", "SCOPE", "HOST NAME", "BOOT FILE", "FROM"], rows, "no reservations")
}

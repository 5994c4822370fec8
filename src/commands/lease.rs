//! `reveille lease`: leases, and the unknown machines that ask for one.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Subcommand;
use reveille_client::Dhcpd;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Approve, Lease};

use crate::commands::events::Source;
use crate::commands::{events, repair};
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
    /// List the leases
    List {
        /// Of this scope only
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the lease of a machine or an address
    Get {
        /// MAC or IPv4 address
        mac_or_address: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List unknown machines that asked for an address on a static scope
    Sightings {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an unknown machine known: it gets its address at its next try
    Approve {
        /// The machine
        mac: MacAddr,
        /// Its address [default: the next free one of the scope's pools]
        #[arg(long)]
        address: Option<Ipv4Addr>,
        /// Its host name
        #[arg(long)]
        hostname: Option<String>,
        /// The scope, where it was seen on several
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how full the scopes are
    Scopes {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what has happened to leases, reservations and pools
    Events(events::Args),
    /// Print what happens to leases, as it happens
    Watch(events::Watch),
    /// Make a damaged lease journal usable again, and say what is lost; dhcpd must not run
    Repair(repair::Args),
}

/// What happens to leases.
const KINDS: [&str; 6] = ["bound", "renewed", "released", "expired", "declined", "conflict"];

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // A repair talks to no daemon, so not every verb needs an endpoint.
    let dhcpd = || args.target.dhcpd();
    match args.verb {
        Verb::List { scope, json } => list(&dhcpd()?, scope.as_deref(), json).await?,
        Verb::Get { mac_or_address, json } => {
            let lease = dhcpd()?.lease(&mac_or_address).await?;
            if json { output::json(&lease)? } else { print(&[lease], "")? }
        }
        Verb::Sightings { json } => sightings(&dhcpd()?, json).await?,
        Verb::Approve { mac, address, hostname, scope, json } => {
            let reservation = dhcpd()?.approve(mac, &Approve { scope, address, hostname, node: None }).await?;
            if json {
                output::json(&reservation)?;
            } else {
                output::line(&format!("{mac} gets {} on {} at its next try", reservation.address, reservation.scope))?;
            }
        }
        Verb::Scopes { json } => scopes(&dhcpd()?, json).await?,
        Verb::Events(args) => events::print(args, &Source::Dhcpd(dhcpd()?)).await?,
        Verb::Watch(args) => events::watch(args, &KINDS, &Source::Dhcpd(dhcpd()?)).await?,
        Verb::Repair(own) => return repair::run(own, args.target.target()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(dhcpd: &Dhcpd, scope: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut leases = Vec::new();
    let mut cursor = None;
    loop {
        let page = dhcpd.leases(scope, cursor.as_deref()).await?;
        leases.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json { output::json(&leases) } else { print(&leases, "no leases") }
}

fn print(leases: &[Lease], nothing: &str) -> anyhow::Result<()> {
    let rows = leases.iter().map(|lease| {
        [
            lease.address.to_string(),
            lease.mac.to_string(),
            lease.scope.clone(),
            format!("{:?}", lease.state).to_lowercase(),
            output::time(lease.ends_unix),
            output::or_dash(lease.hostname.as_deref()),
        ]
    });
    output::table(["ADDRESS", "MAC", "SCOPE", "STATE", "ENDS", "HOST NAME"], rows, nothing)
}

async fn sightings(dhcpd: &Dhcpd, json: bool) -> anyhow::Result<()> {
    let sightings = dhcpd.sightings().await?.items;
    if json {
        return output::json(&sightings);
    }
    let rows = sightings.iter().map(|sighting| {
        [
            sighting.mac.to_string(),
            sighting.scope.clone(),
            output::or_dash(sighting.vendor_class.as_deref()),
            output::or_dash(sighting.hostname.as_deref()),
            output::time(sighting.first_unix),
            output::time(sighting.last_unix),
            sighting.count.to_string(),
        ]
    });
    output::table(
        ["MAC", "SCOPE", "VENDOR CLASS", "HOST NAME", "FIRST SEEN", "LAST SEEN", "TIMES"],
        rows,
        "no unknown machine has asked",
    )
}

async fn scopes(dhcpd: &Dhcpd, json: bool) -> anyhow::Result<()> {
    let scopes = dhcpd.scopes().await?.items;
    if json {
        return output::json(&scopes);
    }
    let rows = scopes.iter().map(|scope| {
        [
            scope.scope.clone(),
            scope.kind.clone(),
            scope.addresses.to_string(),
            scope.in_use.to_string(),
            scope.declined.to_string(),
        ]
    });
    output::table(["SCOPE", "KIND", "ADDRESSES", "IN USE", "DECLINED"], rows, "no scopes")
}

//! `reveille lease`: leases, and the unknown machines that ask for one.

mod export;
mod filter;

use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Subcommand;
use reveille_client::{ClientError, Dhcpd, LeaseQuery};
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Approve, Lease};

use crate::commands::events::Source;
use crate::commands::{events, repair};
use crate::output;
use crate::target::DhcpdTarget;
use filter::Filter;

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
    /// List the leases, or those that the filters mean
    #[command(after_help = LIST_HELP)]
    List {
        #[command(flatten)]
        filter: Filter,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the lease of a machine or an address
    Get {
        /// MAC or IPv4 address
        mac_or_address: String,
        /// The scope, where the machine has leases in several
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show who had an address, or which addresses a machine had, the latest first
    #[command(
        after_help = "Renewals are left out, and what is remembered is bounded: `reveille lease events` tells more of the last hours."
    )]
    History {
        /// MAC or IPv4 address
        #[arg(value_parser = of_what)]
        mac_or_address: OfWhat,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give leases up before their time; no error where there is none
    #[command(after_help = RELEASE_HELP)]
    Release {
        /// MAC or IPv4 addresses
        #[arg(required = true, value_name = "MAC_OR_ADDRESS")]
        which: Vec<String>,
        /// The scope, where a machine has leases in several
        #[arg(long)]
        scope: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all leases, or those that the filters mean, as a stream
    #[command(after_help = EXPORT_HELP)]
    Export(export::Args),
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
        /// The node's id
        #[arg(long)]
        node: Option<String>,
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

const LIST_HELP: &str = "Examples:\n  \
    reveille lease list --scope prov --state bound\n  \
    reveille lease list --label rack=r1 --json\n  \
    reveille lease list --hostname node-7\n\n\
    The table is held until its end is known; `reveille lease export` streams any number.";

const RELEASE_HELP: &str = "The client itself is not told, and may renew what it believes to have.\n\n\
    Examples:\n  \
    reveille lease release 10.77.2.104\n  \
    reveille lease release 52:54:00:bb:00:01 52:54:00:bb:00:02";

const EXPORT_HELP: &str = "Examples:\n  \
    reveille lease export --output leases.jsonl\n  \
    reveille lease export --format csv --scope prov > kea-leases4.csv\n  \
    reveille lease export | jq -r 'select(.state == \"bound\") | .address'\n\n\
    It is made as it is read, and no snapshot of one moment.";

/// An address or a machine.
#[derive(Debug, Clone, Copy)]
enum OfWhat {
    Address(Ipv4Addr),
    Machine(MacAddr),
}

fn of_what(text: &str) -> Result<OfWhat, &'static str> {
    let address = text.parse().map(OfWhat::Address).ok();
    address.or_else(|| text.parse().map(OfWhat::Machine).ok()).ok_or("a MAC or an IPv4 address is expected")
}

/// What happens to leases.
const KINDS: [&str; 6] = ["bound", "renewed", "released", "expired", "declined", "conflict"];

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // A repair talks to no daemon, so not every verb needs an endpoint.
    let dhcpd = || args.target.dhcpd();
    match args.verb {
        Verb::List { filter, json } => list(&dhcpd()?, &filter.query(), json).await?,
        Verb::History { mac_or_address, json } => history(&dhcpd()?, mac_or_address, json).await?,
        Verb::Release { which, scope, json } => return release(&dhcpd()?, &which, scope.as_deref(), json).await,
        Verb::Export(args) => export::run(args, &dhcpd()?).await?,
        Verb::Get { mac_or_address, scope, json } => {
            let lease = dhcpd()?.lease_in(&mac_or_address, scope.as_deref()).await?;
            if json { output::json(&lease)? } else { print(&[lease], "")? }
        }
        Verb::Sightings { json } => sightings(&dhcpd()?, json).await?,
        Verb::Approve { mac, address, hostname, node, scope, json } => {
            let reservation = dhcpd()?.approve(mac, &Approve { scope, address, hostname, node }).await?;
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

async fn list(dhcpd: &Dhcpd, query: &LeaseQuery, json: bool) -> anyhow::Result<()> {
    let mut leases = Vec::new();
    let mut cursor = None;
    loop {
        let page = dhcpd.leases_of(query, cursor.as_deref()).await?;
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

async fn history(dhcpd: &Dhcpd, of: OfWhat, json: bool) -> anyhow::Result<()> {
    let (address, mac) = match of {
        OfWhat::Address(address) => (Some(address), None),
        OfWhat::Machine(mac) => (None, Some(mac)),
    };
    let changes = dhcpd.history(address, mac).await?.items;
    if json {
        return output::json(&changes);
    }
    let rows = changes.iter().map(|change| {
        [
            output::time(change.at_unix),
            change.change.clone(),
            change.address.to_string(),
            change.mac.to_string(),
            change.scope.clone(),
            output::time(change.ends_unix),
        ]
    });
    output::table(["TIME", "CHANGE", "ADDRESS", "MAC", "SCOPE", "ENDS"], rows, "nothing is remembered")
}

/// Goes on where one cannot be given up, and fails in the end.
async fn release(dhcpd: &Dhcpd, which: &[String], scope: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let (mut failed, mut done) = (false, Vec::new());
    for one in which {
        let released = dhcpd.release_lease(one, scope).await;
        if let Err(error @ ClientError::Connect { .. }) = released {
            return Err(error.into());
        }
        failed |= released.is_err();
        let error = released.err().map(|error| error.to_string());
        match &error {
            None if !json => output::line(&format!("{one}: given up"))?,
            Some(error) if !json => eprintln!("{one}: {}", output::printable(error)),
            _ => {}
        }
        done.push(serde_json::json!({ "which": one, "released": error.is_none(), "error": error }));
    }
    if json {
        output::json(&done)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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

//! `reveille links`: the interfaces that dhcpd serves, and the DHCP servers there that are not ours.

use std::process::ExitCode;

use reveille_config::dto::dhcpd::{ForeignServer, Link};

use crate::output;
use crate::target::DhcpdTarget;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: DhcpdTarget,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let links = args.target.dhcpd()?.links().await?.items;
    if args.json {
        output::json(&links)?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["INTERFACE", "SCOPES", "OTHER DHCP SERVER", "MAC", "OFFERED", "BOOT FILE", "LAST SEEN"];
    output::table(headings, links.iter().flat_map(rows), "no links")?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each server that is not ours, or one that says that there is none.
fn rows(link: &Link) -> Vec<[String; 7]> {
    let (name, scopes) = (&link.interface, link.scopes.join(", "));
    let row = |server: Option<&ForeignServer>| {
        let of = |what: fn(&ForeignServer) -> Option<String>| output::or_dash(server.and_then(what).as_deref());
        [
            name.clone(),
            scopes.clone(),
            of(|server| Some(server.address.to_string())),
            of(|server| server.mac.map(|mac| mac.to_string())),
            of(|server| server.offered.map(|address| address.to_string())),
            of(|server| server.boot_file.clone()),
            of(|server| Some(output::time(server.last_unix))),
        ]
    };
    if link.foreign_servers.is_empty() {
        return vec![row(None)];
    }
    link.foreign_servers.iter().map(|server| row(Some(server))).collect()
}

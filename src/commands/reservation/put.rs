//! `reveille reservation put`.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use reveille_client::Dhcpd;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::ReservationPut;
use serde_json::Value;

use super::{show, tag};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The machine, or another identity of the client
    client: ReservedFor,
    /// Another identity of the same client: whichever it comes with, it gets this reservation
    #[arg(long, value_name = "CLIENT")]
    also: Vec<ReservedFor>,
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
    /// Only what still has this tag (`get --tag`); `*`: only what is there
    #[arg(long, value_name = "TAG", value_parser = tag)]
    if_match: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What stands below the arguments.
pub const HELP: &str = "A client is a machine by its MAC address, or one of: client-id:HEX (option 61), circuit:HEX and remote:HEX (the port that its relay names, option 82), or both as \
    circuit:HEX+remote:HEX.\n\n\
    Examples:\n  \
    reveille reservation put 52:54:00:bb:00:01 --address 10.77.2.21 --hostname rack1-1 --label rack=r1\n  \
    reveille reservation put circuit:65746831+remote:746f722d37 --scope prov --boot-for efi_x64=snponly.efi\n  \
    reveille reservation put client-id:0152540012ab --pool 10.77.2.100-10.77.2.199 --expires-in 3600\n  \
    reveille reservation put 52:54:00:bb:00:01 --also client-id:0152540012ab --address 10.77.2.21";

/// Makes or replaces a reservation.
pub async fn run(dhcpd: &Dhcpd, args: Args) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?;
    let put = ReservationPut {
        scope: args.scope,
        address: args.address,
        hostname: args.hostname,
        boot_file: args.boot_file,
        options: args.options.into_iter().collect(),
        node: args.node,
        pool: args.pool,
        boot: args.boot,
        boot_files: args.boot_files.into_iter().collect(),
        lease_secs: args.lease_secs,
        labels: args.labels.into_iter().collect(),
        expires_unix: args.expires_in.map(|secs| now.as_secs().saturating_add(secs)),
        ..known_also(&args.client, &args.also)?
    };
    let matching = args.if_match.as_deref().map(|tag| dhcpd.if_match(tag));
    let dhcpd = matching.as_ref().unwrap_or(dhcpd);
    show(dhcpd.put_reservation(args.client, &put).await?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// A reservation that says by what else its client is known.
fn known_also(client: &ReservedFor, also: &[ReservedFor]) -> anyhow::Result<ReservationPut> {
    for (at, other) in also.iter().enumerate() {
        if let Some(same) = also[..at].iter().chain([client]).find(|own| own.is_like(other)) {
            bail!("{same} and {other}: a client has one hardware address, one client identifier and one port");
        }
    }
    Ok(ReservationPut {
        mac: also.iter().find_map(ReservedFor::mac),
        client_id: also.iter().find_map(ReservedFor::client_id),
        circuit_id: also.iter().find_map(ReservedFor::circuit_id),
        remote_id: also.iter().find_map(ReservedFor::remote_id),
        ..ReservationPut::default()
    })
}

/// `NAME=VALUE`, both texts.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME=VALUE`, the value as JSON where it is JSON, else as text.
fn option(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

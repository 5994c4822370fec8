//! What the packet path keeps of a lease: a worker's table and everything it allocates itself, bound to a real journal but without sockets.
//!
//! What other threads keep (the API's read model, where it is filled by them) is not in it; the whole process's growth is measured apart.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reveille_config::Config;
use reveille_dhcpd::proto::decide::Bind;
use reveille_dhcpd::proto::reason::ChosenBy;
use reveille_dhcpd::proto::scope::{NetworkIndex, Scopes};
use reveille_dhcpd::proto::time::{Millis, Now, UnixSecs};
use reveille_dhcpd::store::Store;
use reveille_dhcpd::store::journal::{FileStorage, JournalOptions};
use reveille_dhcpd::store::table::{BindRefusal, ClientFacts};

use crate::generate::mac;
use crate::io::sys::live_bytes;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration, whose first scope is filled
    #[arg(long)]
    config: PathBuf,
    /// Leases
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    leases: u32,
}

/// Prints octets for each lease.
///
/// # Errors
/// The journal cannot be opened, or takes no records.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config).map_err(|mistakes| anyhow!("{} mistakes", mistakes.len()))?;
    let dhcpd = config.dhcpd.context("the file has no table [dhcpd]")?;
    let scopes = Arc::new(Scopes::compile(&dhcpd));
    let storage = Box::new(FileStorage::open(&dhcpd.state_dir.join("journal"))?);
    let now = Now { unix: UnixSecs(1_700_000_000), unix_millis: 1_700_000_000_000, monotonic: Millis(1_000) };
    let (store, mut parts) = Store::open(storage, JournalOptions::default(), scopes, 1, now)?;
    let table = &mut parts[0].table;
    let before = live_bytes();
    for number in 0..args.leases {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 65, 0, 1)) + number);
        let ends = UnixSecs(now.unix.0 + 3_600);
        let bind = Bind { address, chosen_by: ChosenBy::Pool, lease_secs: 3_600, ends };
        let key = store.shared.client_on(NetworkIndex(0), mac(number), b"");
        let facts = ClientFacts { mac: mac(number), ..ClientFacts::default() };
        for tries in 0.. {
            match table.bind(now, key, &bind, facts, ()) {
                Ok(_) => break,
                // The disk is slower than this loop.
                Err(BindRefusal::Journal(_)) if tries < 10_000 => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => bail!("the lease of {address} was refused"),
            }
        }
    }
    println!("{:.1}", (live_bytes() - before) as f64 / f64::from(args.leases));
    Ok(())
}

//! One million plain leases: how long their replay takes and how much memory they take, on the packet path and for the API.
//!
//! Run it with `cargo run --release --example million -p reveille-dhcpd -- [leases] [directory]`; the directory's journal is written anew.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use reveille_config::environment::System;
use reveille_config::{Config, MacAddr};
use reveille_dhcpd::proto::scope::Scopes;
use reveille_dhcpd::proto::time::{Millis, Now, UnixSecs};
use reveille_dhcpd::store::Store;
use reveille_dhcpd::store::journal::{FileStorage, JournalOptions, open_directory};
use reveille_dhcpd::store::record::BindRecord;

const CONFIG: &str = r#"
[dhcpd]
state_dir = "/tmp"
api = ["unix:/tmp/reveille-million.sock"]

[[dhcpd.scope]]
name = "prov"
kind = "dynamic"
interface = "lo"
subnet = "10.0.0.0/8"
server_address = "10.0.0.1"
pools = ["10.16.0.0-10.47.255.255"]
"#;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let leases: u32 = arguments.next().map_or(1_000_000, |count| count.parse().expect("a number of leases"));
    let directory = arguments.next().map_or_else(|| std::env::temp_dir().join("reveille-million"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&directory);
    let journal = open_directory(&directory, JournalOptions::default(), &mut |_, _, _| {}).expect("an empty journal");
    let mut appender = journal.appender();
    let mut payload = Vec::new();
    for n in 0..leases {
        let [_, a, b, c] = n.to_be_bytes();
        let (address, mac) = (Ipv4Addr::from(0x0a10_0000 + n), MacAddr([2, 0, 7, a, b, c]));
        let (starts, ends) = (UnixSecs(1_000_000), UnixSecs(1_086_400));
        let (client_id, hostname, relay_agent, vendor_class) = Default::default();
        let record = BindRecord { address, mac, starts, ends, client_id, hostname, relay_agent, vendor_class };
        let kind = record.encode(&mut payload);
        while appender.append(kind, &payload, ()).map(drop).is_err() {
            std::thread::yield_now();
        }
    }
    journal.close();

    let config = Config::parse(CONFIG, "million.toml".as_ref(), &System).expect("the configuration is good");
    let scopes = Arc::new(Scopes::compile(&config.dhcpd.expect("it has dhcpd")));
    let before = resident_octets();
    let start = Instant::now();
    let storage = Box::new(FileStorage::open(&directory).expect("the directory"));
    let now = Now { unix: UnixSecs(1_000_100), unix_millis: 1_000_100_000, monotonic: Millis(1_000) };
    let (store, parts) = Store::open(storage, JournalOptions::default(), scopes, 1, now).expect("it replays");
    let took = start.elapsed();
    let all = resident_octets() - before;
    let with = |octets: u64| octets as f64 / f64::from(leases);
    println!("replayed {} records in {:.3} s", store.journal.recovered().log_records, took.as_secs_f64());
    println!("table and read model: {:.1} octets a lease (resident, the bitmaps of a /8 included)", with(all));
    drop(parts);
    println!("read model alone: {:.1} octets a lease", with(resident_octets().saturating_sub(before)));
}

/// Resident memory of this process.
fn resident_octets() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1_024
}

//! Micro-benchmarks of the way of a packet, one step at a time: `cargo bench -p reveille-bench`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use reveille_config::{Config, MacAddr};
use reveille_dhcpd::proto::class::Membership;
use reveille_dhcpd::proto::decide::{Bind, ClientState, decide};
use reveille_dhcpd::proto::reason::ChosenBy;
use reveille_dhcpd::proto::reply::{Asker, Lease};
use reveille_dhcpd::proto::rules::Rules;
use reveille_dhcpd::proto::scope::{NetworkIndex, Scopes};
use reveille_dhcpd::proto::time::{Millis, Now, UnixSecs};
use reveille_dhcpd::proto::view::Parser;
use reveille_dhcpd::store::journal::{FileStorage, JournalOptions, open_directory};
use reveille_dhcpd::store::table::{BindRefusal, ClientFacts};
use reveille_dhcpd::store::{Store, WorkerPart};

/// Operations of one sample where each needs a state of its own.
const EACH: u32 = 10_000;

fn main() {
    divan::main();
}

const NOW: Now = Now { unix: UnixSecs(1_700_000_000), unix_millis: 1_700_000_000_000, monotonic: Millis(1_000) };

fn scopes(directory: &Path) -> Arc<Scopes> {
    let file = directory.join("reveille.toml");
    let text = format!(
        "[dhcpd]\nstate_dir = \"{0}\"\napi = [\"unix:{0}/sock\"]\nlimits = {{ client_packets_per_sec = 0 }}\n[[dhcpd.scope]]\nname = \"load\"\nkind = \"dynamic\"\ninterface = \"lo\"\n\
         subnet = \"10.64.0.0/10\"\nserver_address = \"10.64.0.1\"\npools = [\"10.65.0.0-10.95.255.255\"]\n",
        directory.display()
    );
    std::fs::write(&file, text).expect("a temporary file");
    let config = Config::load(&file).expect("the configuration is valid");
    Arc::new(Scopes::compile(&config.dhcpd.expect("[dhcpd] is there")))
}

/// A relayed client's message with what a boot ROM asks for.
fn message(kind: u8) -> Vec<u8> {
    let mut octets = vec![0; 300];
    octets[..4].copy_from_slice(&[1, 1, 6, 1]);
    octets[4..8].copy_from_slice(&[1, 2, 3, 4]);
    octets[24..28].copy_from_slice(&[10, 64, 0, 2]);
    octets[28..34].copy_from_slice(&[2, 0x42, 0, 0, 0, 1]);
    octets[236..240].copy_from_slice(&[99, 130, 83, 99]);
    let options: &[&[u8]] = &[
        &[53, 1, kind],
        &[57, 2, 5, 192],
        &[55, 7, 1, 3, 6, 12, 15, 66, 67],
        &[93, 2, 0, 7],
        &[60, 20],
        b"PXEClient:Arch:00007",
        &[255],
    ];
    let options = options.concat();
    octets[240..240 + options.len()].copy_from_slice(&options);
    octets
}

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0x42, a, b, c, d])
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let (octets, mut parser) = (message(1), Parser::default());
    bencher.bench_local(|| parser.parse(divan::black_box(&octets)).map(|packet| packet.chaddr()));
}

#[divan::bench]
fn decide_a_discover(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let scopes = scopes(directory.path());
    let (octets, mut parser) = (message(1), Parser::default());
    let packet = parser.parse(&octets).expect("a good packet");
    let scope = scopes.iter().next().expect("one scope");
    let classes = Membership::default();
    let rules = Rules::new(&scopes, scope, None, &classes);
    let client = ClientState { accepting: true, ..ClientState::default() };
    bencher.bench_local(|| decide(NOW.unix, divan::black_box(&packet), &rules, &client));
}

#[divan::bench]
fn stamp_an_offer(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let scopes = scopes(directory.path());
    let (octets, mut parser) = (message(1), Parser::default());
    let packet = parser.parse(&octets).expect("a good packet");
    let scope = scopes.iter().next().expect("one scope");
    let classes = Membership::default();
    let asker =
        Asker { packet: &packet, from_port: 67, called: None, rules: Rules::new(&scopes, scope, None, &classes) };
    let lease = Lease { address: Ipv4Addr::new(10, 65, 0, 1), secs: 3_600 };
    let mut buffer = Some(Vec::with_capacity(1_500));
    bencher.bench_local(|| {
        let reply = asker.offer(buffer.take().unwrap_or_default(), divan::black_box(lease));
        buffer = Some(reply.octets);
    });
}

/// Binds clients `0..count`; waits where the journal is full, as the disk sets that pace and not the table.
fn bind_all(store: &Store, part: &mut WorkerPart, count: u32) {
    for number in 0..count {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 65, 0, 1)) + number);
        let ends = UnixSecs(NOW.unix.0 + 3_600);
        let bind = Bind { address, chosen_by: ChosenBy::Pool, lease_secs: 3_600, ends };
        let key = store.shared.client_on(NetworkIndex(0), mac(number), b"");
        let facts = ClientFacts { mac: mac(number), ..ClientFacts::default() };
        while let Err(refusal) = part.table.bind(NOW, key, &bind, facts, ()) {
            assert!(matches!(refusal, BindRefusal::Journal(_)), "the address is free");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn open(directory: &Path) -> (Store, WorkerPart) {
    let storage = FileStorage::open(&directory.join("journal")).expect("a journal");
    let opened = Store::open(Box::new(storage), JournalOptions::default(), scopes(directory), 1, NOW);
    let (store, mut parts) = opened.expect("an empty store");
    (store, parts.remove(0))
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn bind_10_000_in_the_table(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(EACH))
        .with_inputs(|| {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let (store, part) = open(directory.path());
            (directory, store, part)
        })
        .bench_local_refs(|(_, store, part)| bind_all(store, part, EACH));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn renew_10_000_in_the_table(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (store, mut part) = open(directory.path());
    bind_all(&store, &mut part, EACH);
    bencher.counter(ItemsCount::new(EACH)).bench_local(|| bind_all(&store, &mut part, EACH));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn append_10_000_to_the_journal(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = open_directory(directory.path(), JournalOptions::default(), &mut |_, _, _| {}).expect("a journal");
    let mut appender = journal.appender();
    bencher.counter(ItemsCount::new(EACH)).bench_local(|| {
        for _ in 0..EACH {
            while appender.append(1, divan::black_box(&[7; 48]), ()).is_err() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
}

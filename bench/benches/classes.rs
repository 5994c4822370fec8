//! What one evaluation of classes and one look-up of a reservation cost with 1, 100 and 10,000 of them: `cargo bench -p reveille-bench --bench classes`.

use std::fmt::Write as _;
use std::path::Path;

use divan::Bencher;
use reveille_config::Config;
use reveille_config::environment::Imagined;
use reveille_dhcpd::proto::circuit::Circuit;
use reveille_dhcpd::proto::class::{Facts, Membership};
use reveille_dhcpd::proto::identity::IdentityKey;
use reveille_dhcpd::proto::scope::{NetworkIndex, Scopes};
use reveille_dhcpd::proto::view::Parser;
use reveille_dhcpd::store::identity_index::IdentityIndex;

fn main() {
    divan::main();
}

const COUNTS: [u32; 3] = [1, 100, 10_000];

/// A scope with `count` classes, of which class `number` has the condition that `condition` gives it, and as many reservations by client identifier.
fn scopes(count: u32, condition: impl Fn(u32) -> String) -> Scopes {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "[[dhcpd.class]]\nname = \"c{number}\"\nmatch = {}", condition(number));
    }
    text += "[[dhcpd.scope]]\nname = \"load\"\nkind = \"dynamic\"\ninterface = \"lo\"\nsubnet = \"10.64.0.0/10\"\n\
             server_address = \"10.64.0.1\"\npools = [\"10.65.0.0-10.95.255.255\"]\n";
    for number in 0..count {
        let (high, low) = (number / 250, number % 250 + 2);
        let _ = writeln!(
            text,
            "[[dhcpd.scope.reservation]]\nclient_id = \"hex:01{number:012x}\"\naddress = \"10.64.{high}.{low}\""
        );
    }
    let config = Config::parse(&text, Path::new("reveille.toml"), &Imagined::with_all_directories());
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    Scopes::compile(&config.dhcpd.expect("[dhcpd] is there"))
}

/// A boot ROM's DISCOVER behind a relay, from the machine that class 0 is about.
fn message() -> Vec<u8> {
    let mut octets = vec![0; 340];
    octets[..4].copy_from_slice(&[1, 1, 6, 1]);
    octets[24..28].copy_from_slice(&[10, 64, 0, 2]);
    octets[28..34].copy_from_slice(&[2, 0x42, 0, 0, 0, 1]);
    octets[236..240].copy_from_slice(&[99, 130, 83, 99]);
    let options: &[&[u8]] = &[
        &[53, 1, 1],
        &[55, 7, 1, 3, 6, 12, 15, 66, 67],
        &[93, 2, 0, 7],
        &[60, 32],
        b"PXEClient:Arch:00007:UNDI:003016",
        &[77, 4],
        b"iPXE",
        &[82, 6, 1, 4],
        b"eth0",
        &[255],
    ];
    let options = options.concat();
    octets[240..240 + options.len()].copy_from_slice(&options);
    octets
}

fn evaluate(bencher: Bencher<'_, '_>, count: u32, members: usize, condition: impl Fn(u32) -> String) {
    let scopes = scopes(count, condition);
    let (octets, mut parser, mut membership) = (message(), Parser::default(), Membership::default());
    let packet = parser.parse(&octets).expect("a good packet");
    scopes.classes().evaluate(Facts::of(&packet), &mut membership);
    assert_eq!(membership.iter().count(), members);
    bencher.bench_local(|| scopes.classes().evaluate(Facts::of(divan::black_box(&packet)), &mut membership));
}

/// One class for each machine: the client is in one.
#[divan::bench(args = COUNTS)]
fn classes_by_mac(bencher: Bencher<'_, '_>, count: u32) {
    evaluate(bencher, count, 1, |number| {
        let [_, _, high, low] = (number + 1).to_be_bytes();
        format!("{{ mac-prefix = \"02:42:00:00:{high:02x}:{low:02x}\" }}")
    });
}

/// Classes that all begin alike and differ in one thing: stage, architecture and vendor class, and a prefix of the MAC address.
#[divan::bench(args = COUNTS)]
fn classes_with_several_conditions(bencher: Bencher<'_, '_>, count: u32) {
    evaluate(bencher, count, 1, |number| {
        let [_, _, high, low] = (number + 1).to_be_bytes();
        format!(
            "{{ stage = \"ipxe\", architecture = [7, 9], vendor-class = {{ starts-with = \"PXEClient\" }}, mac-prefix = \"02:42:00:00:{high:02x}:{low:02x}\" }}"
        )
    });
}

/// Nothing that could be looked up: every class is asked.
#[divan::bench(args = COUNTS)]
fn classes_that_only_exclude(bencher: Bencher<'_, '_>, count: u32) {
    evaluate(bencher, count, 0, |number| {
        format!("{{ not = {{ any = [{{ circuit-id = \"eth0\" }}, {{ circuit-id = \"eth{number}\" }}] }} }}")
    });
}

/// A reservation by client identifier among so many.
#[divan::bench(args = COUNTS)]
fn reservation_by_client_id(bencher: Bencher<'_, '_>, count: u32) {
    let scopes = scopes(count, |number| format!("{{ user-class = \"u{number}\" }}"));
    let id = [1, 0, 0, 0, 0, 0, 0];
    let key = IdentityKey::new([1, 2]);
    let index = IdentityIndex::new(key, 7);
    for own in scopes.iter().flat_map(|scope| &scope.reservations) {
        index.put(scopes.client_of(key, &own.holder()).expect("its scope is there"), own);
    }
    assert!(index.find(NetworkIndex(0), &id, Circuit::default()).is_some());
    bencher
        .bench_local(|| index.find(NetworkIndex(0), divan::black_box(&id), Circuit::default()).map(|own| own.address));
}

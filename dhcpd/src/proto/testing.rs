//! Packets and scopes for the tests of this crate: a packet is built from the words of the RFC, scopes come from a configuration file's text.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use reveille_config::dhcpd::{Dhcpd, ReservedFor};
use reveille_config::environment::Imagined;
use reveille_config::{Config, MacAddr};

use super::class::Membership;
use super::option::OptionBlock;
use super::rules::Rules;
use super::scope::{Origin, Reservation, Scope, ScopeIndex, Scopes, Terms};
use super::view::{BOOTP_BYTES_MIN, MAGIC_COOKIE, PacketView, Parser, code};

/// A static scope `bmc` on `vb0` and a dynamic one `prov` on `vp0`, with ten addresses.
const CONFIG: &str = r#"
[dhcpd]
state_dir = "/var/lib/reveille/dhcpd"
api = ["unix:/run/reveille/dhcpd.sock"]
limits = { client_packets_per_sec = 0 }

[[dhcpd.scope]]
name = "bmc"
kind = "static"
interface = "vb0"
subnet = "10.77.1.0/24"
server_address = "10.77.1.1"
conflict_check = "off"
pools = ["10.77.1.100-10.77.1.109"]

[[dhcpd.scope.reservation]]
mac = "02:00:00:00:00:b1"
address = "10.77.1.10"
hostname = "bmc-1"

[[dhcpd.scope]]
name = "prov"
kind = "dynamic"
interface = "vp0"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
conflict_check = "off"
pools = ["10.77.2.100-10.77.2.109"]
lease_secs = 3600
lease_secs_min = 600
lease_secs_max = 7200
authoritative = true
options = { routers = ["10.77.2.1"], domain-name-servers = ["10.77.2.2", "10.77.2.3"], 224 = "hex:0a0b" }

[dhcpd.scope.boot]
next_server = "10.77.2.9"
bios = "undionly.kpxe"
efi_x64 = "snponly.efi"
http_x64 = "http://10.77.2.1:8080/ipxe.efi"
ipxe = "http://10.77.2.1:8080/boot.ipxe"

[[dhcpd.scope.reservation]]
mac = "02:00:00:00:00:a1"
address = "10.77.2.50"
hostname = "node-1"
"#;

/// The first of the machines that are reserved in the dynamic scope.
pub const RESERVED: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa1]);
/// A machine that no scope knows.
pub const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
/// The BMC that the static scope knows.
pub const KNOWN_BMC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb1]);

/// The configuration, changed by replacing text.
pub fn config(changes: &[(&str, &str)]) -> Dhcpd {
    let text = changes.iter().fold(CONFIG.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "nothing to change: {from}");
        text.replace(from, to)
    });
    let environment = Imagined::with_all_directories();
    let config = Config::parse(&text, Path::new("test.toml"), &environment);
    config.unwrap_or_else(|mistakes| panic!("{mistakes:?}")).dhcpd.unwrap()
}

/// Its scopes.
pub fn scopes(changes: &[(&str, &str)]) -> Arc<Scopes> {
    Arc::new(Scopes::compile(&config(changes)))
}

/// The dynamic scope.
pub fn prov(scopes: &Scopes) -> &Scope {
    scopes.by_name("prov").unwrap()
}

/// The static scope.
pub fn bmc(scopes: &Scopes) -> &Scope {
    scopes.by_name("bmc").unwrap()
}

/// A client that is in no class.
pub static NO_CLASSES: Membership = Membership::none();

/// The rules of a scope for a client without reservation and classes.
pub fn rules<'a>(scopes: &'a Scopes, scope: &'a Scope) -> Rules<'a> {
    Rules::new(scopes, scope, None, &NO_CLASSES)
}

/// A message under construction.
#[derive(Debug, Clone)]
pub struct Packet(pub Vec<u8>);

impl Packet {
    /// A message of a type, with no other options.
    pub fn new(kind: u8, mac: MacAddr) -> Self {
        let mut octets = vec![0; 240];
        octets[..3].copy_from_slice(&[1, 1, 6]);
        octets[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        octets[28..34].copy_from_slice(&mac.octets());
        octets[236..].copy_from_slice(&MAGIC_COOKIE);
        Self(octets).option(code::MESSAGE_TYPE, &[kind])
    }

    /// A BOOTP client's request: no message type.
    pub fn bootp(mac: MacAddr) -> Self {
        let mut packet = Self::new(0, mac);
        packet.0.truncate(240);
        packet.0.resize(BOOTP_BYTES_MIN, code::PAD);
        packet
    }

    pub fn discover(mac: MacAddr) -> Self {
        Self::new(1, mac)
    }

    pub fn request(mac: MacAddr) -> Self {
        Self::new(3, mac)
    }

    /// SELECTING: the server's offer is taken.
    pub fn select(mac: MacAddr, server: Ipv4Addr, address: Ipv4Addr) -> Self {
        Self::request(mac).server(server).asks(address)
    }

    /// RENEWING or REBINDING.
    pub fn renew(mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::request(mac).at(12, &address.octets())
    }

    pub fn decline(mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::new(4, mac).asks(address)
    }

    pub fn release(mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::new(7, mac).at(12, &address.octets())
    }

    pub fn inform(mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::new(8, mac).at(12, &address.octets())
    }

    pub fn server(self, server: Ipv4Addr) -> Self {
        self.option(code::SERVER_ID, &server.octets())
    }

    pub fn asks(self, address: Ipv4Addr) -> Self {
        self.option(code::REQUESTED_ADDRESS, &address.octets())
    }

    pub fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.0.extend_from_slice(&[code, value.len() as u8]);
        self.0.extend_from_slice(value);
        self
    }

    pub fn relayed_by(self, giaddr: Ipv4Addr) -> Self {
        self.at(24, &giaddr.octets())
    }

    pub fn broadcast(self) -> Self {
        self.at(10, &[0x80, 0])
    }

    pub fn at(mut self, offset: usize, octets: &[u8]) -> Self {
        self.0[offset..offset + octets.len()].copy_from_slice(octets);
        self
    }

    /// The octets, with END.
    pub fn octets(&self) -> Vec<u8> {
        [&self.0[..], &[code::END]].concat()
    }

    /// Lets `look` see the parsed packet.
    pub fn view<T>(&self, look: impl FnOnce(&PacketView<'_>) -> T) -> T {
        let mut parser = Parser::default();
        let octets = self.octets();
        look(&parser.parse(&octets).unwrap())
    }
}

/// The address with these last two octets in 10.77.
pub const fn ip(third: u8, fourth: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third, fourth)
}

/// The configuration's reservation of an address of the dynamic scope for `client`, and nothing else.
pub fn reservation_for(client: ReservedFor, address: Ipv4Addr) -> Arc<Reservation> {
    Arc::new(Reservation {
        scope: ScopeIndex(1),
        client,
        also: Box::default(),
        address,
        hostname: None,
        boot_file: None,
        boot: None,
        options: OptionBlock::default(),
        options_given: "".into(),
        node: None,
        terms: Terms::default(),
        origin: Origin::Config,
    })
}

//! [`BootServer`]: what boot clients are told on port 4011 of a proxy scope (PXE specification 2.1, §2.2.3 and §2.2.5), without sockets and clocks.
//!
//! Those ask who were told on port 67 that a server is here, or who go on by unicast once they have their address. It promises no address, so nothing waits for a
//! disk: what it answers are plain replies. Rates are limited and drops counted as on port 67.

use std::net::SocketAddrV4;
use std::sync::Arc;

use metrics::{Counter, counter, describe_counter};

use super::counters::Counters;
use super::senders::Senders;
use crate::proto::class::{Facts, Membership};
use crate::proto::reason::DropReason;
use crate::proto::reply::Asker;
use crate::proto::rules::Rules;
use crate::proto::scope::{Scope, ScopeIndex, Scopes};
use crate::proto::time::Now;
use crate::proto::view::{MessageType, PacketView, Parser, code};
use crate::store::Shared;

/// The conversation of all proxy scopes.
#[derive(Debug)]
pub struct BootServer {
    parser: Parser,
    desk: Desk,
}

/// All of it but the parser, from which the packet at hand borrows.
#[derive(Debug)]
struct Desk {
    shared: Arc<Shared>,
    senders: Senders,
    membership: Membership,
    counters: Counters,
    answered: Counter,
    buffer: Vec<u8>,
}

impl BootServer {
    /// For the proxy scopes among those in force.
    pub fn new(shared: Arc<Shared>) -> Self {
        describe_counter!("reveille_dhcpd_proxy_acks_total", "Boot clients answered on port 4011");
        let desk = Desk {
            shared,
            senders: Senders::default(),
            membership: Membership::default(),
            counters: Counters::default(),
            answered: counter!("reveille_dhcpd_proxy_acks_total"),
            buffer: Vec::new(),
        };
        Self { parser: Parser::default(), desk }
    }

    /// The answer to a datagram for a scope, which goes back to where that came from.
    ///
    /// # Errors
    /// Why there is none; it has been counted.
    pub fn handle(
        &mut self,
        now: Now,
        scope: ScopeIndex,
        octets: &[u8],
        from: SocketAddrV4,
    ) -> Result<Vec<u8>, DropReason> {
        let Self { parser, desk } = self;
        let answer = parser.parse(octets).and_then(|packet| desk.packet(now, scope, &packet, from));
        match answer {
            Ok(_) => desk.answered.increment(1),
            Err(reason) => desk.counters.dropped(reason),
        }
        answer
    }

    /// Gives the memory of a sent answer back.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.desk.buffer = buffer;
    }
}

impl Desk {
    fn packet(
        &mut self,
        now: Now,
        scope: ScopeIndex,
        packet: &PacketView<'_>,
        from: SocketAddrV4,
    ) -> Result<Vec<u8>, DropReason> {
        self.counters.received(packet.message_type);
        let scopes = self.shared.scopes.load_full();
        let scope = scopes.get(scope).ok_or(DropReason::NoScope)?;
        // Who looks for an address does not look here.
        if !matches!(packet.message_type, MessageType::Request | MessageType::Inform) {
            return Err(DropReason::MessageType);
        }
        if from.ip().is_unspecified() {
            return Err(DropReason::NoAddress);
        }
        if let Some(reason) = self.senders.over_limit(now, packet, &scopes.limits) {
            return Err(reason);
        }
        scopes.classes().evaluate(Facts::of(packet), &mut self.membership);
        self.answer(&scopes, scope, packet, from.port())
    }

    fn answer(
        &mut self,
        scopes: &Scopes,
        scope: &Scope,
        packet: &PacketView<'_>,
        from_port: u16,
    ) -> Result<Vec<u8>, DropReason> {
        let client_id = packet.option(code::CLIENT_ID).unwrap_or_default();
        let by_mac = self.shared.reservation_of(scope.network, packet.chaddr());
        let circuit = packet.relay_agent().circuit();
        let own = by_mac.or_else(|| self.shared.reservation_by_identity(scope.network, client_id, circuit));
        let rules = Rules::new(scopes, scope, own.as_deref(), &self.membership);
        let answer = Asker { packet, from_port, called: None, rules }.proxy_ack(std::mem::take(&mut self.buffer));
        answer.map_err(|buffer| {
            self.buffer = buffer;
            DropReason::NothingToBoot
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use reveille_config::MacAddr;

    use super::*;
    use crate::proto::testing::{Packet, RESERVED, STRANGER, ip, scopes};
    use crate::store::Store;
    use crate::store::journal::{CrashDisk, JournalOptions};

    fn store(changes: &[(&str, &str)]) -> Store {
        let proxy = [
            ("kind = \"dynamic\"", "kind = \"proxy\""),
            ("pools = [\"10.77.2.100-10.77.2.109\"]", ""),
            ("hostname = \"node-1\"", "boot = \"own\""),
            (
                "[[dhcpd.scope]]\nname = \"bmc\"",
                "[dhcpd.boot.own]\nbios = \"own.kpxe\"\n[[dhcpd.scope]]\nname = \"bmc\"",
            ),
        ];
        let scopes = scopes(&[&proxy[..], changes].concat());
        Store::open(CrashDisk::new().storage(), JournalOptions::default(), scopes, 1, Now::default()).unwrap().0
    }

    fn rom(kind: u8, mac: MacAddr) -> Packet {
        Packet::new(kind, mac).at(12, &[10, 77, 2, 150]).option(60, b"PXEClient:Arch:00000").option(93, &[0, 0])
    }

    /// The file that is told, or why nothing is.
    fn told(server: &mut BootServer, packet: &Packet, from: Ipv4Addr) -> Result<String, DropReason> {
        let prov = ScopeIndex(1);
        let answer = server.handle(Now::default(), prov, &packet.octets(), SocketAddrV4::new(from, 4_011))?;
        assert_eq!((answer[0], answer[242], &answer[12..20]), (2, 5, &[10, 77, 2, 150, 0, 0, 0, 0][..]), "no address");
        let file = answer[108..236].iter().copied().take_while(|&octet| octet != 0).collect();
        server.recycle(answer);
        Ok(String::from_utf8(file).unwrap())
    }

    #[test]
    fn each_boot_client_is_told_its_file_and_nobody_else_anything() {
        let store = store(&[]);
        let mut server = BootServer::new(Arc::clone(&store.shared));
        let (here, nowhere) = (ip(2, 150), Ipv4Addr::UNSPECIFIED);
        let plain = |kind| Packet::new(kind, STRANGER).at(12, &[10, 77, 2, 150]);
        let ipxe = plain(3).option(93, &[0, 0]).option(77, b"iPXE");
        let http = plain(3).option(60, b"HTTPClient:Arch:00016").option(93, &[0, 16]);
        for (why, packet, from, expected) in [
            ("a REQUEST", rom(3, STRANGER), here, Ok("undionly.kpxe")),
            ("an INFORM", rom(8, STRANGER), here, Ok("undionly.kpxe")),
            ("a reservation has a file of its own", rom(3, RESERVED), here, Ok("own.kpxe")),
            ("iPXE", ipxe, here, Ok("http://10.77.2.1:8080/boot.ipxe")),
            ("UEFI HTTP", http, here, Ok("http://10.77.2.1:8080/ipxe.efi")),
            ("a DISCOVER belongs on port 67", rom(1, STRANGER), here, Err(DropReason::MessageType)),
            ("a RELEASE", rom(7, STRANGER), here, Err(DropReason::MessageType)),
            ("from nowhere", rom(3, STRANGER), nowhere, Err(DropReason::NoAddress)),
            ("an operating system", plain(3), here, Err(DropReason::NothingToBoot)),
            ("no file for it", plain(3).option(93, &[0, 11]), here, Err(DropReason::NothingToBoot)),
            ("no message", Packet(vec![1; 100]), here, Err(DropReason::Truncated)),
        ] {
            assert_eq!(told(&mut server, &packet, from), expected.map(str::to_owned), "{why}");
        }
    }

    #[test]
    fn a_client_over_its_rate_is_not_answered() {
        let store = store(&[("client_packets_per_sec = 0", "client_packets_per_sec = 3")]);
        let mut server = BootServer::new(Arc::clone(&store.shared));
        let answers: Vec<_> = (0..5).map(|_| told(&mut server, &rom(3, STRANGER), ip(2, 150)).err()).collect();
        let over = Some(DropReason::ClientRate);
        assert_eq!(answers, [None, None, None, over, over]);
        assert_eq!(told(&mut server, &rom(3, RESERVED), ip(2, 151)).err(), None, "another is");
    }
}

//! [`Rules`]: what a client's reservation, its classes, the pool of its address and its scope say together.
//!
//! Precedence, for every single setting and option: reservation, classes in the order of the configuration, pool, scope. The decision core and the replies ask
//! here and nowhere else, so that both go by the same.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::{Boot, LeaseTimes, Quirks, ScopeKind};

use super::class::{Class, Membership};
use super::option::OptionBlock;
use super::pool::PoolSet;
use super::scope::{Reservation, Scope, Scopes};

/// The rules for one message.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// All scopes.
    pub scopes: &'a Scopes,
    /// The scope that answers: the one that the packet is for, or the one of its network that holds the client's address.
    pub scope: &'a Scope,
    /// The client's reservation.
    pub reservation: Option<&'a Reservation>,
    /// The pools of `scope` that the client may have an address from.
    pub pools: PoolSet,
    /// The client's classes.
    classes: &'a Membership,
    /// The pool of `scope` that the client's address is from.
    pool: Option<usize>,
}

impl<'a> Rules<'a> {
    /// The rules for a client that is in these classes.
    pub fn new(
        scopes: &'a Scopes,
        scope: &'a Scope,
        reservation: Option<&'a Reservation>,
        classes: &'a Membership,
    ) -> Self {
        Self { scopes, scope, reservation, pools: scope.pools_for(classes), classes, pool: None }
    }

    /// The scope of the link that holds `address`.
    pub fn scope_of(&self, address: Ipv4Addr) -> Option<&'a Scope> {
        if self.scope.subnet.contains(&address) {
            return Some(self.scope);
        }
        self.scopes.of_address(address).filter(|scope| scope.network == self.scope.network)
    }

    /// The rules for a client that gets this address of the link.
    pub fn at(&self, address: Ipv4Addr) -> Self {
        let scope = self.scope_of(address).unwrap_or(self.scope);
        Self { pool: scope.pool_of(address), ..self.in_scope(scope) }
    }

    /// The same rules in another scope of the link.
    pub fn in_scope(&self, scope: &'a Scope) -> Self {
        Self { scope, pools: scope.pools_for(self.classes), pool: None, ..*self }
    }

    fn classes(&self) -> impl Iterator<Item = &'a Class> + use<'a> {
        let scopes = self.scopes;
        self.classes.iter().filter_map(|at| scopes.classes().get(at))
    }

    /// The options of a reply, the ones that count first.
    pub fn options(&self) -> impl Iterator<Item = &'a OptionBlock> + use<'a> {
        let of_pool = self.pool.and_then(|place| self.scope.pool_options(place));
        let own = self.reservation.map(|own| &own.options);
        own.into_iter().chain(self.classes().map(|class| &class.options)).chain(of_pool).chain([&self.scope.options])
    }

    /// The boot profile.
    pub fn boot(&self) -> Option<&'a Boot> {
        let own = self.reservation.and_then(|own| own.boot.as_deref());
        own.or_else(|| self.classes().find_map(|class| class.boot.as_deref())).or(self.scope.boot.as_deref())
    }

    /// The lease time for what the client asks, seconds.
    pub fn lease_secs(&self, asked: Option<u32>) -> u32 {
        if let Some(own) = self.reservation.map(|own| own.terms.lease_secs).filter(|&secs| secs > 0) {
            return own;
        }
        let of = |time: fn(&LeaseTimes) -> Option<u32>| self.classes().find_map(|class| time(&class.lease));
        let min = of(|lease| lease.min).unwrap_or(self.scope.lease_secs_min);
        let max = of(|lease| lease.max).unwrap_or(self.scope.lease_secs_max);
        let wanted = asked.or_else(|| of(|lease| lease.default)).unwrap_or(self.scope.lease_secs);
        // Where a class and the scope, or two classes, contradict each other the shorter time is the safe one.
        wanted.max(min).min(max)
    }

    /// Whether the client may be given this address out of a pool of its link: it is in one that its classes allow, and not kept out of it.
    pub fn in_pools(&self, address: Ipv4Addr) -> bool {
        self.scope_of(address).is_some_and(|scope| {
            let allowed = |pool| scope.pools_for(self.classes).contains(pool);
            scope.kind == ScopeKind::Dynamic && scope.in_pools(address) && scope.pool_of(address).is_some_and(allowed)
        })
    }

    /// Whether a reply to a client without address is always broadcast.
    pub fn always_broadcast(&self) -> bool {
        self.quirk(|quirks| quirks.always_broadcast).unwrap_or(self.scope.always_broadcast)
    }

    /// How long a reply waits, milliseconds.
    pub fn reply_delay_millis(&self) -> u16 {
        self.quirk(|quirks| quirks.reply_delay_millis).unwrap_or(self.scope.reply_delay_millis)
    }

    fn quirk<T>(&self, quirk: fn(&Quirks) -> Option<T>) -> Option<T> {
        self.classes().find_map(|class| quirk(&class.quirks))
    }
}

#[cfg(test)]
mod tests {
    use reveille_config::MacAddr;

    use super::*;
    use crate::proto::class::Facts;
    use crate::proto::testing::{NO_CLASSES, Packet, ip, prov, scopes};

    const CLASSES: &str = r#"
[dhcpd.boot.first]
bios = "first.kpxe"
[dhcpd.boot.own]
bios = "own.kpxe"

[[dhcpd.class]]
name = "a"
match = { mac-prefix = "02:00:00:00:00:01" }
lease_secs = 900
options = { interface-mtu = 9000, 225 = "hex:0a" }
quirks = { reply_delay_millis = 20 }

[[dhcpd.class]]
name = "b"
match = { mac-prefix = "02:00:00:00:00" }
boot = "first"
lease_secs = 1000
lease_secs_max = 1200
options = { interface-mtu = 1400, 226 = "hex:0b", 224 = "hex:0c" }
quirks = { reply_delay_millis = 30, always_broadcast = true }

[[dhcpd.scope]]
name = "bmc""#;

    fn first_of(rules: &Rules<'_>, code: u8) -> Option<Vec<u8>> {
        rules
            .options()
            .find_map(|block| block.iter().find(|(own, _)| *own == code).map(|(_, octets)| octets[2..].to_vec()))
    }

    #[test]
    fn reservation_goes_before_classes_and_classes_before_the_scope() {
        let scopes = scopes(&[("\n[[dhcpd.scope]]\nname = \"bmc\"", CLASSES)]);
        let scope = prov(&scopes);
        let mut own = (*scope.reservations[0]).clone();
        own.options = OptionBlock::encode([(225, &[1][..])]);
        own.boot = scopes.boot("own");
        for (last, reservation, expected) in [
            // lease asked: none, 3000; MTU; 224; 225; bios; delay; broadcast
            (1, None, (900, 1200, Some(9000), Some(0x0c), Some(0x0a), "first.kpxe", 20, true)),
            (1, Some(&own), (900, 1200, Some(9000), Some(0x0c), Some(1), "own.kpxe", 20, true)),
            (2, None, (1000, 1200, Some(1400), Some(0x0c), None, "first.kpxe", 30, true)),
        ] {
            let mut membership = Membership::default();
            let packet = Packet::discover(MacAddr([2, 0, 0, 0, 0, last]));
            packet.view(|view| scopes.classes().evaluate(Facts::of(view), &mut membership));
            let rules = Rules::new(&scopes, scope, reservation, &membership);
            let mtu = first_of(&rules, 26).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
            let octet = |code| first_of(&rules, code).map(|octets| octets[0]);
            let bios = rules.boot().and_then(|boot| boot.files.values().next()).unwrap();
            let found = (
                rules.lease_secs(None),
                rules.lease_secs(Some(3_000)),
                mtu,
                octet(224),
                octet(225),
                bios.as_str(),
                rules.reply_delay_millis(),
                rules.always_broadcast(),
            );
            assert_eq!(found, expected, "{last}");
        }
        let rules = Rules::new(&scopes, scope, None, &NO_CLASSES);
        assert_eq!(
            (rules.lease_secs(None), rules.lease_secs(Some(9_999)), rules.lease_secs(Some(1))),
            (3_600, 7_200, 600)
        );
        assert_eq!((rules.reply_delay_millis(), rules.always_broadcast()), (0, false));
        assert!(rules.in_pools(ip(2, 100)) && !rules.in_pools(ip(2, 99)));
    }
}

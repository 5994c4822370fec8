//! [`Stage`]: the lab's two networks with a DHCP server on them.

use std::ops::Deref;

use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::Lease;
use reveille_config::dto::event::{Event, EventQuery};
use reveille_lab::net::{BMC_HOST, PROVISIONING_BRIDGE, PROVISIONING_HOST};
use reveille_lab::{Client, Deadline, DhcpServer, Product, Run, Served, TwoNetworks};

/// Generous: the machine may be busy.
pub fn patience() -> Deadline {
    Deadline::secs(60)
}

/// The hardware address number `n` of these tests.
pub fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x77, 0xed, n])
}

/// The value of one of dhcpd's counters, with its labels as they are written: `name{by="icmp"}`. One that has not counted is 0.
pub fn metric(run: &Run, name: &str) -> u64 {
    let curl = run.program("curl").args(["-sS", "--fail", "--unix-socket"]).arg(run.dir().join("dhcpd.sock"));
    let text = curl.arg("http://dhcpd/metrics").succeed(patience()).expect("dhcpd's counters (package curl)");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}

/// Two networks and a server, whose methods are the stage's.
pub struct Stage {
    /// The server; dropped before its networks.
    pub server: DhcpServer,
    /// Where it serves.
    pub networks: TwoNetworks,
}

impl Stage {
    /// Starts ours.
    pub fn reveille(served: &Served) -> Self {
        Self::of(Product::Reveille(env!("CARGO_BIN_EXE_reveille").into()), served)
    }

    /// Starts a server.
    pub fn of(product: Product, served: &Served) -> Self {
        let run = Run::start().expect("a lab: root and the lab's packages are needed");
        let networks = TwoNetworks::create(&run).expect("two networks");
        for scope in served.scopes.iter().filter(|scope| ![BMC_HOST, PROVISIONING_HOST].contains(&scope.server)) {
            let on = if scope.interface.is_empty() { PROVISIONING_BRIDGE } else { &scope.interface };
            let address = format!("addr add {}/24 dev {on}", scope.server);
            networks.host().ip(&[&address]).expect("the server's address in a further subnet");
        }
        let server = DhcpServer::start(&run, networks.host(), product, served).expect("a DHCP server");
        Self { server, networks }
    }

    /// A client on the provisioning network, with [`mac`] number `n`.
    pub fn client(&self, name: &str, n: u8) -> Client {
        Client::on_provisioning_network(&self.networks, name, mac(n)).expect("a client")
    }

    /// A client on the BMCs' network, with [`mac`] number `n`.
    pub fn bmc(&self, name: &str, n: u8) -> Client {
        Client::on_bmc_network(&self.networks, name, mac(n)).expect("a client")
    }

    /// dhcpd's record of a lease, by address or hardware address.
    pub fn lease(&self, of: impl ToString) -> Lease {
        let of = of.to_string();
        self.ask(self.api().lease(&of)).unwrap_or_else(|error| panic!("the lease of {of}: {error}"))
    }

    /// All events so far, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.ask(self.api().events_of(&EventQuery::all_known())).expect("dhcpd's events").events
    }
}

impl Deref for Stage {
    type Target = DhcpServer;

    fn deref(&self) -> &DhcpServer {
        &self.server
    }
}

//! [`Served`]: what a DHCP server serves on the lab's networks, as data that knows nothing of the server.
//!
//! Reveille's table `[dhcpd]` and Kea's configuration come from the same description, so that the same case can be put to both. What only
//! one of them can say goes into `reveille` and `kea`, in its own words.
//!
//! Every network of the lab is a /24, so that a scope needs no more than its first three octets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use reveille_config::MacAddr;
use serde_json::{Value, json};

use crate::net::{BMC_BRIDGE, BMC_HOST, PROVISIONING_BRIDGE, PROVISIONING_HOST};

/// The value of a configured option.
#[derive(Debug, Clone)]
pub enum OptionValue {
    /// Addresses.
    Addresses(Vec<Ipv4Addr>),
    /// A string.
    Text(String),
    /// A number.
    Number(u32),
    /// Octets, in hexadecimal, for an option that is named by its number.
    Hex(String),
}

/// A reservation by hardware address.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// Whose.
    pub mac: MacAddr,
    /// What.
    pub address: Ipv4Addr,
    /// Its host name.
    pub hostname: Option<String>,
}

/// One subnet.
#[derive(Debug, Clone)]
pub struct ServedScope {
    /// Its name.
    pub name: String,
    /// Whether only reserved machines are served.
    pub is_static: bool,
    /// Whether it gives boot files alone, beside another server that gives the addresses. Kea has no such subnets.
    pub is_proxy: bool,
    /// The interface; empty for relays on any.
    pub interface: String,
    /// The first three octets of its /24.
    pub network: [u8; 3],
    /// The server identifier.
    pub server: Ipv4Addr,
    /// The link that it shares with the other scopes which name it.
    pub shared_network: Option<String>,
    /// First and last number of each pool in the /24.
    pub pools: Vec<(u8, u8)>,
    /// The same for pools that are for one class only, with its name.
    pub class_pools: Vec<(u8, u8, String)>,
    /// Default lease time, seconds.
    pub lease_secs: u32,
    /// Shortest and longest lease time, seconds.
    pub lease_secs_limits: (u32, u32),
    /// Options by IANA name in kebab case, or by number with [`OptionValue::Hex`].
    pub options: Vec<(String, OptionValue)>,
    /// Reservations.
    pub reservations: Vec<Reserved>,
    /// Further lines of Reveille's table `[[dhcpd.scope]]`.
    pub reveille: String,
    /// Further members of Kea's object in `subnet4`.
    pub kea: Value,
}

/// What a server serves.
#[derive(Debug, Clone)]
pub struct Served {
    /// The subnets.
    pub scopes: Vec<ServedScope>,
    /// Threads.
    pub workers: u8,
    /// Where else Reveille's lease API listens, beside its socket.
    pub api: Vec<String>,
    /// Further tables of Reveille's configuration, before the scopes.
    pub reveille: String,
    /// Further members of Kea's object `Dhcp4`.
    pub kea: Value,
}

impl ServedScope {
    /// The network of the machines: dynamic, 10.77.2.100 to 10.77.2.199.
    pub fn provisioning() -> Self {
        Self {
            name: "provisioning".into(),
            is_static: false,
            is_proxy: false,
            interface: PROVISIONING_BRIDGE.into(),
            network: [10, 77, 2],
            server: PROVISIONING_HOST,
            shared_network: None,
            pools: vec![(100, 199)],
            class_pools: Vec::new(),
            lease_secs: 3_600,
            lease_secs_limits: (300, 86_400),
            options: Vec::new(),
            reservations: Vec::new(),
            reveille: String::new(),
            kea: json!({}),
        }
    }

    /// The network of the BMCs: static, 10.77.1.100 to 10.77.1.199 for those that are approved.
    pub fn bmc() -> Self {
        Self {
            name: "bmc".into(),
            is_static: true,
            interface: BMC_BRIDGE.into(),
            network: [10, 77, 1],
            server: BMC_HOST,
            ..Self::provisioning()
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, name: &str, value: OptionValue) -> Self {
        self.options.push((name.to_owned(), value));
        self
    }

    /// Adds a reservation of the address with this number.
    #[must_use]
    pub fn reserve(mut self, mac: MacAddr, number: u8, hostname: Option<&str>) -> Self {
        let address = self.address(number);
        self.reservations.push(Reserved { mac, address, hostname: hostname.map(Into::into) });
        self
    }

    /// The address with this number.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, number)
    }

    /// Its table, without its reservations' tables when there are none.
    pub fn toml(&self) -> String {
        let kind = match (self.is_proxy, self.is_static) {
            (true, _) => "proxy",
            (false, true) => "static",
            (false, false) => "dynamic",
        };
        let mut text = format!("[[dhcpd.scope]]\nname = \"{}\"\nkind = \"{kind}\"\n", self.name);
        let range = |first, last| format!("\"{}-{}\"", self.address(first), self.address(last));
        let pools = self.pools.iter().map(|&(first, last)| range(first, last));
        let class_pools = self.class_pools.iter();
        let class_pools = class_pools
            .map(|&(first, last, ref class)| format!("{{ range = {}, allow = [\"{class}\"] }}", range(first, last)));
        let pools: Vec<_> = pools.chain(class_pools).collect();
        let shared = self.shared_network.as_ref().map(|name| format!("shared_network = \"{name}\"\n"));
        let (min, max) = self.lease_secs_limits;
        let _ = write!(
            text,
            "{}subnet = \"{}/24\"\nserver_address = \"{}\"\npools = [{}]\nlease_secs = {}\n\
             lease_secs_min = {min}\nlease_secs_max = {max}\n{}{}",
            if self.interface.is_empty() { String::new() } else { format!("interface = \"{}\"\n", self.interface) },
            self.address(0),
            self.server,
            pools.join(", "),
            self.lease_secs,
            shared.unwrap_or_default(),
            self.reveille,
        );
        if !self.options.is_empty() {
            text += "\n[dhcpd.scope.options]\n";
        }
        for (name, value) in &self.options {
            let value = match value {
                OptionValue::Addresses(addresses) => json!(addresses).to_string(),
                OptionValue::Text(value) => json!(value).to_string(),
                OptionValue::Number(value) => value.to_string(),
                OptionValue::Hex(octets) => format!("\"hex:{octets}\""),
            };
            let _ = writeln!(text, "{name} = {value}");
        }
        for own in &self.reservations {
            let _ =
                write!(text, "\n[[dhcpd.scope.reservation]]\nmac = \"{}\"\naddress = \"{}\"\n", own.mac, own.address);
            if let Some(name) = &own.hostname {
                let _ = writeln!(text, "hostname = \"{name}\"");
            }
        }
        text
    }

    fn kea(&self, id: usize) -> Value {
        let pool = |&(first, last): &(u8, u8)| {
            let mut pool = json!({ "pool": format!("{} - {}", self.address(first), self.address(last)) });
            if self.is_static {
                pool["client-class"] = json!("KNOWN");
            }
            pool
        };
        let class_pool = |&(first, last, ref class): &(u8, u8, String)| {
            let range = format!("{} - {}", self.address(first), self.address(last));
            json!({ "pool": range, "client-class": class })
        };
        let option = |(name, value): &(String, OptionValue)| match value {
            OptionValue::Addresses(addresses) => {
                let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                json!({ "name": name, "data": list.join(", ") })
            }
            OptionValue::Text(value) => json!({ "name": name, "data": value }),
            OptionValue::Number(value) => json!({ "name": name, "data": value.to_string() }),
            OptionValue::Hex(octets) => {
                json!({ "code": name.parse::<u8>().unwrap_or(0), "csv-format": false, "data": octets })
            }
        };
        let reservation = |own: &Reserved| {
            let mut entry = json!({ "hw-address": own.mac.to_string(), "ip-address": own.address });
            if let Some(name) = &own.hostname {
                entry["hostname"] = json!(name);
            }
            entry
        };
        let mut subnet = json!({
            "id": id,
            "subnet": format!("{}/24", self.address(0)),
            "pools": self.pools.iter().map(pool).chain(self.class_pools.iter().map(class_pool)).collect::<Vec<_>>(),
            "option-data": self.options.iter().map(option).collect::<Vec<_>>(),
            "reservations": self.reservations.iter().map(reservation).collect::<Vec<_>>(),
            "valid-lifetime": self.lease_secs,
            "min-valid-lifetime": self.lease_secs_limits.0,
            "max-valid-lifetime": self.lease_secs_limits.1,
            "calculate-tee-times": true,
        });
        merge(&mut subnet, &self.kea);
        subnet
    }
}

impl Served {
    /// The lab's two networks.
    pub fn two_networks() -> Self {
        Self::of([ServedScope::bmc(), ServedScope::provisioning()])
    }

    /// These subnets, by two threads.
    pub fn of(scopes: impl IntoIterator<Item = ServedScope>) -> Self {
        Self {
            scopes: scopes.into_iter().collect(),
            workers: 2,
            api: Vec::new(),
            reveille: String::new(),
            kea: json!({}),
        }
    }

    /// Reveille's table `[dhcpd]`, with its state and API below `dir`.
    pub fn toml(&self, dir: &Path) -> String {
        let (dir, scopes) = (dir.display(), self.scopes.iter().map(ServedScope::toml).collect::<Vec<_>>().join("\n"));
        let api: String = self.api.iter().map(|endpoint| format!(", \"{endpoint}\"")).collect();
        format!(
            "[dhcpd]\nstate_dir = \"{dir}/state/dhcpd\"\napi = [\"unix:{dir}/dhcpd.sock\"{api}]\nworkers = {}\n{}\n{scopes}",
            self.workers, self.reveille,
        )
    }

    /// Kea's configuration, with its state below `dir`: told to be as Reveille is by default where it can be told.
    pub fn kea(&self, dir: &Path) -> Value {
        let mut interfaces: Vec<_> = self.scopes.iter().map(|scope| scope.interface.as_str()).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        interfaces.retain(|name| !name.is_empty());
        let (mut subnets, mut shared) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for (scope, id) in self.scopes.iter().zip(1..) {
            match &scope.shared_network {
                Some(name) => shared.entry(name).or_default().push(scope.kea(id)),
                None => subnets.push(scope.kea(id)),
            }
        }
        let shared = shared.into_iter().map(|(name, subnets)| json!({ "name": name, "subnet4": subnets }));
        let mut dhcp4 = json!({
            "interfaces-config": { "interfaces": interfaces, "dhcp-socket-type": "raw" },
            "lease-database": { "type": "memfile", "persist": true, "name": dir.join("kea-leases.csv"), "lfc-interval": 0 },
            "multi-threading": { "enable-multi-threading": true, "thread-pool-size": 2 },
            "match-client-id": false,
            "authoritative": false,
            "cache-threshold": 0.25,
            "subnet4": subnets,
            "shared-networks": shared.collect::<Vec<_>>(),
            "loggers": [{ "name": "kea-dhcp4", "severity": "INFO", "output_options": [{ "output": "stdout" }] }],
        });
        merge(&mut dhcp4, &self.kea);
        json!({ "Dhcp4": dhcp4 })
    }
}

/// Puts the members of `more` into `object`, replacing those of the same name.
fn merge(object: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_mistake_and_says_what_was_described() {
        let scope = ServedScope::provisioning()
            .option("routers", OptionValue::Addresses(vec![PROVISIONING_HOST]))
            .option("domain-name", OptionValue::Text("rack.test".into()))
            .option("interface-mtu", OptionValue::Number(1_400))
            .option("224", OptionValue::Hex("0a0b".into()))
            .reserve(MacAddr([0x52, 0x54, 0, 0, 0, 1]), 60, Some("node-1"));
        let served = Served::of([ServedScope::bmc(), scope]);
        let text = served.toml(Path::new("/run/lab"));
        let read = reveille_config::Config::parse(&text, Path::new("lab.toml"), &reveille_config::environment::System);
        let dhcpd = read.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}")).dhcpd.unwrap();
        assert_eq!(dhcpd.scopes[1].options.iter().count(), 4);
        assert_eq!(dhcpd.scopes[1].reservations[0].address, Ipv4Addr::new(10, 77, 2, 60));
        let kea = served.kea(Path::new("/run/lab"));
        assert_eq!(kea["Dhcp4"]["subnet4"][1]["reservations"][0]["ip-address"], "10.77.2.60");
        assert_eq!(kea["Dhcp4"]["subnet4"][0]["pools"][0]["client-class"], "KNOWN");
    }
}

//! Where the daemons listen: who may listen where, and that no two want the same address.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use super::reader::{Reader, Table, Value};
use crate::Endpoint;
use crate::limit::LIST_ITEMS_MAX;
use crate::mistake::Source;

/// Every address of the file, with the key that wants it.
#[derive(Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
}

struct Listener {
    what: &'static str,
    place: Place,
    span: Range<usize>,
}

#[derive(PartialEq)]
enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    /// Whether the system would refuse the second of the two.
    fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) | (Self::Udp(a), Self::Udp(b)) => {
                let both = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() == b.port() && a.port() != 0 && both
            }
            (Self::Unix(a), Self::Unix(b)) => a == b,
            _ => false,
        }
    }
}

impl Listeners {
    /// `api` of a daemon that authenticates nobody: unix sockets and loopback addresses.
    pub fn api(&mut self, table: &Table<'_, '_>, what: &'static str, default: &str) -> Vec<Endpoint> {
        let example = format!("\"{default}\"");
        let Some(value) = table.get("api") else {
            table.defaulted("api");
            return self.default_api(what, default, table.span.clone());
        };
        let mut endpoints = Vec::new();
        for item in filled_list(&value, &example).unwrap_or_default() {
            let Some(endpoint) = endpoint(&item, &example) else { continue };
            if let Endpoint::Https(authority) = &endpoint {
                let what = format!("`{what}` has no TLS yet");
                item.wrong::<()>(
                    what,
                    format!("use a unix socket or a loopback address: \"127.0.0.1:{}\"", authority.port),
                );
                continue;
            }
            if let Endpoint::Tcp(address) = &endpoint
                && !address.ip().is_loopback()
            {
                item.wrong::<()>(
                    format!(
                        "`{what}` would be open to everybody who reaches {address}: the API has no authentication yet"
                    ),
                    format!(
                        "use a unix socket or a loopback address: \"{default}\" or \"127.0.0.1:{}\"",
                        address.port()
                    ),
                );
                continue;
            }
            self.add(what, &endpoint, item.span());
            endpoints.push(endpoint);
        }
        endpoints
    }

    /// Where an API listens that the file does not mention.
    pub fn default_api(&mut self, what: &'static str, default: &str, span: Range<usize>) -> Vec<Endpoint> {
        let endpoint: Endpoint = default.parse().expect("a default is well-formed");
        self.add(what, &endpoint, span);
        vec![endpoint]
    }

    /// The endpoints of the lease API: plain TCP on the loopback alone, since a token goes over it.
    pub fn lease_api(&mut self, value: &Value<'_, '_>, default: &str) -> Vec<Endpoint> {
        let example = format!("\"{default}\"");
        let mut endpoints = Vec::new();
        for item in filled_list(value, &example).unwrap_or_default() {
            let Some(endpoint) = endpoint(&item, &example) else { continue };
            match &endpoint {
                Endpoint::Tcp(address) if !address.ip().is_loopback() => {
                    item.wrong::<()>(
                        format!("tokens would go over the network to {address} for everybody to read"),
                        format!("plain TCP is for the loopback; with TLS it is \"https://{address}\""),
                    );
                    continue;
                }
                Endpoint::Https(authority) if authority.address().is_none() => {
                    item.wrong::<()>(
                        format!("`{}` is not an address of this host", authority.host),
                        format!("name the address: \"https://10.77.1.1:{}\"", authority.port),
                    );
                    continue;
                }
                _ => {}
            }
            self.add("dhcpd.api", &endpoint, item.span());
            endpoints.push(endpoint);
        }
        endpoints
    }

    fn add(&mut self, what: &'static str, endpoint: &Endpoint, span: Range<usize>) {
        let place = match endpoint {
            Endpoint::Unix(path) => Place::Unix(path.clone()),
            Endpoint::Tcp(address) => Place::Tcp(*address),
            // A host that is a name was refused.
            Endpoint::Https(authority) => Place::Tcp(authority.address().unwrap_or(SocketAddr::from(([0; 4], 0)))),
        };
        self.all.push(Listener { what, place, span });
    }

    /// TCP addresses that machines reach.
    pub fn tcp(&mut self, value: &Value<'_, '_>, what: &'static str) -> Vec<SocketAddr> {
        self.addresses(value, what, "\"10.77.2.1:8080\"", Place::Tcp)
    }

    /// UDP addresses that machines reach.
    pub fn udp(&mut self, value: &Value<'_, '_>, what: &'static str) -> Vec<SocketAddr> {
        self.addresses(value, what, "\"10.77.2.1:69\"", Place::Udp)
    }

    fn addresses(
        &mut self,
        value: &Value<'_, '_>,
        what: &'static str,
        example: &str,
        place: fn(SocketAddr) -> Place,
    ) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for item in filled_list(value, example).unwrap_or_default() {
            let Some(address) = item.parsed::<SocketAddr>("an address with a port", example) else { continue };
            if free_port(&item, address.value) {
                self.all.push(Listener { what, place: place(address.value), span: item.span() });
                addresses.push(address.value);
            }
        }
        addresses
    }

    /// Notes each address that two want.
    pub fn check(&self, reader: &Reader<'_>, source: &Source<'_>) {
        for (at, second) in self.all.iter().enumerate() {
            let Some(first) = self.all[..at].iter().find(|first| first.place.clashes(&second.place)) else { continue };
            let place = match &second.place {
                Place::Tcp(address) => format!("TCP {address}"),
                Place::Udp(address) => format!("UDP {address}"),
                Place::Unix(path) => format!("the socket {}", path.display()),
            };
            let line = source.line_of(first.span.start);
            reader.wrong(
                second.span.clone(),
                format!("`{}` wants {place}, which `{}` on line {line} has already", second.what, first.what),
                "give each an address or a port of its own",
            );
        }
    }
}

/// An endpoint, with a port that can be found.
pub(super) fn endpoint(value: &Value<'_, '_>, example: &str) -> Option<Endpoint> {
    let endpoint = value.parsed::<Endpoint>("an endpoint: `unix:/absolute/path` or `address:port`", example)?.value;
    match &endpoint {
        Endpoint::Https(authority) if authority.address().is_some_and(|address| !free_port(value, address)) => None,
        Endpoint::Tcp(address) if !free_port(value, *address) => None,
        // sun_path of unix(7) holds 108 octets with the closing zero.
        Endpoint::Unix(path) if path.as_os_str().len() > 107 => {
            value.wrong("the path of the unix socket is too long for the system", "it has 107 octets at most")
        }
        _ => Some(endpoint),
    }
}

/// Port 0 means "any": only tests on the loopback can use it.
fn free_port(value: &Value<'_, '_>, address: SocketAddr) -> bool {
    let good = address.port() != 0 || address.ip().is_loopback();
    if !good {
        value.wrong::<()>(format!("`{address}` has port 0: nobody could know where it is"), "name the port");
    }
    good
}

/// A list of at most [`LIST_ITEMS_MAX`] items.
pub(super) fn short_list<'r, 'i>(value: &Value<'r, 'i>, example: &str) -> Option<Vec<Value<'r, 'i>>> {
    let items = value.list(example)?;
    match items.len() {
        length if length > LIST_ITEMS_MAX => {
            value.wrong(format!("`{}` has {length} items", value.name), format!("{LIST_ITEMS_MAX} at most"))
        }
        _ => Some(items),
    }
}

/// A list with at least one item, and at most [`LIST_ITEMS_MAX`].
pub(super) fn filled_list<'r, 'i>(value: &Value<'r, 'i>, example: &str) -> Option<Vec<Value<'r, 'i>>> {
    let items = value.list(example)?;
    match items.len() {
        0 => value
            .wrong(format!("`{}` is an empty list", value.name), format!("for example: {} = [{example}]", value.name)),
        length if length > LIST_ITEMS_MAX => {
            value.wrong(format!("`{}` has {length} items", value.name), format!("{LIST_ITEMS_MAX} at most"))
        }
        _ => Some(items),
    }
}

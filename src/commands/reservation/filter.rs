//! Which reservations `reveille reservation list` shows.

use std::net::Ipv4Addr;

use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{Origin, Reservation};

use super::put::pair;

/// What a reservation must be like; all that is given must hold.
#[derive(clap::Args, Default)]
pub struct Filter {
    /// For this client only, by any of its identities
    #[arg(long, value_name = "CLIENT")]
    client: Option<ReservedFor>,
    /// Of this address only
    #[arg(long)]
    address: Option<Ipv4Addr>,
    /// With this host name only
    #[arg(long)]
    hostname: Option<String>,
    /// Of this node only
    #[arg(long)]
    node: Option<String>,
    /// With this label only; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Those made over the API only, not the configuration's
    #[arg(long)]
    api_only: bool,
}

impl Filter {
    /// Whether it is meant.
    pub fn shows(&self, own: &Reservation) -> bool {
        let same = |wanted: &Option<String>, own: &Option<String>| wanted.is_none() || wanted == own;
        let named = |name: &String| own.hostname.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        self.client.as_ref().is_none_or(|client| own.identities().contains(client))
            && self.address.is_none_or(|address| address == own.address)
            && self.hostname.as_ref().is_none_or(named)
            && same(&self.node, &own.node)
            && self.labels.iter().all(|(name, value)| own.labels.get(name) == Some(value))
            && !(self.api_only && own.origin != Origin::Api)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_is_given_must_hold() {
        let own = json!({ "mac": "52:54:00:00:00:01", "client_id": "01aa", "scope": "prov", "address": "10.0.0.1", "hostname": "n1",
            "node": "x", "labels": { "rack": "r1", "row": "2" }, "origin": "config" });
        let own: Reservation = serde_json::from_value(own).unwrap();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let client = |text: &str| Filter { client: text.parse().ok(), ..Filter::default() };
        for (filter, shown) in [
            (Filter::default(), true),
            (client("client-id:01aa"), true),
            (client("52:54:00:00:00:01"), true),
            (client("52:54:00:00:00:02"), false),
            (Filter { address: Some([10, 0, 0, 2].into()), ..Filter::default() }, false),
            (Filter { hostname: Some("N1".into()), node: Some("x".into()), ..Filter::default() }, true),
            (Filter { hostname: Some("n1".into()), node: Some("y".into()), ..Filter::default() }, false),
            (Filter { labels: vec![label("rack", "r1"), label("row", "2")], ..Filter::default() }, true),
            (Filter { labels: vec![label("rack", "r1"), label("row", "3")], ..Filter::default() }, false),
            (Filter { api_only: true, ..Filter::default() }, false),
        ] {
            assert_eq!(filter.shows(&own), shown);
        }
    }
}

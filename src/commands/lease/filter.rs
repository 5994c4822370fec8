//! [`Filter`]: which leases a command is about, with the filters that the API has.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use reveille_client::LeaseQuery;
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::LeaseState;

/// Which leases; all that is given must hold.
#[derive(clap::Args)]
#[command(next_help_heading = "Which leases")]
pub struct Filter {
    /// Of this scope only
    #[arg(long)]
    scope: Option<String>,
    /// Of this address
    #[arg(long)]
    address: Option<Ipv4Addr>,
    /// Of this machine
    #[arg(long)]
    mac: Option<MacAddr>,
    /// Of the client with this identifier (option 61), hexadecimal
    #[arg(long, value_name = "HEX")]
    client_id: Option<String>,
    /// With this host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Whose reservation bears this node id
    #[arg(long)]
    node: Option<String>,
    /// Whose reservation bears this label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Option<String>,
    /// In this state
    #[arg(long)]
    state: Option<State>,
}

/// What became of a lease.
#[derive(Clone, Copy, ValueEnum)]
enum State {
    Bound,
    Released,
    Expired,
    Declined,
}

impl Filter {
    /// The same as the client asks for it.
    pub fn query(self) -> LeaseQuery {
        let Self { scope, address, mac, client_id, hostname, node, label, state } = self;
        let state = state.map(|state| match state {
            State::Bound => LeaseState::Bound,
            State::Released => LeaseState::Released,
            State::Expired => LeaseState::Expired,
            State::Declined => LeaseState::Declined,
        });
        LeaseQuery { scope, address, mac, client_id, hostname, node, label, state }
    }
}

//! [`Asker`]: a machine behind a relay of its own that asks for an address at once after its reservation was answered.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::reservation;
use crate::contender::SERVER;
use crate::io::wire::Wire;
use crate::packet::{self, DISCOVER, Message, OFFER};
use crate::stage::SECOND_RELAY;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way of these machines to the server.
pub struct Asker {
    wire: Wire,
    asked: u32,
}

impl Asker {
    /// Behind the second relay.
    ///
    /// # Errors
    /// There is none: this is another namespace than the load's.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self { wire: Wire::relay(SECOND_RELAY, SERVER, false)?, asked: 0 })
    }

    /// Has the n-th machine ask; it must be offered what was reserved for it.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&mut self, n: u32) -> anyhow::Result<()> {
        let own = reservation(n);
        let (chaddr, address) = (own.mac.unwrap_or_default(), own.address.unwrap_or(Ipv4Addr::UNSPECIFIED));
        self.asked += 1;
        let (xid, none) = (self.asked, Ipv4Addr::UNSPECIFIED);
        self.wire.push(&Message { kind: DISCOVER, xid, chaddr, ciaddr: none, requested: none, server: none })?;
        self.wire.flush()?;
        let begun = Instant::now();
        let mut offered = None;
        while offered.is_none() {
            if begun.elapsed() > PATIENCE {
                bail!("{chaddr}, for which {address} is reserved, was offered nothing");
            }
            self.wire.wait(PATIENCE)?;
            self.wire.receive(|octets| {
                let offer = packet::read(octets).filter(|reply| reply.kind == OFFER && reply.xid == xid);
                offered = offered.or(offer.map(|offer| offer.yiaddr));
            })?;
        }
        if offered != Some(address) {
            bail!("{chaddr} was offered {} where {address} is reserved for it", offered.unwrap_or(none));
        }
        Ok(())
    }
}

//! The one door from a durable promise to a reply that can be sent (DESIGN.md, rule 3).

use super::journal::Durable;
use crate::proto::reply::{Ack, Reply};

/// Opens a DHCPACK whose promise the disk holds.
pub fn open(ack: Durable<Ack>) -> Reply {
    ack.into_inner().open()
}

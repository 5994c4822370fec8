//! The packet path's counters, looked up once, so that counting is one atomic addition.

use metrics::{Counter, counter, describe_counter};

use crate::proto::reason::{ChosenBy, DropReason, NakReason};
use crate::proto::view::MessageType;

const TYPES: [MessageType; 5] =
    [MessageType::Discover, MessageType::Request, MessageType::Decline, MessageType::Release, MessageType::Inform];

/// One worker's handles; all workers count into the same metrics.
#[derive(Debug)]
pub struct Counters {
    received: [Counter; TYPES.len()],
    dropped: Vec<Counter>,
    naks: Vec<Counter>,
    acks: Vec<Counter>,
    /// DHCPOFFERs.
    pub offers: Counter,
    /// DHCPACKs to DHCPINFORM.
    pub informs: Counter,
    /// Packets handed over to the worker that owns the client.
    pub handed_over: Counter,
    /// New unknown machines that were not written down.
    pub sightings_shed: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        describe_counter!("reveille_dhcpd_received_total", "Messages read, by type");
        describe_counter!("reveille_dhcpd_dropped_total", "Packets not answered, by reason");
        describe_counter!("reveille_dhcpd_offers_total", "DHCPOFFERs made");
        describe_counter!("reveille_dhcpd_acks_total", "DHCPACKs made, by what allowed them");
        describe_counter!("reveille_dhcpd_naks_total", "DHCPNAKs made, by reason");
        describe_counter!("reveille_dhcpd_informs_total", "DHCPINFORMs answered");
        describe_counter!(
            "reveille_dhcpd_handed_over_total",
            "Packets received by a worker that does not own the client"
        );
        describe_counter!(
            "reveille_dhcpd_sightings_shed_total",
            "New unknown machines not written down: too many at once"
        );
        Self {
            received: TYPES.map(|kind| counter!("reveille_dhcpd_received_total", "type" => kind.as_str())),
            dropped: DropReason::ALL
                .iter()
                .map(|reason| counter!("reveille_dhcpd_dropped_total", "reason" => reason.as_str()))
                .collect(),
            naks: NakReason::ALL
                .iter()
                .map(|reason| counter!("reveille_dhcpd_naks_total", "reason" => reason.as_str()))
                .collect(),
            acks: ChosenBy::ALL
                .iter()
                .map(|by| counter!("reveille_dhcpd_acks_total", "chosen_by" => by.as_str()))
                .collect(),
            offers: counter!("reveille_dhcpd_offers_total"),
            informs: counter!("reveille_dhcpd_informs_total"),
            handed_over: counter!("reveille_dhcpd_handed_over_total"),
            sightings_shed: counter!("reveille_dhcpd_sightings_shed_total"),
        }
    }
}

impl Counters {
    /// A message was read.
    pub fn received(&self, kind: MessageType) {
        if let Some(at) = TYPES.iter().position(|&listed| listed == kind) {
            self.received[at].increment(1);
        }
    }

    /// A packet was not answered.
    pub fn dropped(&self, reason: DropReason) {
        self.dropped[reason as usize].increment(1);
    }

    /// A DHCPNAK was made.
    pub fn nak(&self, reason: NakReason) {
        self.naks[reason as usize].increment(1);
    }

    /// A DHCPACK was made.
    pub fn ack(&self, by: ChosenBy) {
        self.acks[by as usize].increment(1);
    }
}

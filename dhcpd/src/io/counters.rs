//! The packet path's counters, looked up once, so that counting is one atomic addition.

use metrics::{Counter, counter, describe_counter};

use crate::proto::conflict::Method;
use crate::proto::reason::{ChosenBy, DropReason, Fault, Faults, NakReason};
use crate::proto::view::MessageType;

/// One worker's handles; all workers count into the same metrics.
#[derive(Debug)]
pub struct Counters {
    received: [Counter; MessageType::ALL.len()],
    faults: Vec<Counter>,
    dropped: Vec<Counter>,
    naks: Vec<Counter>,
    acks: Vec<Counter>,
    /// DHCPOFFERs.
    pub offers: Counter,
    /// DHCPACKs to DHCPINFORM.
    pub informs: Counter,
    /// Checks begun, by how it is asked.
    conflict_checks: [Counter; 2],
    /// Addresses found in use by a machine without a lease.
    pub conflicts: Counter,
    /// Packets handed over to the worker that owns the client.
    pub handed_over: Counter,
    /// Packets that the kernel dropped because a socket's receive buffer was full.
    pub kernel_drops: Counter,
    /// New unknown machines that were not written down.
    pub sightings_shed: Counter,
    /// Dealings that lease queries do not tell of, because the journal had no room to spare.
    pub dealings_shed: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        describe_counter!("reveille_dhcpd_received_total", "Messages read, by type");
        describe_counter!("reveille_dhcpd_dropped_total", "Packets not answered, by reason");
        describe_counter!(
            "reveille_dhcpd_faults_total",
            "Bad options and other faults of packets that were looked at all the same"
        );
        describe_counter!("reveille_dhcpd_offers_total", "DHCPOFFERs made");
        describe_counter!("reveille_dhcpd_acks_total", "DHCPACKs made, by what allowed them");
        describe_counter!("reveille_dhcpd_naks_total", "DHCPNAKs made, by reason");
        describe_counter!("reveille_dhcpd_informs_total", "DHCPINFORMs answered");
        describe_counter!(
            "reveille_dhcpd_conflict_checks_total",
            "Addresses checked before their first offer, by means"
        );
        describe_counter!(
            "reveille_dhcpd_conflicts_total",
            "Addresses found in use by a machine without a lease of it"
        );
        describe_counter!(
            "reveille_dhcpd_handed_over_total",
            "Packets received by a worker that does not own the client"
        );
        describe_counter!(
            "reveille_dhcpd_kernel_drops_total",
            "Packets dropped by the kernel: a socket's receive buffer was full, or far more DHCPDISCOVERs came than can be served"
        );
        describe_counter!(
            "reveille_dhcpd_sightings_shed_total",
            "New unknown machines not written down: too many at once"
        );
        describe_counter!(
            "reveille_dhcpd_dealings_shed_total",
            "Dealings with bound clients not written down for lease queries: the journal had no room to spare"
        );
        Self {
            faults: Fault::ALL
                .iter()
                .map(|fault| counter!("reveille_dhcpd_faults_total", "fault" => fault.as_str()))
                .collect(),
            received: MessageType::ALL.map(|kind| counter!("reveille_dhcpd_received_total", "type" => kind.as_str())),
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
            conflict_checks: ["arp", "icmp"].map(|by| counter!("reveille_dhcpd_conflict_checks_total", "by" => by)),
            conflicts: counter!("reveille_dhcpd_conflicts_total"),
            handed_over: counter!("reveille_dhcpd_handed_over_total"),
            kernel_drops: counter!("reveille_dhcpd_kernel_drops_total"),
            sightings_shed: counter!("reveille_dhcpd_sightings_shed_total"),
            dealings_shed: counter!("reveille_dhcpd_dealings_shed_total"),
        }
    }
}

impl Counters {
    /// A message was read.
    pub fn received(&self, kind: MessageType) {
        self.received[kind as usize].increment(1);
    }

    /// Something was wrong with a packet that was looked at all the same.
    pub fn faults(&self, faults: Faults) {
        if !faults.is_empty() {
            faults.iter().for_each(|fault| self.faults[fault as usize].increment(1));
        }
    }

    /// A packet was not answered.
    pub fn dropped(&self, reason: DropReason) {
        self.dropped[reason as usize].increment(1);
    }

    /// So many packets were not answered.
    pub fn dropped_many(&self, reason: DropReason, count: usize) {
        if count > 0 {
            self.dropped[reason as usize].increment(count as u64);
        }
    }

    /// The check of an address began.
    pub fn conflict_checks(&self, by: Method) {
        self.conflict_checks[by as usize].increment(1);
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

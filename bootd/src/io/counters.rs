//! [`Counters`]: bootd's metrics, looked up once. Created after the metrics recorder is installed.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::http::ConnectionError;
use crate::proto::path::PathRefusal;
use crate::proto::tftp::DropReason;
use crate::store::Protocol;

/// The outcome of a download that came to its end.
const COMPLETE: &str = "complete";

/// All of them.
pub struct Counters {
    tftp_dropped: Vec<Counter>,
    /// ERROR messages sent, by code.
    pub tftp_retransmitted_blocks: Counter,
    /// Read requests refused at the limit of transfers.
    pub tftp_refused_at_limit: Counter,
    /// Sends that the system refused; the datagram counts as lost.
    pub tftp_send_errors: Counter,
    /// Connections refused at the limit.
    pub http_refused_at_limit: Counter,
    http_connection_errors: Vec<Counter>,
    /// Connections open.
    pub http_connections: Gauge,
    bytes_http: Counter,
    bytes_tftp: Counter,
    /// Downloads that came to their end, which most do.
    complete_http: Counter,
    complete_tftp: Counter,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// Registers them with the recorder in force.
    pub fn new() -> Self {
        describe_counter!("reveille_bootd_tftp_dropped_total", "TFTP datagrams that changed nothing, by reason");
        describe_counter!("reveille_bootd_requests_refused_total", "Requests answered with an error, by reason");
        describe_counter!("reveille_bootd_transfers_total", "Downloads that ended, by outcome");
        describe_counter!("reveille_bootd_uploads_total", "Files written into the drop-box that ended, by outcome");
        describe_counter!("reveille_bootd_bytes_sent_total", "Octets of files and scripts sent");
        describe_counter!(
            "reveille_bootd_http_connection_errors_total",
            "HTTP connections that ended with an error, by reason"
        );
        describe_gauge!("reveille_bootd_http_connections", "HTTP connections of machines that are open");
        describe_gauge!("reveille_bootd_event_readers", "Readers of the event stream that wait for the next event");
        Self {
            tftp_dropped: DropReason::ALL
                .iter()
                .map(|reason| counter!("reveille_bootd_tftp_dropped_total", "reason" => reason.label()))
                .collect(),
            tftp_retransmitted_blocks: counter!("reveille_bootd_tftp_blocks_repeated_total"),
            tftp_refused_at_limit: counter!("reveille_bootd_tftp_refused_at_limit_total"),
            tftp_send_errors: counter!("reveille_bootd_tftp_send_errors_total"),
            http_refused_at_limit: counter!("reveille_bootd_http_refused_at_limit_total"),
            http_connection_errors: ConnectionError::ALL
                .iter()
                .map(|reason| counter!("reveille_bootd_http_connection_errors_total", "reason" => reason.label()))
                .collect(),
            http_connections: gauge!("reveille_bootd_http_connections"),
            bytes_http: counter!("reveille_bootd_bytes_sent_total", "protocol" => "http"),
            bytes_tftp: counter!("reveille_bootd_bytes_sent_total", "protocol" => "tftp"),
            complete_http: counter!("reveille_bootd_transfers_total", "protocol" => "http", "outcome" => COMPLETE),
            complete_tftp: counter!("reveille_bootd_transfers_total", "protocol" => "tftp", "outcome" => COMPLETE),
        }
    }

    /// A TFTP datagram changed nothing.
    pub fn tftp_drop(&self, reason: DropReason) {
        self.tftp_dropped[reason as usize].increment(1);
    }

    /// A connection ended with an error.
    pub fn http_connection_failed(&self, reason: ConnectionError) {
        self.http_connection_errors[reason as usize].increment(1);
    }

    /// A request was answered with an error.
    pub fn refused(&self, protocol: Protocol, reason: &'static str) {
        counter!("reveille_bootd_requests_refused_total", "protocol" => protocol.name(), "reason" => reason)
            .increment(1);
    }

    /// A path was refused.
    pub fn path_refused(&self, protocol: Protocol, refusal: PathRefusal) {
        self.refused(protocol, refusal.label());
    }

    /// A file was written into the drop-box, or not.
    pub fn received(&self, outcome: &'static str, bytes: u64) {
        counter!("reveille_bootd_uploads_total", "outcome" => outcome).increment(1);
        counter!("reveille_bootd_bytes_received_total").increment(bytes);
    }

    /// A download ended.
    pub fn ended(&self, protocol: Protocol, outcome: &'static str, bytes: u64) {
        match (outcome, protocol) {
            (COMPLETE, Protocol::Http) => self.complete_http.increment(1),
            (COMPLETE, Protocol::Tftp) => self.complete_tftp.increment(1),
            _ => counter!("reveille_bootd_transfers_total", "protocol" => protocol.name(), "outcome" => outcome)
                .increment(1),
        }
        match protocol {
            Protocol::Http => self.bytes_http.increment(bytes),
            Protocol::Tftp => self.bytes_tftp.increment(bytes),
        }
    }
}

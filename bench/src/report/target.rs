//! What must be reached, and whether it is.

use serde_json::{Map, Value, json};

/// A bound on a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One thing that must be reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// The figure's key in the results.
    pub figure: &'static str,
    /// In words.
    pub title: &'static str,
    bound: Bound,
    value: Option<f64>,
}

impl Target {
    /// The bound as text.
    pub fn wanted(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {}", super::pretty(bound)),
            Bound::AtMost(bound) => format!("≤ {}", super::pretty(bound)),
        }
    }

    /// What was measured.
    pub fn got(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), super::pretty)
    }

    /// Whether it is reached; `None` if it was not measured.
    pub fn reached(&self) -> Option<bool> {
        self.value.map(|value| match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        })
    }
}

/// All of them, held against the results.
pub fn targets(results: &Map<String, Value>) -> Vec<Target> {
    // The ACK may wait for the commit under way and for its own.
    let sync_ms = results.get("fdatasync_us_p50").and_then(Value::as_f64).unwrap_or(0.0) / 1e3;
    let table = [
        ("dora_vs_kea", "new leases, times Kea", Bound::AtLeast(11.0)),
        ("dora_vs_ceiling", "new leases, share of the stateless responder", Bound::AtLeast(0.70)),
        ("dora_gso_vs_kea", "new leases with segmentation offload, times Kea", Bound::AtLeast(17.0)),
        ("renew_vs_kea", "renewals, times Kea", Bound::AtLeast(10.0)),
        (
            "avalanche_20k_s",
            "20,000 clients at once, seconds until all are bound (set up as where nothing is said)",
            Bound::AtMost(0.25),
        ),
        (
            "ack_p99_ms_at_50k",
            "ACK at 50,000/s, 99th percentile, ms (2 ms and two fdatasyncs)",
            Bound::AtMost(2.0 + 2.0 * sync_ms),
        ),
        ("offer_p99_ms_at_50k", "OFFER at 50,000/s, 99th percentile, ms", Bound::AtMost(1.0)),
        ("goodput_at_overload", "goodput under overload, share of the peak", Bound::AtLeast(0.80)),
        ("table_bytes_per_lease", "octets of the packet path for a plain lease", Bound::AtMost(128.0)),
        ("replay_million_s", "restart with a million leases, seconds", Bound::AtMost(1.5)),
        ("bmc_cold_vs_ipmipower", "1,000 BMCs from cold, times ipmipower", Bound::AtLeast(1.0)),
        ("bmc_warm_vs_cold", "1,000 BMCs with sessions reused, times from cold", Bound::AtLeast(5.0)),
        ("bmc_poll_10k_core_share", "10,000 BMCs each asked once a minute, share of a core", Bound::AtMost(0.05)),
        ("bmc_poll_10k_mib", "10,000 BMCs each asked once a minute, MiB", Bound::AtMost(100.0)),
        ("bmc_dead_slowdown", "living BMCs beside a tenth of dead ones, times alone", Bound::AtMost(1.05)),
        (
            "reservation_put_p99_ms",
            "a reservation put, durable and in force, 99th percentile, ms (2 ms and two fdatasyncs)",
            Bound::AtMost(2.0 + 2.0 * sync_ms),
        ),
        ("reservation_batch_100k_s", "100,000 reservations in one batch, seconds", Bound::AtMost(2.0)),
        (
            "watch_lag_p99_ms",
            "events at 10 watchers of everything and 100 filtered ones, 99th percentile of the lag, ms",
            Bound::AtMost(100.0),
        ),
        ("lease_list_per_s", "a million leases listed, leases a second", Bound::AtLeast(500_000.0)),
        ("lease_list_latency_cost", "99th percentile of DHCP meanwhile, times without", Bound::AtMost(1.2)),
        ("lease_list_rss_growth_mib", "memory that it takes meanwhile, MiB", Bound::AtMost(16.0)),
        ("http_large_vs_nginx_c1", "a large file over one connection, times nginx", Bound::AtLeast(1.0)),
        ("http_large_vs_nginx_c1000", "a large file over 1,000 connections, times nginx", Bound::AtLeast(1.0)),
        ("http_cpu_per_gb_vs_nginx", "CPU for each GB of it, the worse of the two, times nginx", Bound::AtMost(1.0)),
        ("http_script_vs_nginx", "scripts rendered a second, times nginx's static files", Bound::AtLeast(0.9)),
        ("tftp_w1_vs_tftpd_hpa", "TFTP, 200 and 1,000 machines, times tftpd-hpa (the worse)", Bound::AtLeast(4.0)),
        ("tftp_w1_vs_dnsmasq", "the same, times dnsmasq", Bound::AtLeast(1.2)),
        ("tftp_w1_cpu_vs_dnsmasq", "CPU for each GB of it, times dnsmasq", Bound::AtMost(0.85)),
        ("tftp_w16_vs_atftpd", "TFTP with windows of 16 blocks, times atftpd", Bound::AtLeast(2.5)),
        ("tftp_w16_cpu_vs_ceiling", "CPU for each GB of it, times a bare responder without GSO", Bound::AtMost(0.8)),
        ("tftp_w16_vs_w1_single", "one machine, windows of 16 blocks, times windows of one", Bound::AtLeast(8.0)),
        ("tftp_10k_sessions_mib", "10,000 TFTP sessions at once, MiB", Bound::AtMost(64.0)),
        ("scaling_two_workers", "two workers, times one", Bound::AtLeast(1.7)),
    ];
    let value = |figure: &str| results.get(figure).and_then(Value::as_f64);
    table.map(|(figure, title, bound)| Target { figure, title, bound, value: value(figure) }).into()
}

/// The same for programs.
pub fn targets_json(targets: &[Target]) -> Value {
    let entry = |target: &Target| {
        let entry = json!({ "wanted": target.wanted(), "got": target.value, "reached": target.reached() });
        (target.figure.to_owned(), entry)
    };
    Value::Object(targets.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_kept_or_not_or_unknown() {
        let results = json!({ "dora_vs_kea": 12.0, "avalanche_20k_s": 0.3, "fdatasync_us_p50": 500.0,
                              "ack_p99_ms_at_50k": 2.9 });
        let targets = targets(results.as_object().expect("an object"));
        let reached = |figure| targets.iter().find(|target| target.figure == figure).expect(figure).reached();
        assert_eq!(reached("dora_vs_kea"), Some(true));
        assert_eq!(reached("avalanche_20k_s"), Some(false));
        assert_eq!(reached("ack_p99_ms_at_50k"), Some(true), "2 ms and two syncs of 0.5 ms");
        assert_eq!(reached("renew_vs_kea"), None);
    }
}

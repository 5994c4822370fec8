//! The table, on the terminal and in BENCHMARKS.md.

mod boot;

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::{Target, at, number, pretty};
use crate::contender::Contender;

const BEGIN: &str = "<!-- results: written by `make bench` -->";
const END: &str = "<!-- end of results -->";

/// Puts the table in place of the generated part of the page.
///
/// # Errors
/// The page has no generated part, or cannot be written.
pub fn renew_page(page: &Path, results: &Value, targets: &[Target]) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let new = replaced(&old, &text(results, targets))
        .with_context(|| format!("{} has no lines `{BEGIN}` and `{END}`", page.display()))?;
    std::fs::write(page, new).with_context(|| format!("cannot write {}", page.display()))
}

fn replaced(old: &str, part: &str) -> Option<String> {
    let (head, rest) = old.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{part}\n{END}{tail}"))
}

/// The tables: Markdown, which reads well on a terminal too.
pub fn text(results: &Value, targets: &[Target]) -> String {
    let mut out = String::new();
    machine(&mut out, results);
    reached(&mut out, targets);
    throughput(&mut out, results);
    latency(&mut out, results);
    avalanche(&mut out, results);
    lease_api(&mut out, results);
    boot::boot_files(&mut out, results);
    rest(&mut out, results);
    out
}

fn yes(durable: Option<&Value>) -> &'static str {
    if durable.and_then(Value::as_bool) == Some(true) { "yes" } else { "no" }
}

fn machine(out: &mut String, results: &Value) {
    let of = |key: &str| at(results, &["machine", key]).map_or_else(String::new, |value| value.to_string());
    let plain = |key| of(key).trim_matches('"').to_owned();
    let sync = |key| number(results, &[key]).map_or_else(|| "–".into(), pretty);
    let _ = writeln!(
        out,
        "Machine: {}, {} cores, Linux {}; {}; write and fdatasync of 4 KiB there: median {} µs, 99th percentile {} µs; load average at \
         the start {}. A durable write each millisecond, measured before each turn of the latencies: median {} ms, 99th percentile {} ms, 99.9th {} ms. \
         Medians of {} rounds.\n",
        plain("processor"),
        of("cores"),
        plain("kernel"),
        plain("disk"),
        sync("fdatasync_us_p50"),
        sync("fdatasync_us_p99"),
        of("load_average_at_start"),
        sync("disk_sync_p50_ms"),
        sync("disk_sync_p99_ms"),
        sync("disk_sync_p999_ms"),
        number(results, &["rounds"]).map_or_else(|| "–".into(), pretty),
    );
}

fn reached(out: &mut String, targets: &[Target]) {
    let _ = writeln!(out, "| must reach (durable, one worker on one core) | wanted | got | |\n|---|---|---|---|");
    for target in targets {
        let verdict = match target.reached() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "not measured",
        };
        let _ = writeln!(
            out,
            "| {} (`{}`) | {} | {} | {verdict} |",
            target.title,
            target.figure,
            target.wanted(),
            target.got()
        );
    }
    out.push('\n');
}

fn throughput(out: &mut String, results: &Value) {
    for (unit, title) in [("dora", "new leases"), ("renew", "renewals")] {
        if at(results, &[unit]).is_none() {
            continue;
        }
        let _ = writeln!(
            out,
            "| {title} | per second | server CPU µs each | p50 / p99 ms | outstanding | generator busy | every ACK on disk |\n\
             |---|---|---|---|---|---|---|"
        );
        for who in Contender::ALL {
            let Some(entry) = at(results, &[unit, who.key()]) else { continue };
            let figure =
                |key: &str, scale: f64| number(entry, &[key]).map_or_else(|| "–".into(), |v| pretty(v / scale));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} / {} | {} | {} % | {} |",
                who.title(),
                figure(&format!("{unit}_per_s"), 1.0),
                figure(&format!("cpu_us_per_{unit}"), 1.0),
                figure("p50_us", 1e3),
                figure("p99_us", 1e3),
                figure("window", 1.0),
                figure("generator_busy", 0.01),
                yes(entry.get("durable")),
            );
        }
        out.push('\n');
    }
}

fn latency(out: &mut String, results: &Value) {
    let Some(contenders) = at(results, &["latency"]).and_then(Value::as_object) else { return };
    let _ = writeln!(
        out,
        "| open loop, ms from when the message was due | OFFER p50 / p99 / p99.9 | ACK p50 / p99 / p99.9 | on disk |\n|---|---|---|---|"
    );
    for (who, rates) in contenders {
        for rate in ["1000", "10000", "50000"] {
            let Some(entry) = rates.get(rate) else { continue };
            let part = |name: &str| {
                ["p50_ms", "p99_ms", "p999_ms"]
                    .map(|key| number(entry, &[name, key]).map_or_else(|| "–".into(), pretty))
                    .join(" / ")
            };
            let per_second = rate.parse().map_or_else(|_| rate.to_owned(), pretty);
            let _ = writeln!(
                out,
                "| {who} at {per_second}/s | {} | {} | {} |",
                part("offer"),
                part("ack"),
                yes(entry.get("durable"))
            );
        }
    }
    out.push('\n');
}

fn avalanche(out: &mut String, results: &Value) {
    let Some(contenders) = at(results, &["avalanche"]).and_then(Value::as_object) else { return };
    let _ = writeln!(out, "| 20,000 clients at once | all bound after, s | on disk |\n|---|---|---|");
    for (who, entry) in contenders {
        let after = number(entry, &["all_bound_s"]).map(pretty).unwrap_or_else(|| {
            let figure = |key| number(entry, &[key]).map_or_else(|| "–".into(), pretty);
            format!("> {} ({} bound by then)", figure("within_s"), figure("bound"))
        });
        let _ = writeln!(out, "| {who} | {after} | {} |", yes(entry.get("durable")));
    }
    out.push('\n');
}

/// The lease API under load, and what DHCP took meanwhile.
fn lease_api(out: &mut String, results: &Value) {
    let Some(rate) = number(results, &["api", "rate_per_s"]) else { return };
    let _ = writeln!(
        out,
        "| lease API beside {} new leases a second, ms | p50 | p99 | DORA p50 / p99 meanwhile | alone |\n|---|---|---|---|---|",
        pretty(rate)
    );
    let figure = |path: &[&str]| number(results, path).map_or_else(|| "–".into(), pretty);
    let dora = |of: &str, phase: &str| {
        format!("{} / {}", figure(&[of, "dora_p50_ms", phase]), figure(&[of, "dora_p99_ms", phase]))
    };
    let mut row = |title: &str, p50: String, p99: String, of: &str, phase: &str| {
        let _ = writeln!(out, "| {title} | {p50} | {p99} | {} | {} |", dora(of, phase), dora(of, "alone"));
    };
    let put = |share: &str| figure(&[&format!("reservation_put_{share}_ms")]);
    row("one reservation put, durable and in force", put("p50"), put("p99"), "api", "put");
    let batch = number(results, &["reservation_batch_100k_s"]).map_or_else(|| "–".into(), |secs| pretty(secs * 1e3));
    row("100,000 reservations in one batch", batch, "–".into(), "api", "batch");
    for (title, who) in
        [("10 watchers of everything", "lag_ms_of_all"), ("100 filtered watchers", "lag_ms_of_filtered")]
    {
        let lag = |share: &str| figure(&["api", who, share]);
        row(&format!("lag of {title}"), lag("p50_ms"), lag("p99_ms"), "api", "watch");
    }
    let listed = number(results, &["lease_list_per_s"]).zip(number(results, &["lease_list", "leases"]));
    let listed = listed.map_or_else(|| "–".into(), |(rate, leases)| pretty(leases / rate * 1e3));
    row("a million leases listed", listed, "–".into(), "lease_list", "list");
    out.push('\n');
}

/// What is a figure or two each.
fn rest(out: &mut String, results: &Value) {
    let mut line = |title: &str, paths: &[(&str, &[&str])]| {
        let figures: Vec<String> = paths
            .iter()
            .filter_map(|(name, path)| Some(format!("{name} {}", pretty(number(results, path)?))))
            .collect();
        if !figures.is_empty() {
            let _ = writeln!(out, "- {title}: {}", figures.join(", "));
        }
    };
    line(
        "Overload",
        &[
            ("goodput, share of the peak", &["goodput_at_overload"]),
            ("at so many times the peak", &["overload_factor"]),
        ],
    );
    line(
        "Memory at a million leases, octets each",
        &[("packet path", &["table_bytes_per_lease"]), ("whole process", &["rss_bytes_per_lease"])],
    );
    line("Restart", &[("seconds with them", &["replay_million_s"]), ("empty", &["replay", "empty_start_s"])]);
    line(
        "Two workers, CPU µs for a lease",
        &[("one", &["scaling", "cpu_us_per_dora_one"]), ("two", &["scaling", "cpu_us_per_dora_two"])],
    );
    line(
        "Calibration on Kea, leases a second",
        &[("ours", &["calibration", "ours_open_loop_per_s"]), ("perfdhcp", &["calibration", "perfdhcp_per_s"])],
    );
    line(
        "Other loads, a second",
        &[
            ("mixed", &["other_loads", "relayed_mixed", "per_s"]),
            ("with release or decline", &["other_loads", "relayed_release_decline", "per_s"]),
            ("direct clients", &["other_loads", "direct_new", "per_s"]),
            ("their renewals", &["other_loads", "direct_renew", "per_s"]),
        ],
    );
    let Some(scenarios) = at(results, &["scenarios"]).and_then(Value::as_object) else { return };
    let _ = writeln!(
        out,
        "\n| bad times | ACK p99 ms before | during | after | recovered | bound twice |\n|---|---|---|---|---|---|"
    );
    for (name, entry) in scenarios {
        let p99 = |phase: &str| number(entry, &[phase, "ack_p99_ms"]).map_or_else(|| "–".into(), pretty);
        let recovered = yes(entry.get("recovered"));
        let _ =
            writeln!(out, "| {name} | {} | {} | {} | {recovered} | 0 |", p99("before"), p99("during"), p99("after"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_api_has_its_table_once_it_is_measured() {
        let mut out = String::new();
        lease_api(&mut out, &serde_json::json!({}));
        assert_eq!(out, "");
        let phases = serde_json::json!({ "alone": 1.0, "put": 1.5, "list": 2.5 });
        let results = serde_json::json!({
            "reservation_put_p50_ms": 0.5, "reservation_put_p99_ms": 1.25, "lease_list_per_s": 500_000.0,
            "api": { "rate_per_s": 20_000, "dora_p50_ms": phases, "dora_p99_ms": phases },
            "lease_list": { "leases": 1_000_000, "dora_p50_ms": phases, "dora_p99_ms": phases },
        });
        lease_api(&mut out, &results);
        assert!(out.contains("in force | 0.5 | 1.25 | 1.5 / 1.5 | 1 / 1 |\n"), "{out}");
        assert!(out.contains("a million leases listed | 2,000 | – | 2.5 / 2.5 | 1 / 1 |\n"), "{out}");
    }

    #[test]
    fn only_the_generated_part_is_replaced() {
        let old = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&old, "new").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert_eq!(replaced("nothing", "new"), None);
        assert!(replaced(include_str!("../../../BENCHMARKS.md"), "x").is_some(), "the page has its markers");
    }
}

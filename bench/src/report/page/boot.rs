//! The table of the boot server and its peers.

use std::fmt::Write;

use serde_json::Value;

use super::super::{at, number, pretty};

/// A row for each scenario and contender.
pub fn boot_files(out: &mut String, results: &Value) {
    let scenarios = [
        ("boot_tftp", "w1_200", "TFTP, 200 machines"),
        ("boot_tftp", "w1_1000", "TFTP, 1,000 machines"),
        ("boot_tftp", "w16_200", "TFTP, windows of 16, 200 machines"),
        ("boot_tftp", "w16_1000", "TFTP, windows of 16, 1,000 machines"),
        ("boot_tftp", "w1_1", "TFTP, one machine"),
        ("boot_tftp", "w16_1", "TFTP, windows of 16, one machine"),
        ("boot_http", "large_1", "HTTP, a large file, one connection"),
        ("boot_http", "large_1000", "HTTP, a large file, 1,000 connections"),
        ("boot_http", "scripts", "HTTP, scripts (nginx: files)"),
    ];
    let mut begun = false;
    for (part, key, title) in scenarios {
        let Some(contenders) = at(results, &[part, key]).and_then(Value::as_object) else { continue };
        if !std::mem::replace(&mut begun, true) {
            let _ = writeln!(
                out,
                "| boot files, one core | | MB/s | downloads/s | server CPU s per GB | repeated | failed | load busy |\n\
                 |---|---|---|---|---|---|---|---|"
            );
        }
        for (who, entry) in contenders {
            let figure = |key: &str| number(entry, &[key]).map_or_else(|| "–".into(), pretty);
            // Children of tftpd-hpa are not its own: its CPU time is not known.
            let cpu = if who == "tftpd_hpa" { "–".to_owned() } else { figure("cpu_s_per_gb") };
            let _ = writeln!(
                out,
                "| {title} | {who} | {} | {} | {cpu} | {} | {} | {} |",
                figure("mb_per_s"),
                figure("per_s"),
                figure("repeated"),
                figure("failed"),
                figure("busy"),
            );
        }
    }
    if begun {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_contender_has_its_row_once_it_is_measured() {
        let mut out = String::new();
        super::boot_files(&mut out, &serde_json::json!({}));
        assert_eq!(out, "");
        let entry = serde_json::json!({ "mb_per_s": 540.0, "per_s": 540.0, "cpu_s_per_gb": 1.85, "repeated": 0, "failed": 0, "busy": 0.7 });
        let results = serde_json::json!({ "boot_tftp": { "w1_200": { "reveille": entry, "tftpd_hpa": entry } } });
        super::boot_files(&mut out, &results);
        assert!(out.contains("| TFTP, 200 machines | reveille | 540 | 540 | 1.85 | 0 | 0 | 0.7 |\n"), "{out}");
        assert!(out.contains("| tftpd_hpa | 540 | 540 | – |"), "{out}");
    }
}

//! The plot: bars for new leases and renewals a second, on a logarithmic scale because the contenders are three powers of ten apart.

use std::fmt::Write;

use serde_json::Value;

use super::{number, pretty};
use crate::contender::Contender;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 40.0;
const TOP: f64 = 60.0;
/// The scale's ends.
const LOWEST: f64 = 100.0;
const HIGHEST: f64 = 1_000_000.0;

fn x(figure: f64) -> f64 {
    let share = (figure.clamp(LOWEST, HIGHEST) / LOWEST).log10() / (HIGHEST / LOWEST).log10();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

/// The plot as SVG.
pub fn plot(results: &Value) -> String {
    let height = TOP + ROW * Contender::ALL.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">Exchanges a second, one core (logarithmic)</text>\n\
         <rect x=\"{LEFT}\" y=\"34\" width=\"10\" height=\"10\" fill=\"#2b6cb0\"/><text x=\"{}\" y=\"43\">new leases</text>\n\
         <rect x=\"{}\" y=\"34\" width=\"10\" height=\"10\" fill=\"#90cdf4\"/><text x=\"{}\" y=\"43\">renewals</text>\n",
        LEFT + 15.0,
        LEFT + 100.0,
        LEFT + 115.0,
    );
    let mut tick = LOWEST;
    while tick <= HIGHEST {
        let at = x(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            height - 30.0,
            height - 14.0,
            pretty(tick)
        );
        tick *= 10.0;
    }
    for (row, who) in Contender::ALL.into_iter().enumerate() {
        let y = TOP + ROW * row as f64 + 6.0;
        let star = if who.durable() { " · on disk" } else { "" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{star}</text>",
            LEFT - 8.0,
            y + 18.0,
            who.title()
        );
        for (unit, offset, colour) in [("dora", 0.0, "#2b6cb0"), ("renew", 14.0, "#90cdf4")] {
            let Some(figure) = number(results, &[unit, who.key(), &format!("{unit}_per_s")]) else { continue };
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{}</text>",
                y + offset,
                x(figure) - LEFT,
                x(figure) + 4.0,
                y + offset + 10.0,
                pretty(figure)
            );
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measured_contender_has_its_bars() {
        let results = serde_json::json!({ "dora": { "reveille": { "dora_per_s": 200_000.0 } } });
        let svg = plot(&results);
        assert_eq!(svg.matches("fill=\"#2b6cb0\"").count(), 2, "the legend and one bar");
        assert!(svg.contains(">200,000<") && svg.ends_with("</svg>\n"));
        assert!(x(LOWEST) < x(1_000.0) && x(1e9) <= WIDTH - RIGHT);
    }
}

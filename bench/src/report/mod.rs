//! The results for people: targets, a table, the generated part of BENCHMARKS.md, a plot.

mod page;
mod plot;
mod target;

pub use page::{renew_page, text};
pub use plot::plot;
pub use target::{Target, targets, targets_json};

use serde_json::Value;

/// The figure at a path of keys, e.g. `["dora", "reveille", "dora_per_s"]`.
fn at<'a>(results: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(results, |value, key| value.get(key)).filter(|value| !value.is_null())
}

fn number(results: &Value, path: &[&str]) -> Option<f64> {
    at(results, path)?.as_f64()
}

/// A number as people read it: thousands apart, and no more digits than it is worth.
fn pretty(figure: f64) -> String {
    if figure.abs() < 100.0 {
        let digits = if figure.abs() < 1.0 { 3 } else { 2 };
        let text = format!("{figure:.digits$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let whole = format!("{figure:.0}");
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_readable() {
        for (figure, expected) in [
            (0.5, "0.5"),
            (0.0, "0"),
            (3.75, "3.75"),
            (20.0, "20"),
            (254_000.4, "254,000"),
            (1_234_567.0, "1,234,567"),
            (128.0, "128"),
        ] {
            assert_eq!(super::pretty(figure), expected);
        }
    }
}

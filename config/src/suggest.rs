//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest of `known` to `word`, if near enough to be what was meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: String = word.to_lowercase().replace('-', "_").chars().take(64).collect();
    let distance_max = (word.chars().count() / 3).max(1);
    let score = |candidate: &str| {
        let plain = candidate.replace('-', "_");
        let begins = word.len() >= 3 && (plain.starts_with(&word) || word.starts_with(&plain));
        let distance = distance(&word, &plain);
        (distance <= distance_max || begins).then_some(if begins { distance.min(distance_max) } else { distance })
    };
    known.into_iter().filter_map(|candidate| Some((score(candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_fetched() {
        let known = ["lease_secs", "lease_secs_min", "interface", "subnet", "pools", "state_dir", "api"];
        for (word, meant) in [
            ("pool", Some("pools")),
            ("iterface", Some("interface")),
            ("subnte", Some("subnet")),
            ("lease", Some("lease_secs")),
            ("lease-secs", Some("lease_secs")),
            ("STATE_DIR", Some("state_dir")),
            ("apis", Some("api")),
            ("colour", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}

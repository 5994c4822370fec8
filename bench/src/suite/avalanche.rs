//! 20,000 clients powered on at once: each sends its DISCOVER at the same moment, and again after 4, 8, 16 and 32 s as boot ROMs do.

use serde_json::{Map, Value, json};

use super::{Bench, median, rounded};
use crate::contender::Contender;
use crate::generate::{Pace, Phase, Retry};
use crate::stage::Clients;

/// Clients.
const CLIENTS: u64 = 20_000;
/// A server that has not bound them all by then has failed.
const LIMIT_MILLIS: u64 = 40_000;
/// The limit of those that were never seen to bind them all, and of all where only a first look is wanted: what they have bound by then is told.
const SHORT_LIMIT_MILLIS: u64 = 10_000;

/// Ours and the peers; those that never finish take one turn.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut map = Map::new();
    let fast = [Contender::Ceiling, bench.kea(), Contender::Reveille, Contender::ReveilleDefault];
    for contender in fast.into_iter().chain([Contender::IscDhcpd, Contender::Dnsmasq]) {
        let rounds = if fast.contains(&contender) { bench.rounds } else { 1 };
        let short = bench.quick || !fast.contains(&contender);
        let limit = if short { SHORT_LIMIT_MILLIS } else { LIMIT_MILLIS };
        let (mut seconds, mut bound) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bench.say(&format!("{}, {CLIENTS} at once", contender.title()));
            let server = bench.stage.start(contender)?;
            let plan = [Phase::new("avalanche", Pace::AtOnce, limit).clients(CLIENTS).retry(Retry::Rom)];
            let outcomes = bench.stage.load(&server, Clients::Relayed, &plan)?;
            server.stop()?;
            seconds.push(outcomes[0].seconds);
            bound.push(outcomes[0].bound as f64);
        }
        // All of every turn, or it does not count as finished.
        let all = bound.iter().all(|bound| *bound >= CLIENTS as f64);
        let seconds = if all { json!(rounded(median(&seconds), 3)) } else { Value::Null };
        match contender {
            // As it is set up where nothing is said.
            Contender::ReveilleDefault => bench.figure("avalanche_20k_s", seconds.clone(), true),
            Contender::Reveille => bench.figure("avalanche_20k_plain_s", seconds.clone(), true),
            _ => {}
        }
        let entry = json!({ "all_bound_s": seconds, "bound": median(&bound), "within_s": limit / 1_000,
                            "durable": contender.durable() });
        map.insert(contender.key().to_owned(), entry);
    }
    bench.results.insert("avalanche".into(), Value::Object(map));
    Ok(())
}

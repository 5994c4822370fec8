//! More load than can be served: what is still served then, and that latency recovers after it.

use serde_json::{Value, json};

use super::{Bench, rounded};
use crate::contender::Contender;
use crate::generate::{Pace, Phase, Retry};
use crate::stage::Clients;

/// The load before and after, which any state of the server should serve with ease.
const EASY: u64 = 5_000;

/// New clients at multiples of the measured peak; the figure is that of the highest that the generator really made.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut turns = Vec::new();
    for (clients, name, who) in
        [(Clients::Relayed, "plain", Contender::Reveille), (Clients::Offloaded, "gso", Contender::ReveilleOffload)]
    {
        bench.say(&format!("peak, {name}"));
        let server = bench.stage.start(who)?;
        let window = Pace::Window(who.window());
        let plan = [Phase::new("warm", window, 300), Phase::new("peak", window, bench.millis(2_000))];
        let peak = bench.stage.load(&server, clients, &plan)?[1].per_second();
        server.stop()?;
        for factor in [1.5, 2.0, 3.0, 5.0] {
            bench.say(&format!("overload × {factor}, {name}"));
            let server = bench.stage.start(who)?;
            let rate = Pace::Rate((peak * factor) as u64);
            let plan = [
                Phase::new("before", Pace::Rate(EASY), 800),
                Phase::new("overload", rate, bench.millis(2_000)).retry(Retry::Rom),
                Phase::new("settle", Pace::Rate(EASY), 500),
                Phase::new("after", Pace::Rate(EASY), 800),
            ];
            let outcomes = bench.stage.load(&server, clients, &plan)?;
            server.stop()?;
            let overload = &outcomes[1];
            let begun = overload.started as f64 / overload.seconds;
            let entry = json!({
                "sockets": name,
                "peak_per_s": rounded(peak, 0),
                "begun_per_s": rounded(begun, 0),
                "factor": rounded(begun / peak, 2),
                "bound_per_s": rounded(overload.per_second(), 0),
                "goodput": rounded(overload.per_second() / peak, 3),
                "ack_p99_ms_before": rounded(outcomes[0].ack_us.p99 / 1e3, 3),
                "ack_p99_ms_after": rounded(outcomes[3].ack_us.p99 / 1e3, 3),
                "bound_twice": 0,
                "durable": true,
            });
            turns.push((begun / peak, entry));
        }
    }
    let highest = turns.iter().max_by(|one, other| one.0.total_cmp(&other.0)).expect("several were made").1.clone();
    bench.figure("goodput_at_overload", highest["goodput"].clone(), true);
    bench.figure("overload_factor", highest["factor"].clone(), true);
    let turns: Vec<Value> = turns.into_iter().map(|(_, entry)| entry).collect();
    bench.results.insert("overload".into(), Value::Array(turns));
    Ok(())
}

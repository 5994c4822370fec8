//! Two workers beside one. With two cores in all, the generator would have to share: so CPU time per lease is compared, which tells
//! what two workers could do on two cores of their own.

use serde_json::json;

use super::{Bench, median, rounded};
use crate::contender::{Contender, Ours};
use crate::generate::{Outcome, Pace, Phase};
use crate::stage::Clients;

/// CPU per lease with one and with two workers.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut cpu = [Vec::new(), Vec::new()];
    let mut rate = [Vec::new(), Vec::new()];
    for _ in 0..bench.rounds {
        for (at, workers) in [1, 2].into_iter().enumerate() {
            bench.say(&format!("{workers} workers"));
            let ours = Ours { workers, ..Ours::default() };
            // Both may use both cores, and the generator takes its share of one of them.
            let server = bench.stage.start_ours(ours, "0,1")?;
            let window = Pace::Window(Contender::Reveille.window());
            let plan = [Phase::new("warm", window, 300), Phase::new("dora", window, bench.millis(3_000))];
            let outcome: Outcome = bench.stage.load(&server, Clients::Relayed, &plan)?.remove(1);
            server.stop()?;
            cpu[at].push(outcome.cpu_micros());
            rate[at].push(outcome.per_second());
        }
    }
    let [one, two] = cpu.map(|figures| median(&figures));
    let [rate_one, rate_two] = rate.map(|figures| median(&figures));
    bench.figure("scaling_two_workers", rounded(2.0 * one / two, 2), true);
    bench.results.insert(
        "scaling".into(),
        json!({ "cpu_us_per_dora_one": rounded(one, 2), "cpu_us_per_dora_two": rounded(two, 2),
                "dora_per_s_one": rounded(rate_one, 0), "dora_per_s_two": rounded(rate_two, 0),
                "how": "2 × CPU per DORA of one worker / CPU per DORA of two; server on both cores, generator on one of them",
                "durable": true }),
    );
    Ok(())
}

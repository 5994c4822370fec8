//! TFTP: many machines that fetch the same file, one block and sixteen at a time; one machine alone; ten thousand at once.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;
use serde_json::{Map, Value, json};

use super::bootd::{Hall, Turns, of, summary, turn};
use super::{Bench, median, rounded};
use crate::fetch::Fetched;
use crate::stage::BootServer::{self, Atftpd, Bare, Dnsmasq, Reveille, TftpdHpa};

/// What machines fetch.
const FILE_BYTES: usize = 1_000_000;
/// Machines at a time.
const HALLS: [u32; 2] = [200, 1_000];
/// Blocks at a time, where it is not one.
const WINDOW: u16 = 16;
/// Sessions whose memory is looked at.
const SESSIONS: u32 = 10_000;

/// A scenario: who takes part, machines, window.
type Scenario = (&'static [BootServer], u32, u16);

/// All of it.
pub fn measure(bench: &mut Bench, hall: &Hall) -> anyhow::Result<()> {
    let file = hall.file("boot.img", FILE_BYTES)?;
    let mut scenarios: Vec<Scenario> = Vec::new();
    for machines in HALLS {
        scenarios.push((&[TftpdHpa, Dnsmasq, Reveille, Bare(1)], machines, 1));
        scenarios.push((&[Atftpd, Reveille, Bare(WINDOW)], machines, WINDOW));
    }
    scenarios.extend([(&[Reveille][..], 1, 1), (&[Reveille][..], 1, WINDOW)]);
    let mut turns: BTreeMap<(u16, u32), Turns> = BTreeMap::new();
    let mut mib = Vec::new();
    for round in 0..bench.rounds {
        for (contenders, machines, window) in &scenarios {
            for who in *contenders {
                bench.say(&format!("TFTP, {machines} machines, window {window}: {} (round {})", who.key(), round + 1));
                let turns = turns.entry((*window, *machines)).or_default();
                turn(bench, hall, turns, *who, |bench, server| {
                    // Ours must bring every download to its end; of peers, those that are under way at the end do not count.
                    let drain = *who == Reveille;
                    let load = load(bench, *machines, *window, drain);
                    bench.stage.fetch_tftp(server, &file, &load)
                })?;
            }
        }
        mib.push(sessions(bench, hall, &file)?);
    }
    write_down(bench, &turns, median(&mib));
    Ok(())
}

fn load(bench: &Bench, machines: u32, window: u16, drain: bool) -> Vec<String> {
    let mut load = vec![
        format!("--machines={machines}"),
        format!("--window={window}"),
        format!("--millis={}", bench.millis(1_500)),
    ];
    if !drain {
        load.push("--no-drain".to_owned());
    }
    load
}

/// Anonymous memory of ours while ten thousand machines fetch, MiB.
fn sessions(bench: &mut Bench, hall: &Hall, file: &Path) -> anyhow::Result<f64> {
    bench.say("TFTP, ten thousand sessions");
    let mut turns = Turns::new();
    turn(bench, hall, &mut turns, Reveille, |bench, server| {
        let load = load(bench, SESSIONS, 1, false);
        let fetched = bench.stage.fetch_tftp(server, file, &load)?;
        ensure!(fetched.active >= u64::from(SESSIONS) * 99 / 100, "only {} sessions at a time", fetched.active);
        Ok(fetched)
    })?;
    Ok(of(&turns, Reveille, |fetched| fetched.server_mib))
}

fn write_down(bench: &mut Bench, turns: &BTreeMap<(u16, u32), Turns>, mib: f64) {
    let mut map = Map::new();
    for ((window, machines), turns) in turns {
        map.insert(format!("w{window}_{machines}"), summary(turns));
    }
    bench.results.insert("boot_tftp".into(), Value::Object(map));
    bench.results.insert(
        "boot_tftp_how".into(),
        json!({ "block": 1_468, "file_bytes": FILE_BYTES, "machines": "an address each, every octet compared",
                "offload": "ours segments (UDP GSO); the machines take plain datagrams" }),
    );
    let rate = |window, machines, who| {
        turns.get(&(window, machines)).map_or(f64::NAN, |turns| of(turns, who, Fetched::mb_per_s))
    };
    let cpu = |window, machines, who| {
        turns.get(&(window, machines)).map_or(f64::NAN, |turns| of(turns, who, Fetched::cpu_per_gb))
    };
    // What must be reached holds for both halls: the worse of the two.
    let least = |figure: &dyn Fn(u32) -> f64| HALLS.map(figure).into_iter().fold(f64::INFINITY, f64::min);
    let most = |figure: &dyn Fn(u32) -> f64| HALLS.map(figure).into_iter().fold(0.0, f64::max);
    let times = |window, peer| least(&|hall| rate(window, hall, Reveille) / rate(window, hall, peer));
    let share = |window, peer| most(&|hall| cpu(window, hall, Reveille) / cpu(window, hall, peer));
    let figures = [
        ("tftp_w1_vs_tftpd_hpa", times(1, TftpdHpa)),
        ("tftp_w1_vs_dnsmasq", times(1, Dnsmasq)),
        ("tftp_w1_cpu_vs_dnsmasq", share(1, Dnsmasq)),
        ("tftp_w16_vs_atftpd", times(WINDOW, Atftpd)),
        ("tftp_w16_cpu_vs_ceiling", share(WINDOW, Bare(WINDOW))),
        ("tftp_w16_vs_w1_single", rate(WINDOW, 1, Reveille) / rate(1, 1, Reveille)),
    ];
    for (name, figure) in figures {
        bench.results.insert(name.into(), rounded(figure, 3).into());
    }
    bench.results.insert("tftp_10k_sessions_mib".into(), rounded(mib, 1).into());
}

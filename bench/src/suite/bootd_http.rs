//! HTTP: a large file over one connection and a thousand, and small scripts, beside nginx.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use reveille_lab::Deadline;
use serde_json::json;

use super::bootd::{Hall, Turns, of, summary, turn};
use super::{Bench, rounded};
use crate::contender::SERVER;
use crate::fetch::Fetched;
use crate::stage::BootServer::{Nginx, Reveille};
use crate::stage::{HTTP_PORT, Server};

/// What is large.
const LARGE_BYTES: usize = 64 << 20;
/// Connections that fetch it.
const HALLS: [u32; 2] = [1, 1_000];
/// Machines whose scripts are fetched: 02:00:00:00:00:10 to :99, as decimal digits that are hexadecimal ones too.
const MACHINES: std::ops::RangeInclusive<u32> = 10..=99;
/// Connections that fetch scripts.
const SCRIPT_CONNECTIONS: u32 = 64;

/// All of it.
pub fn measure(bench: &mut Bench, hall: &Hall) -> anyhow::Result<()> {
    let large = hall.file("large.img", LARGE_BYTES)?;
    let mut files = [Turns::new(), Turns::new()];
    let mut scripts = Turns::new();
    for round in 0..bench.rounds {
        for (turns, connections) in files.iter_mut().zip(HALLS) {
            for who in [Nginx, Reveille] {
                bench.say(&format!("HTTP, {connections} connections: {} (round {})", who.key(), round + 1));
                turn(bench, hall, turns, who, |bench, server| {
                    let millis = bench.millis(1_500);
                    bench.stage.fetch_http(
                        server,
                        &[
                            format!("--connections={connections}"),
                            format!("--millis={millis}"),
                            format!("--fetch=/large.img={}", large.display()),
                        ],
                    )
                })?;
            }
        }
        // Ours renders; nginx serves what ours has rendered as files.
        for who in [Reveille, Nginx] {
            bench.say(&format!("HTTP, scripts: {} (round {})", who.key(), round + 1));
            turn(bench, hall, &mut scripts, who, |bench, server| {
                if who == Reveille {
                    intents(bench, server, &hall.root)?;
                }
                let mut load =
                    vec![format!("--connections={SCRIPT_CONNECTIONS}"), format!("--millis={}", bench.millis(1_500))];
                let script =
                    |n| format!("--fetch=/pxelinux.cfg/{0}={1}/pxelinux.cfg/{0}", name(n), hall.root.display());
                load.extend(MACHINES.map(script));
                bench.stage.fetch_http(server, &load)
            })?;
        }
        // An intent comes before a file; without one the file would be served by ours.
        std::fs::remove_dir_all(hall.root.join("pxelinux.cfg"))?;
    }
    let [alone, thousand] = &files;
    let ratio = |turns: &Turns, figure: fn(&Fetched) -> f64| of(turns, Reveille, figure) / of(turns, Nginx, figure);
    let cpu = ratio(alone, Fetched::cpu_per_gb).max(ratio(thousand, Fetched::cpu_per_gb));
    for (name, figure) in [
        ("http_large_vs_nginx_c1", ratio(alone, Fetched::mb_per_s)),
        ("http_large_vs_nginx_c1000", ratio(thousand, Fetched::mb_per_s)),
        ("http_cpu_per_gb_vs_nginx", cpu),
        ("http_script_vs_nginx", ratio(&scripts, Fetched::per_s)),
    ] {
        bench.results.insert(name.into(), rounded(figure, 3).into());
    }
    bench.results.insert(
        "boot_http".into(),
        json!({ "large_1": summary(alone), "large_1000": summary(thousand), "scripts": summary(&scripts),
                "large_bytes": LARGE_BYTES, "script_connections": SCRIPT_CONNECTIONS,
                "how": "connections kept; bodies thrown away in the kernel but for a sample, which is compared; scripts compared whole" }),
    );
    Ok(())
}

fn name(machine: u32) -> String {
    format!("02-00-00-00-00-{machine}")
}

/// Tells ours what the machines boot, and keeps what it has rendered for each.
fn intents(bench: &Bench, server: &Server, root: &Path) -> anyhow::Result<()> {
    let range = format!("[{}-{}]", MACHINES.start(), MACHINES.end());
    let body = json!({ "action": "kernel", "kernel": "vmlinuz", "initrd": "initrd.img",
                       "cmdline": "console=ttyS0 ipa-api-url=http://10.64.0.1:6385" });
    let status = std::process::Command::new("curl")
        .args(["-sSf", "-X", "PUT", "--unix-socket"])
        .arg(server.state.join("bootd.sock"))
        .args(["--json", &body.to_string(), &format!("http://bootd/v1/intents/02:00:00:00:00:{range}")])
        .stdout(Stdio::null())
        .status()
        .context("curl is missing: install with `make deps`")?;
    ensure!(status.success(), "the intents are not taken");
    let folder = root.join("pxelinux.cfg");
    std::fs::create_dir_all(&folder)?;
    let url = format!("http://{SERVER}:{HTTP_PORT}/pxelinux.cfg/02-00-00-00-00-{range}");
    let curl = bench.stage.beside("curl").args(["-sSf", &url, "-o"]).arg(folder.join("02-00-00-00-00-#1"));
    curl.succeed(Deadline::secs(30))?;
    Ok(())
}

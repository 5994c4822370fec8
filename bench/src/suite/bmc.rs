//! BMCs by the thousand: from cold beside FreeIPMI's ipmipower, with sessions reused, beside dead ones, and ten thousand in view of a whole
//! provisioner. The simulated BMCs have one core, who asks them the other.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reveille_provisioner::proto::node::{Millis, Node, PowerState, ProvisionState};
use reveille_provisioner::store::{Change, Store};
use serde_json::{Value, json};

use super::{Bench, median, rounded};
use crate::bmc::{FIRST, PASSWORD, PORT, USER};
use crate::io::cpu::{cpu_time, resident_bytes};

/// BMCs of the comparison, and the same as a range.
const COUNT: u32 = 1_000;
const HOSTS: &str = "127.96.0.[1-255]:6230,127.96.1.[0-255]:6230,127.96.2.[0-255]:6230,127.96.3.[0-232]:6230";
/// BMCs in view of one provisioner, and how often each is asked.
const FLEET: u32 = 10_000;
const INTERVAL_SECS: u64 = 60;

/// The simulator's process; it ends with its standard input.
struct Simulator(Child);

impl Simulator {
    fn start(count: u32, dead: u16) -> anyhow::Result<Self> {
        let bench = std::env::current_exe()?;
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]).arg(bench).args(["simulate-bmcs", "--count", &count.to_string()]);
        command.args(["--dead", &dead.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("taskset is missing: install with `make deps`")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("a pipe")?).read_line(&mut line)?;
        let simulator = Self(child);
        ensure!(line.trim() == "ready", "the simulator did not start");
        Ok(simulator)
    }

    /// Ends it; what was done to its BMCs.
    fn counts(mut self) -> anyhow::Result<Value> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.as_mut().context("a pipe")?.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// All of it.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    beside_ipmipower(bench)?;
    rounds(bench)?;
    in_view(bench)
}

/// How long a program takes, seconds; its output must have a line for each BMC.
fn timed(program: &Path, args: &[&str]) -> anyhow::Result<f64> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(args).env("IPMI_PASSWORD", PASSWORD);
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("{} cannot be run", program.display()))?;
    let took = begun.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let answers = text.lines().filter(|line| line.ends_with("off")).count();
    if answers != COUNT as usize {
        bail!("{}: {answers} answers: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(took)
}

/// Both as programs, from start to end, taking turns: sessions are opened, used once and given back.
fn beside_ipmipower(bench: &mut Bench) -> anyhow::Result<()> {
    let _simulator = Simulator::start(COUNT, 0)?;
    let reveille = bench.stage.reveille().to_owned();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds * 3 {
        bench.say("a thousand BMCs from cold");
        ours.push(timed(&reveille, &["bmc", "status", HOSTS, "--cipher-suite", "3"])?);
        let password = ["-D", "LAN_2_0", "-u", USER, "-p", PASSWORD, "-l", "ADMIN", "-I", "3"];
        theirs.push(timed(Path::new("ipmipower"), &[&password[..], &["-h", HOSTS, "--stat"]].concat())?);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    bench.results.insert("bmc_cold_vs_ipmipower".into(), rounded(theirs / ours, 2).into());
    bench.results.insert(
        "bmc_cold".into(),
        json!({ "bmcs": COUNT, "reveille_s": rounded(ours, 4), "ipmipower_s": rounded(theirs, 4),
                "how": "whole programs, cipher suite 3, every session opened, used once and closed" }),
    );
    Ok(())
}

/// Within one process: the second round beside the first, and the living beside the dead.
fn rounds(bench: &mut Bench) -> anyhow::Result<()> {
    let ask = |dead: u16, rounds: u32| -> anyhow::Result<Value> {
        let _simulator = Simulator::start(COUNT, dead)?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(std::env::current_exe()?).args(["ask-bmcs", "--count", &COUNT.to_string()]);
        let output = command.args(["--dead", &dead.to_string(), "--rounds", &rounds.to_string()]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let figure = |outcome: &Value, key: &str| {
        let figures: Vec<f64> = outcome[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        median(&figures)
    };
    bench.say("a thousand BMCs again, sessions reused");
    let outcome = ask(0, bench.rounds * 3)?;
    let (cold, warm) = (figure(&outcome, "cold_ms"), figure(&outcome, "warm_ms"));
    bench.results.insert("bmc_warm_vs_cold".into(), rounded(cold / warm, 2).into());
    bench.say("a hundred dead BMCs among a thousand");
    let outcome = ask(100, bench.rounds * 5)?;
    let (alone, beside) = (figure(&outcome, "cold_ms"), figure(&outcome, "beside_dead_ms"));
    bench.results.insert("bmc_dead_slowdown".into(), rounded(beside / alone, 3).into());
    bench.results.insert(
        "bmc_rounds".into(),
        json!({ "bmcs": COUNT, "cold_ms": rounded(cold, 1), "warm_ms": rounded(warm, 1), "dead": 100,
                "living_alone_ms": rounded(alone, 1), "living_beside_dead_ms": rounded(beside, 1) }),
    );
    Ok(())
}

/// Ten thousand nodes in the store of a real provisioner, each BMC asked once a minute, sessions not held.
fn in_view(bench: &mut Bench) -> anyhow::Result<()> {
    bench.say("ten thousand BMCs in view");
    let simulator = Simulator::start(FLEET, 0)?;
    let state = bench.stage.new_state("provisioner")?;
    enrol(&state)?;
    let config = state.with_extension("toml");
    std::fs::write(&config, configuration(&state))?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(bench.stage.reveille()).arg("provisioner").arg("--config").arg(&config);
    let log = std::fs::File::create(state.with_extension("log"))?;
    command.env("BMC_PASSWORD", PASSWORD).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut daemon = command.spawn()?;
    let measured = watch(&mut daemon, bench.millis(45_000));
    let _ = daemon.kill();
    let _ = daemon.wait();
    let counts = simulator.counts()?;
    let (share, mib, secs) = measured?;
    let polled = counts["opened"].as_u64().unwrap_or(0);
    let due = u64::from(FLEET) * secs / INTERVAL_SECS;
    ensure!(polled * 10 >= due * 8, "only {polled} of about {due} BMCs were asked in {secs} s");
    std::fs::remove_dir_all(&state)?;
    bench.results.insert("bmc_poll_10k_core_share".into(), rounded(share, 4).into());
    bench.results.insert("bmc_poll_10k_mib".into(), rounded(mib, 1).into());
    bench.results.insert(
        "bmc_poll_10k".into(),
        json!({ "bmcs": FLEET, "interval_s": INTERVAL_SECS, "measured_s": secs, "polls": polled, "sessions_held": false,
                "how": "the whole provisioner, its store with as many nodes; resident anonymous memory" }),
    );
    Ok(())
}

/// Share of a core, MiB, and seconds since the start. The first seconds, in which it reads its store, do not count.
fn watch(daemon: &mut Child, millis: u64) -> anyhow::Result<(f64, f64, u64)> {
    let settle = Duration::from_secs(5);
    std::thread::sleep(settle);
    ensure!(daemon.try_wait()?.is_none(), "the provisioner ended");
    let (before, begun) = (cpu_time(daemon.id())?, Instant::now());
    std::thread::sleep(Duration::from_millis(millis));
    let (after, took) = (cpu_time(daemon.id())?, begun.elapsed());
    let mib = resident_bytes(daemon.id())? as f64 / (1 << 20) as f64;
    Ok(((after - before).as_secs_f64() / took.as_secs_f64(), mib, (took + settle).as_secs()))
}

/// Nodes that are available and off, as their simulated machines are.
fn enrol(state: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (store, closed) = Store::open(state)?;
        let put = |_: &_| -> Result<_, ()> {
            let mut change = Change::new();
            for n in 0..FLEET {
                let uuid = uuid::Uuid::from_u128(u128::from(n) + 1);
                let mut node = Node::new(u64::from(n) + 1, uuid, "ipmi", Millis(1_700_000_000_000));
                let address = std::net::Ipv4Addr::from_bits(FIRST.to_bits() + n);
                node.driver_info.insert("ipmi_address".into(), json!(address.to_string()));
                node.driver_info.insert("ipmi_port".into(), json!(PORT));
                (node.provision_state, node.power_state) = (ProvisionState::Available, Some(PowerState::Off));
                change.put_node(Arc::new(node));
            }
            Ok((change, ()))
        };
        let _ = store.change(put).await?;
        drop(store);
        closed.wait().await;
        Ok(())
    })
}

fn configuration(state: &Path) -> String {
    format!(
        "[provisioner]\nstate_dir = \"{}\"\napi = [\"unix:{}.sock\"]\nagent_api = [\"127.0.0.1:0\"]\n\
         agent_api_url = \"http://127.0.0.1:1\"\ndhcpd = \"127.0.0.1:1\"\nbootd = \"127.0.0.1:1\"\n\
         boot_url = \"http://127.0.0.1:1\"\nagent_networks = [\"127.0.0.0/8\"]\n\
         [provisioner.power]\nsync_secs = {INTERVAL_SECS}\n\
         [provisioner.ipmi]\nusername = \"{USER}\"\npassword = {{ env = \"BMC_PASSWORD\" }}\n",
        state.display(),
        state.display(),
    )
}

//! The boot server beside its peers: what is common to TFTP and HTTP.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{Bench, bootd_http, bootd_tftp, median, rounded};
use crate::fetch::Fetched;
use crate::stage::BootServer;

/// The measured turns of each contender of one scenario.
pub type Turns = BTreeMap<BootServer, Vec<Fetched>>;

/// The files that all contenders serve.
pub struct Hall {
    /// Their directory.
    pub root: PathBuf,
    /// Where peers are unpacked that cannot be installed side by side.
    pub peers: PathBuf,
}

impl Hall {
    /// A file of octets that repeat nowhere near.
    pub fn file(&self, name: &str, bytes: usize) -> anyhow::Result<PathBuf> {
        let path = self.root.join(name);
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let mut x = bytes as u64 | 1;
        for _ in 0..bytes.div_ceil(8) {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            file.write_all(&x.to_be_bytes())?;
        }
        file.into_inner().context("the file")?.set_len(bytes as u64)?;
        Ok(path)
    }
}

/// All of it.
pub fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let root = bench.stage.new_state("hall")?;
    let hall = Hall { root, peers: bench.peers.clone() };
    bench.stage.open_hall()?;
    bootd_tftp::measure(bench, &hall)?;
    bootd_http::measure(bench, &hall)?;
    std::fs::remove_dir_all(&hall.root).context("cannot remove the hall's files")
}

/// One contender's turn of a scenario. A peer that fails is reported and left out; ours must not.
pub fn turn(
    bench: &mut Bench,
    hall: &Hall,
    turns: &mut Turns,
    who: BootServer,
    load: impl FnOnce(&mut Bench, &crate::stage::Server) -> anyhow::Result<Fetched>,
) -> anyhow::Result<()> {
    let server = bench.stage.start_boot(who, &hall.root, &hall.peers)?;
    let fetched = load(bench, &server).and_then(|fetched| {
        bench.stage.stop_boot(server)?;
        Ok(fetched)
    });
    match fetched {
        Ok(fetched) if fetched.failed == 0 => turns.entry(who).or_default().push(fetched),
        Ok(fetched) => {
            let why = fetched.first_failure.clone().unwrap_or_default();
            let what = format!("{}: {} downloads failed, the first: {why}", who.key(), fetched.failed);
            if who == BootServer::Reveille {
                anyhow::bail!(what);
            }
            turns.entry(who).or_default().push(fetched);
        }
        Err(error) => return Err(error.context(who.key())),
    }
    Ok(())
}

/// The median of a figure of a contender's turns; not a number if it has none.
pub fn of(turns: &Turns, who: BootServer, figure: impl Fn(&Fetched) -> f64) -> f64 {
    median(&turns.get(&who).map(|turns| turns.iter().map(figure).collect::<Vec<_>>()).unwrap_or_default())
}

/// Turns as they are written down.
pub fn summary(turns: &Turns) -> Value {
    let entry = |(who, all): (&BootServer, &Vec<Fetched>)| {
        let of = |figure: fn(&Fetched) -> f64, digits| rounded(of(turns, *who, figure), digits);
        let entry = json!({
            "mb_per_s": of(Fetched::mb_per_s, 0),
            "per_s": of(Fetched::per_s, 0),
            "cpu_s_per_gb": of(Fetched::cpu_per_gb, 3),
            "busy": of(|fetched| fetched.busy, 2),
            "repeated": all.iter().map(|fetched| fetched.repeated).sum::<u64>(),
            "failed": all.iter().map(|fetched| fetched.failed).sum::<u64>(),
            "runs_mb_per_s": all.iter().map(|fetched| rounded(fetched.mb_per_s(), 0)).collect::<Vec<_>>(),
        });
        (who.key().to_owned(), entry)
    };
    Value::Object(turns.iter().map(entry).collect::<Map<_, _>>())
}

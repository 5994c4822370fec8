//! `reveille image add`, `list`, `remove`, `verify` and `gc`: the images below a root of bootd's, beside a bootd that runs or none.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use reveille_bootd::io::fetch::{Fetcher, Known};
use reveille_bootd::proto::digest::Digest;
use reveille_bootd::store::images::{Image, Images};
use reveille_config::{Config, Part};
use serde_json::{Value, json};

use crate::output;

/// Octets read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Where images are.
#[derive(clap::Args)]
pub struct Place {
    /// The configuration whose first root of bootd's holds the images
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REVEILLE_CONFIG",
        default_value = "/etc/reveille/reveille.toml"
    )]
    pub(super) config: PathBuf,
    /// Instead: the directory below which `images/` is
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Add an image: its octets are checked, kept under their SHA-256, and there all at once
    #[command(
        after_help = "bootd then serves it as images/sha256/DIGEST and images/NAME, over HTTP and TFTP. A name that meant another image means this one from then on;\n\
        downloads under way end with what they began with.\n\n\
        Examples:\n  \
        reveille image add debian-12.raw --name debian.raw\n  \
        reveille image add https://images.example.net/debian-12.raw --name debian.raw --sha256 4f…"
    )]
    Add {
        /// A file, or a URL of http or https
        source: String,
        /// What it is called from now on
        #[arg(long)]
        name: Option<String>,
        /// What its SHA-256 must be, or nothing is added
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<Digest>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the images
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove names; or, by its digest, an image with all its names
    Remove {
        /// Names or digests
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Read images and check that they still are what their digests say; exit code 1 if one is not
    Verify {
        /// Names or digests [default: all]
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove images that no name means, and what was left unfinished
    Gc {
        /// Only those that were added so long ago
        #[arg(long, value_name = "SECS", default_value_t = 86_400)]
        older_than: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs one verb.
pub async fn run(place: Place, verb: Verb) -> anyhow::Result<ExitCode> {
    let root = match place.root {
        Some(root) => root,
        None => first_root(&place.config)?,
    };
    let images = Images::open(&root)?;
    match verb {
        Verb::Add { source, name, sha256, json } => {
            let digest = add(&images, &source, name.as_deref(), sha256).await?;
            let image = images.find(&digest.to_string())?;
            match (json, &name) {
                (true, _) => output::json(&shown(&image))?,
                (false, Some(name)) => output::line(&format!("images/{name} is sha256:{digest}"))?,
                (false, None) => {
                    output::line(&format!("images/sha256/{digest}"))?;
                    eprintln!("nothing names it: `reveille image gc` will remove it after a day");
                }
            }
        }
        Verb::List { json } => {
            let all = images.list()?;
            if json { output::json(&all.iter().map(shown).collect::<Vec<_>>())? } else { print(&all)? }
        }
        Verb::Remove { images: names } => {
            for name in names {
                images.remove(&name)?;
            }
        }
        Verb::Verify { images: names, json } => return verify(&images, &names, json),
        Verb::Gc { older_than, json } => {
            let gone = images.collect(Duration::from_secs(older_than), SystemTime::now())?;
            if json { output::json(&gone.iter().map(shown).collect::<Vec<_>>())? } else { print(&gone)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn first_root(config: &Path) -> anyhow::Result<PathBuf> {
    let parsed = Config::load_parts(config, &[Part::Bootd]).map_err(|mistakes| match mistakes.first() {
        Some(first) => anyhow::anyhow!("{}; or say --root", output::in_one_line(first)),
        None => anyhow::anyhow!("{} cannot be used", config.display()),
    })?;
    let roots = parsed.bootd.map(|bootd| bootd.roots).unwrap_or_default();
    roots.into_iter().next().with_context(|| format!("{} has no table [bootd]: say --root", config.display()))
}

async fn add(images: &Images, source: &str, name: Option<&str>, expected: Option<Digest>) -> anyhow::Result<Digest> {
    if let Some(name) = name {
        Images::check_name(name)?;
    }
    let mut ingest = images.begin()?;
    if source.starts_with("http://") || source.starts_with("https://") {
        // A query may be a signature.
        let shown = source.split('?').next().unwrap_or_default();
        let cannot = || format!("cannot fetch {shown}");
        let fetched = Fetcher::new().get(source, Known::Nothing).await.with_context(cannot)?;
        let mut fetched = fetched.with_context(cannot)?;
        let bar = bar(fetched.bytes_total, shown);
        let mut come = 0;
        while let Some(octets) = fetched.next().await.with_context(cannot)? {
            ingest.write(&octets)?;
            come += octets.len() as u64;
            bar.set_position(come);
        }
        bar.finish_and_clear();
        if fetched.bytes_total.is_some_and(|total| total != come) {
            anyhow::bail!("cannot fetch {shown}: it broke off after {come} octets");
        }
    } else {
        let cannot = || format!("cannot read {source}");
        let mut file = std::fs::File::open(source).with_context(cannot)?;
        let bar = bar(Some(file.metadata().with_context(cannot)?.len()), source);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).with_context(cannot)?;
            if read == 0 {
                break;
            }
            ingest.write(&chunk[..read])?;
            bar.inc(read as u64);
        }
        bar.finish_and_clear();
    }
    Ok(ingest.finish(expected, name)?)
}

fn verify(images: &Images, names: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let chosen: Vec<Image> = match names {
        [] => images.list()?,
        names => names.iter().map(|name| images.find(name)).collect::<Result<_, _>>()?,
    };
    let bar = bar(Some(chosen.iter().map(|image| image.bytes).sum()), "verifying");
    let mut outcomes = Vec::new();
    for image in &chosen {
        let good = images.verify(image, |bytes| bar.inc(bytes))?;
        outcomes.push((image, good));
    }
    bar.finish_and_clear();
    if json {
        let with = |(image, good): &(&Image, bool)| {
            let mut shown = shown(image);
            shown["good"] = json!(good);
            shown
        };
        output::json(&outcomes.iter().map(with).collect::<Vec<_>>())?;
    } else {
        let rows = outcomes.iter().map(|(image, good)| {
            [image.digest.to_string(), image.names.join(","), if *good { "good" } else { "DAMAGED" }.to_owned()]
        });
        output::table(["SHA-256", "NAMES", "STATE"], rows, "no images")?;
    }
    Ok(if outcomes.iter().all(|(_, good)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A progress bar on a terminal, nothing elsewhere.
fn bar(bytes: Option<u64>, what: &str) -> ProgressBar {
    let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

fn shown(image: &Image) -> Value {
    json!({
        "sha256": image.digest.to_string(),
        "bytes": image.bytes,
        "names": image.names,
        "added_unix": image.added_unix,
        "path": format!("images/sha256/{}", image.digest),
    })
}

fn print(images: &[Image]) -> anyhow::Result<()> {
    let rows = images.iter().map(|image| {
        let names = if image.names.is_empty() { "-".to_owned() } else { image.names.join(",") };
        [names, image.bytes.to_string(), output::time(image.added_unix), image.digest.to_string()]
    });
    output::table(["NAMES", "OCTETS", "ADDED", "SHA-256"], rows, "no images")
}

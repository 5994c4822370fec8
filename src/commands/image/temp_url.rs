//! `reveille image temp-url`: makes a temporary URL. It asks no daemon: who has the key may sign.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use jiff::Timestamp;
use reveille_config::temp_url::{Algorithm, Grant, ip_range, split};
use reveille_config::{Config, Part};
use serde_json::json;
use zeroize::Zeroizing;

use crate::output;
use crate::target::secret_file;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    reveille image temp-url images/private/os.raw\n  \
    reveille image temp-url images/private/os.raw --prefix images/private/ --until 2026-12-24T18:00:00Z\n  \
    reveille image temp-url v1/AUTH_images/os/debian.raw --url https://swift.example.net --key-file swift.key")]
pub struct Args {
    /// The path, without a leading slash and not encoded
    path: String,
    /// The file with the key, which others cannot read [default: the first of the configuration]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where the path is served [default: bootd's public_url]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long it holds
    #[arg(long, value_name = "SECS", default_value_t = 1_200, value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    seconds: u64,
    /// Until when it holds, as in 2026-12-24T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "seconds")]
    until: Option<Timestamp>,
    /// For which method; GET allows HEAD too
    #[arg(long, default_value = "GET", value_parser = ["GET", "HEAD", "PUT", "POST", "DELETE"])]
    method: String,
    /// For all paths that begin so, and not for this one alone; of a path as Swift's, what follows the container
    #[arg(long)]
    prefix: Option<String>,
    /// From this address or network only, as in 10.77.8.0/21
    #[arg(long, value_name = "NETWORK")]
    ip_range: Option<String>,
    /// The hash: sha1, sha256 or sha512
    #[arg(long, default_value = "sha256", value_parser = str::parse::<Algorithm>)]
    algorithm: Algorithm,
    /// As JSON, with the time at which it ends
    #[arg(long)]
    json: bool,
}

/// Signs and prints; key and URL are those of the configuration where the arguments name none.
pub fn run(args: Args, config: &Path) -> anyhow::Result<ExitCode> {
    let path = format!("/{}", args.path.trim_start_matches('/'));
    if let Some(range) = &args.ip_range
        && ip_range(range).is_none()
    {
        anyhow::bail!("--ip-range {range}: neither an address nor a network, whose host bits are zero");
    }
    if let Some(prefix) = &args.prefix
        && !split(&path).1.starts_with(prefix.as_str())
    {
        anyhow::bail!("--prefix {prefix}: {:?} does not begin so", split(&path).1);
    }
    let (key, url) = match (args.key_file, args.url) {
        (Some(file), Some(url)) => (secret_file("key", &file)?, url),
        (file, url) => {
            let (configured, public_url) = of_configuration(config)?;
            let key = match (file, configured) {
                (Some(file), _) => secret_file("key", &file)?,
                (None, Some(key)) => key,
                (None, None) => {
                    anyhow::bail!("{} has no table [bootd.temp_url]: say --key-file", config.display())
                }
            };
            (key, url.unwrap_or(public_url))
        }
    };
    let expires_unix = match args.until {
        Some(until) => u64::try_from(until.as_second()).context("--until lies before 1970")?,
        None => SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?.as_secs() + args.seconds,
    };
    let grant = Grant {
        method: &args.method,
        expires_unix,
        path: &path,
        prefix: args.prefix.as_deref(),
        ip_range: args.ip_range.as_deref(),
    };
    let url = format!("{}{}", url.trim_end_matches('/'), grant.signed_path(args.algorithm, key.as_bytes()));
    match args.json {
        true => output::json(&json!({ "url": url, "expires_unix": expires_unix }))?,
        false => output::line(&url)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// bootd's first key, where it has one, and its public URL.
fn of_configuration(file: &Path) -> anyhow::Result<(Option<Zeroizing<String>>, String)> {
    let config = Config::load_parts(file, &[Part::Bootd]).map_err(|mistakes| match mistakes.first() {
        Some(first) => anyhow::anyhow!("{}", output::in_one_line(first)),
        None => anyhow::anyhow!("{} cannot be used", file.display()),
    })?;
    let bootd =
        config.bootd.with_context(|| format!("{} has no table [bootd]: say --key-file and --url", file.display()))?;
    let key = bootd.temp_url.and_then(|own| own.keys.first().map(|key| Zeroizing::new(key.expose().to_owned())));
    Ok((key, bootd.public_url))
}

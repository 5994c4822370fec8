//! `reveille webhook test`: tries a receiver as a daemon would, without one.
//!
//! It sends what the configuration says from this host, and touches neither the daemon nor how far its receivers have come.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Subcommand;
use reveille_config::webhook::Webhook;
use reveille_config::{Config, Part};
use reveille_events::webhook;
use serde::Serialize;

use super::reload::Daemon;
use crate::output;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Post one signed test event to a receiver, once, and print its answer
    #[command(after_help = "Exit code: 0 it took the event, 1 it did not, 2 wrong arguments.")]
    Test(Test),
}

#[derive(clap::Args)]
struct Test {
    /// The `name` of its table
    name: String,
    /// Whose web hook, where several daemons have one of that name
    #[arg(long)]
    daemon: Option<Daemon>,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "REVEILLE_CONFIG", default_value = "/etc/reveille/reveille.toml")]
    config: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What came of it. Not the URL, which may be a secret to some receivers.
#[derive(Serialize)]
struct Outcome<'a> {
    daemon: &'static str,
    webhook: &'a str,
    ok: bool,
    /// What it answered, if it did.
    status: Option<u16>,
    millis: u64,
    /// The word of metrics.
    reason: Option<&'static str>,
    error: Option<String>,
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Verb::Test(args) = args.verb;
    let (daemon, hook) = find(&args)?;
    let asked = Instant::now();
    let answer = webhook::test(daemon, &hook).await;
    let millis = asked.elapsed().as_millis() as u64;
    let failure = answer.as_ref().err();
    let outcome = Outcome {
        daemon,
        webhook: &hook.name,
        ok: failure.is_none(),
        status: answer.as_ref().map_or_else(|failure| failure.status(), |status| Some(*status)),
        millis,
        reason: failure.map(|failure| failure.as_str()),
        error: failure.map(ToString::to_string),
    };
    match (&outcome.error, outcome.status) {
        _ if args.json => output::json(&outcome)?,
        (Some(error), _) => bail!("{daemon}'s web hook {}: {error} (after {millis} ms)", hook.name),
        (None, status) => {
            let status = status.unwrap_or_default();
            output::line(&format!("{daemon}'s web hook {} took it: {status} after {millis} ms", hook.name))?;
        }
    }
    Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The hook that is meant, and whose it is.
fn find(args: &Test) -> anyhow::Result<(&'static str, Webhook)> {
    let file = args.config.display();
    let parts = match args.daemon {
        None => Part::ALL.to_vec(),
        Some(daemon) => vec![daemon.part()],
    };
    let config = Config::load_parts(&args.config, &parts).map_err(|mistakes| {
        let first = mistakes.first().map(output::in_one_line).unwrap_or_default();
        anyhow::anyhow!("{first}; `reveille check {file}` shows all that is wrong")
    })?;
    let all = [
        ("dhcpd", config.dhcpd.map(|table| table.webhooks)),
        ("bootd", config.bootd.map(|table| table.webhooks)),
        ("provisioner", config.provisioner.map(|table| table.webhooks)),
    ];
    let all = all
        .into_iter()
        .flat_map(|(daemon, hooks)| hooks.unwrap_or_default().into_iter().map(move |hook| (daemon, hook)));
    let all: Vec<(&str, Webhook)> = all.collect();
    let mut named = all.iter().filter(|(_, hook)| hook.name == args.name);
    match (named.next(), named.next()) {
        (Some(found), None) => Ok(found.clone()),
        (Some((one, _)), Some((other, _))) => {
            bail!("{one} and {other} both have a web hook called {}: say --daemon", args.name)
        }
        _ if all.is_empty() => bail!("{file} has no web hooks: see [[dhcpd.webhook]] in the example"),
        _ => {
            let names: Vec<&str> = all.iter().map(|(_, hook)| &*hook.name).collect();
            bail!("{file} has no web hook called {}; there are: {}", args.name, names.join(", "))
        }
    }
}

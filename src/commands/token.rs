//! `reveille token`: who may use the lease API over TCP.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use reveille_config::dto::token::{Role, Token, TokenCreate};

use crate::output;
use crate::target::DhcpdTarget;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "A conductor on another host, on the host of dhcpd first:\n  \
    reveille token create ironic --role write > /root/ironic.token\n\
    then there, with that file copied:\n  \
    reveille reservation list --api https://dhcp1.example.net:7671 --ca ca.crt --token-file ironic.token\n\n\
    On the unix socket of dhcpd nobody needs a token: its file says who may do everything.")]
pub struct Args {
    #[command(flatten)]
    target: DhcpdTarget,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a token and print it, this once; dhcpd keeps only a hash of it
    Create {
        /// For whom it is, to know it again in the list
        name: String,
        /// What it allows: read (look), write (also change reservations and leases), admin (also make tokens)
        #[arg(long, value_parser = str::parse::<Role>)]
        role: Role,
        /// After how many days it is refused [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: Option<u64>,
        /// As JSON, with its id
        #[arg(long)]
        json: bool,
    },
    /// List the tokens; what they are is shown nowhere
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token; from its next request on it is refused
    Revoke {
        /// Its id, as listed
        id: String,
    },
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dhcpd = args.target.dhcpd()?;
    match args.verb {
        Verb::Create { name, role, days, json } => {
            let now =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("the clock is wrong")?;
            let expires_unix = days.map(|days| now.as_secs() + days * 86_400);
            let made = dhcpd.create_token(&TokenCreate { name, role, expires_unix }).await?;
            if json { output::json(&made)? } else { output::line(&made.secret)? }
        }
        Verb::List { json } => {
            let tokens = dhcpd.tokens().await?.items;
            if json { output::json(&tokens)? } else { print(&tokens)? }
        }
        Verb::Revoke { id } => {
            // A whole token is named by its id too; it is not repeated anywhere.
            let id = id.strip_prefix("rvl_").and_then(|rest| rest.split('_').next()).unwrap_or(&id);
            dhcpd.revoke_token(id).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(tokens: &[Token]) -> anyhow::Result<()> {
    let rows = tokens.iter().map(|token| {
        let Token { id, name, role, created_unix, expires_unix } = token;
        let expires = expires_unix.map_or_else(|| "never".into(), output::time);
        [id.clone(), name.clone(), role.to_string(), output::time(*created_unix), expires]
    });
    output::table(["ID", "NAME", "ROLE", "MADE", "EXPIRES"], rows, "no tokens")
}

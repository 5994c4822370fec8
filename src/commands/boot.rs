//! `reveille boot`: what machines shall boot from the network: bootd's boot intents.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use reveille_client::Bootd;
use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, Intent, IntentPut};

use crate::output;
use crate::target::{Api, Target};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List what machines shall boot
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a machine shall boot
    Get {
        /// Its MAC, its UUID, or its node
        machine: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a machine boot this; it is durable and in force when the command returns
    #[command(group = ArgGroup::new("what").required(true), after_help = "Kernels, ramdisks and scripts are paths below bootd's roots, or URLs. A machine can be \
        named by the UUID of its firmware or by its node too: then all its intents are changed, or it gets one by which it is known when it asks by that name.\n\n\
        Examples:\n  \
        reveille boot put 52:54:00:bb:00:01 --kernel agent/kernel --initrd agent/ramdisk --cmdline 'console=ttyS0 BOOTIF=${mac}'\n  \
        reveille boot put 52:54:00:bb:00:01 --disk --node rack1-7\n  \
        reveille boot put 4c4c4544-0044-4810-8031-b4c04f4e3532 --kernel agent/kernel --initrd agent/ramdisk")]
    Put {
        /// Its MAC, its UUID, or its node
        machine: String,
        /// Go on to its own disk
        #[arg(long, group = "what")]
        disk: bool,
        /// Load this kernel
        #[arg(long, group = "what", requires = "initrd")]
        kernel: Option<String>,
        /// Load a script of its boot program's
        #[arg(long, group = "what")]
        script: Option<String>,
        /// The kernel's ramdisk
        #[arg(long, requires = "kernel")]
        initrd: Option<String>,
        /// The kernel's line
        #[arg(long, requires = "kernel", default_value = "", hide_default_value = true)]
        cmdline: String,
        /// The node
        #[arg(long)]
        node: Option<String>,
        /// The UUID of its firmware
        #[arg(long)]
        uuid: Option<String>,
        /// Its host name, for templates
        #[arg(long)]
        hostname: Option<String>,
        /// The profile whose templates make its script
        #[arg(long)]
        profile: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget what machines shall boot; no error where there is nothing
    Delete {
        /// MACs, UUIDs or nodes
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let bootd = Bootd::new(args.target.endpoint(Api::Bootd)?);
    match args.verb {
        Verb::List { json } => {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let page = bootd.intents(cursor.as_deref()).await?;
                all.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            if json { output::json(&all)? } else { print(&all)? }
        }
        Verb::Get { machine, json } => show(bootd.intent_of(&machine).await?, json)?,
        Verb::Put { machine, disk: _, kernel, script, initrd, cmdline, node, uuid, hostname, profile, json } => {
            let action = match (kernel, initrd, script) {
                (Some(kernel), Some(initrd), _) => BootAction::Kernel { kernel, initrd, cmdline },
                (_, _, Some(script)) => BootAction::Script { script },
                _ => BootAction::Disk,
            };
            let put = IntentPut { action, node, uuid, hostname, profile };
            let put = match machine.parse::<MacAddr>() {
                Ok(mac) => bootd.put_intent(mac, &put).await?,
                Err(_) => bootd.put_intent_of(&machine, &put).await?,
            };
            show(put, json)?;
        }
        Verb::Delete { machines } => {
            for machine in machines {
                bootd.delete_intent_of(&machine).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(intent: Intent, json: bool) -> anyhow::Result<()> {
    if json { output::json(&intent) } else { print(&[intent]) }
}

fn print(intents: &[Intent]) -> anyhow::Result<()> {
    let rows = intents.iter().map(|own| {
        let what = match &own.action {
            BootAction::Disk => "disk".into(),
            BootAction::Script { script } => format!("script {script}"),
            BootAction::Kernel { kernel, initrd, cmdline } => format!("{kernel} {initrd} {cmdline}"),
        };
        [
            output::or_dash(own.mac.map(|mac| mac.to_string()).as_deref()),
            output::or_dash(own.node.as_deref()),
            output::or_dash(own.uuid.as_deref()),
            output::or_dash(own.profile.as_deref()),
            output::time(own.put_unix),
            what,
        ]
    });
    output::table(["MAC", "NODE", "UUID", "PROFILE", "PUT", "BOOTS"], rows, "no boot intents")
}

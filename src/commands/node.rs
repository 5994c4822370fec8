//! `reveille node`: machines and their life.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use reveille_client::{Ironic, NewNode, Node, NodePatch};
use reveille_config::MacAddr;
use serde_json::{Map, Value, json};

use crate::commands::events::Source;
use crate::commands::{events, watch};
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
    /// Add a machine: its BMC is tried, and it ends `available`
    Add(Add),
    /// List the nodes
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of a node; passwords stay masked
    Show {
        /// Name or UUID
        node: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write an image to a node's disk and boot it
    Deploy(Deploy),
    /// Give a node back: power off, boot intent removed, `available` again
    Undeploy {
        /// Name or UUID
        node: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show a node's power state, or change it
    Power {
        /// What to do
        action: Power,
        /// Name or UUID
        node: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Print what happened to a node, oldest first
    History {
        /// Name or UUID
        node: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try a node's BMC and make it `manageable` (from `enroll`)
    Manage {
        /// Name or UUID
        node: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Make a node `available` (from `manageable`)
    Provide {
        /// Name or UUID
        node: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a node and its ports; it must not carry an instance
    Delete {
        /// Name or UUID
        node: String,
    },
    /// Print what happens to nodes
    Events(events::Args),
}

#[derive(clap::Args)]
struct Add {
    /// Its name
    name: String,
    /// A network interface that it boots from; may be given several times
    #[arg(long = "mac", required = true)]
    macs: Vec<MacAddr>,
    /// Its BMC's address
    #[arg(long, value_name = "ADDRESS")]
    bmc: IpAddr,
    /// Its BMC's port
    #[arg(long, default_value_t = 623)]
    bmc_port: u16,
    /// The user on the BMC [default: the configuration's]
    #[arg(long)]
    bmc_user: Option<String>,
    /// A file whose first line is the password on the BMC (`-`: standard input) [default: the configuration's]
    #[arg(long, value_name = "FILE")]
    bmc_password_file: Option<PathBuf>,
    /// Leave it in `enroll`: its BMC is not tried
    #[arg(long)]
    enroll_only: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(clap::Args)]
struct Deploy {
    /// Name or UUID
    node: String,
    /// The whole-disk image: a path below bootd's roots, or a URL that the machine reaches
    #[arg(long)]
    image: String,
    /// Its checksum: sha256:… or sha512:… in hexadecimal
    #[arg(long, value_parser = checksum)]
    checksum: (String, String),
    /// Its format
    #[arg(long, default_value = "raw")]
    format: String,
    /// Wait for the end and show what happens (the same as leaving out --no-wait; kept for scripts that say it)
    #[arg(long, conflicts_with = "no_wait")]
    watch: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(clap::Args, Clone, Copy)]
struct Wait {
    /// Return at once; `reveille node show` tells how it goes
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after so many seconds; the work goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    timeout: u64,
    /// What has become of the node as JSON, as `show --json`; the progress goes to standard error
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Power {
    On,
    Off,
    /// Off and on again
    Reboot,
    /// Show it as it was last seen
    Status,
}

/// Runs one verb.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let ironic = Ironic::new(args.target.endpoint(Api::Provisioner)?);
    match args.verb {
        Verb::Add(add) => self::add(&ironic, add).await?,
        Verb::List { json } => list(&ironic, json).await?,
        Verb::Show { node, json } => show(&ironic, &node, json).await?,
        Verb::Deploy(deploy) => self::deploy(&ironic, deploy).await?,
        Verb::Undeploy { node, wait } => change(&ironic, &node, "deleted", "available", wait).await?,
        Verb::Manage { node, wait } => change(&ironic, &node, "manage", "manageable", wait).await?,
        Verb::Provide { node, wait } => change(&ironic, &node, "provide", "available", wait).await?,
        Verb::Power { action, node, wait } => power(&ironic, &node, action, wait).await?,
        Verb::History { node, json } => history(&ironic, &node, json).await?,
        Verb::Delete { node } => ironic.delete_node(&node).await?,
        Verb::Events(args) => events::print(args, &Source::Provisioner(ironic)).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `sha256:…` → Ironic's `os_hash_algo` and `os_hash_value`.
fn checksum(text: &str) -> Result<(String, String), String> {
    let (algorithm, value) = text.split_once(':').ok_or("sha256:… or sha512:… is expected")?;
    let digits = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        other => return Err(format!("{other} is not a checksum that is accepted here: sha256 or sha512 is")),
    };
    if value.len() != digits || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("{algorithm} has {digits} hexadecimal digits; these are {}", value.len()));
    }
    Ok((algorithm.to_owned(), value.to_lowercase()))
}

async fn add(ironic: &Ironic, add: Add) -> anyhow::Result<()> {
    let mut driver_info = Map::new();
    driver_info.insert("ipmi_address".into(), json!(add.bmc.to_string()));
    driver_info.insert("ipmi_port".into(), json!(add.bmc_port));
    if let Some(user) = add.bmc_user {
        driver_info.insert("ipmi_username".into(), json!(user));
    }
    if let Some(file) = &add.bmc_password_file {
        driver_info.insert("ipmi_password".into(), json!(read_password(file)?));
    }
    let node = ironic.create_node(&NewNode { name: add.name.clone(), driver: "ipmi".into(), driver_info }).await?;
    for mac in &add.macs {
        if let Err(error) = ironic.create_port(&node.uuid, *mac).await {
            // A node without its port is no use to anybody: take the half back.
            let _ = ironic.delete_node(&node.uuid).await;
            return Err(anyhow::Error::new(error).context(format!("cannot add {mac}; the node was not added")));
        }
    }
    if add.enroll_only {
        let said = format!("{} added in state enroll ({})", add.name, node.uuid);
        return tell(ironic, &node.uuid, said, add.wait).await;
    }
    reach(ironic, &node.uuid, "manage", "manageable", Wait { no_wait: false, ..add.wait })
        .await
        .and_then(|said| if add.wait.json { Ok(()) } else { output::line(&said) })
        .with_context(|| format!("{} stays in enroll; mend it and run `reveille node manage {0}`", add.name))?;
    change(ironic, &node.uuid, "provide", "available", add.wait).await
}

/// The first line of `file`, or of standard input for `-`.
fn read_password(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read the password from standard input")?;
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the password from {}", file.display()))?;
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => bail!("{}: the first line is empty; the password is expected there", file.display()),
    }
}

async fn list(ironic: &Ironic, json: bool) -> anyhow::Result<()> {
    let mut nodes = ironic.nodes().await?;
    nodes.iter_mut().for_each(|node| mask_secrets(&mut node.rest));
    if json {
        return output::json(&nodes);
    }
    let rows = nodes.iter().map(|node| {
        [
            output::or_dash(node.name.as_deref()),
            node.uuid.clone(),
            output::or_dash(node.power_state.as_deref()),
            output::or_dash(node.provision_state.as_deref()),
            output::or_dash(node.last_error.as_deref()),
        ]
    });
    output::table(["NAME", "UUID", "POWER", "STATE", "LAST ERROR"], rows, "no nodes; `reveille node add` adds one")
}

async fn show(ironic: &Ironic, node: &str, json: bool) -> anyhow::Result<()> {
    let mut node = ironic.node(node).await?;
    mask_secrets(&mut node.rest);
    let ports = ironic.ports(&node.uuid).await?;
    if json {
        let mut whole = serde_json::to_value(&node)?;
        whole["ports"] = serde_json::to_value(&ports)?;
        return output::json(&whole);
    }
    let macs: Vec<_> = ports.iter().map(|port| port.address.to_string()).collect();
    let mut rows = vec![
        ["name".to_owned(), output::or_dash(node.name.as_deref())],
        ["uuid".to_owned(), node.uuid.clone()],
        ["state".to_owned(), output::or_dash(node.provision_state.as_deref())],
        ["target".to_owned(), output::or_dash(node.target_provision_state.as_deref())],
        ["power".to_owned(), output::or_dash(node.power_state.as_deref())],
        ["last error".to_owned(), output::or_dash(node.last_error.as_deref())],
        ["interfaces".to_owned(), macs.join(" ")],
    ];
    for field in ["driver_info", "instance_info", "properties"] {
        for (key, value) in node.rest.get(field).and_then(Value::as_object).into_iter().flatten() {
            rows.push([format!("{field}.{key}"), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
        }
    }
    output::table(["FIELD", "VALUE"], rows, "")
}

/// The API masks passwords; another Ironic, or another version, may not know a field that we would print.
fn mask_secrets(fields: &mut Map<String, Value>) {
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        match value {
            Value::Object(inner) => mask_secrets(inner),
            Value::String(text) if ["password", "secret", "token"].iter().any(|word| name.contains(word)) => {
                *text = "******".to_owned();
            }
            _ => {}
        }
    }
}

async fn deploy(ironic: &Ironic, deploy: Deploy) -> anyhow::Result<()> {
    let (algorithm, value) = deploy.checksum;
    let set = |field: &str, value: Value| NodePatch {
        op: "add",
        path: format!("/instance_info/{field}"),
        value: Some(value),
    };
    ironic
        .patch_node(
            &deploy.node,
            &[
                set("image_source", json!(deploy.image)),
                set("image_os_hash_algo", json!(algorithm)),
                set("image_os_hash_value", json!(value)),
                set("image_disk_format", json!(deploy.format)),
            ],
        )
        .await?;
    change(ironic, &deploy.node, "active", "active", deploy.wait).await
}

/// Asks for `target`, waits until the node is in state `wanted`, and tells it.
async fn change(ironic: &Ironic, node: &str, target: &str, wanted: &str, wait: Wait) -> anyhow::Result<()> {
    let said = reach(ironic, node, target, wanted, wait).await?;
    tell(ironic, node, said, wait).await
}

/// Asks for `target` and waits until the node is in state `wanted`. Says how far it came.
async fn reach(ironic: &Ironic, node: &str, target: &str, wanted: &str, wait: Wait) -> anyhow::Result<String> {
    ironic.set_provision_state(node, target).await?;
    if wait.no_wait {
        return Ok(format!("{node}: {target} is under way"));
    }
    let node = watch::until_state(ironic, node, wanted, Duration::from_secs(wait.timeout)).await?;
    Ok(format!("{} is {wanted}", name(&node)))
}

/// What has become of a node: the sentence, or all of it as JSON.
async fn tell(ironic: &Ironic, node: &str, said: String, wait: Wait) -> anyhow::Result<()> {
    if wait.json { show(ironic, node, true).await } else { output::line(&said) }
}

async fn power(ironic: &Ironic, node: &str, action: Power, wait: Wait) -> anyhow::Result<()> {
    let (target, wanted) = match action {
        Power::On => ("power on", "power on"),
        Power::Off => ("power off", "power off"),
        Power::Reboot => ("rebooting", "power on"),
        Power::Status if wait.json => return show(ironic, node, true).await,
        Power::Status => {
            let node = ironic.node(node).await?;
            let state = node.power_state.as_deref().unwrap_or("not known");
            return output::line(&format!("{}: {state}", name(&node)));
        }
    };
    ironic.set_power_state(node, target).await?;
    if wait.no_wait {
        return tell(ironic, node, format!("{node}: {target} is under way"), wait).await;
    }
    let seen = watch::until_power(ironic, node, wanted, Duration::from_secs(wait.timeout)).await?;
    tell(ironic, node, format!("{}: {wanted}", name(&seen)), wait).await
}

async fn history(ironic: &Ironic, node: &str, json: bool) -> anyhow::Result<()> {
    let history = ironic.history(node).await?;
    if json {
        return output::json(&history);
    }
    let rows = history.iter().map(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        [text("created_at"), text("severity"), text("event_type"), text("event")]
    });
    output::table(["WHEN", "SEVERITY", "KIND", "WHAT"], rows, "nothing has happened yet")
}

fn name(node: &Node) -> &str {
    node.name.as_deref().unwrap_or(&node.uuid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{checksum, mask_secrets};

    #[test]
    fn what_may_be_a_secret_is_masked_wherever_it_stands() {
        let mut node = json!({ "driver_info": { "ipmi_password": "calvin", "ipmi_username": "admin", "x": { "API_Token": "t" } } });
        mask_secrets(node.as_object_mut().unwrap());
        let masked = json!({ "driver_info": { "ipmi_password": "******", "ipmi_username": "admin", "x": { "API_Token": "******" } } });
        assert_eq!(node, masked);
    }

    #[test]
    fn a_checksum_names_its_algorithm_and_has_its_length() {
        let digits = "0".repeat(64);
        assert_eq!(checksum(&format!("sha256:{digits}")), Ok(("sha256".into(), digits.clone())));
        for wrong in
            [digits.as_str(), "md5:00", "sha256:00", &format!("sha512:{digits}"), &format!("sha256:{}g", &digits[1..])]
        {
            assert!(checksum(wrong).is_err(), "{wrong}");
        }
    }
}

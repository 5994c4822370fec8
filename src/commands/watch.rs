//! Waiting for a node with a line that says how it goes.

use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use reveille_client::{ClientError, Ironic, Node};

/// Between two looks at the node.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the node is in provision state `wanted`; a state of failure ends it with the node's own reason.
pub async fn until_state(ironic: &Ironic, node: &str, wanted: &str, limit: Duration) -> anyhow::Result<Node> {
    until(ironic, node, wanted, limit, |node| {
        let state = node.provision_state.as_deref().unwrap_or("");
        let settled = node.target_provision_state.is_none();
        if state == wanted && settled {
            return Some(Ok(()));
        }
        let failed = state.ends_with("failed") || state == "error" || settled;
        failed.then(|| Err(node.last_error.clone().unwrap_or_else(|| format!("it is {state}, not {wanted}"))))
    })
    .await
}

/// Waits until the node's power state is `wanted`.
pub async fn until_power(ironic: &Ironic, node: &str, wanted: &str, limit: Duration) -> anyhow::Result<Node> {
    until(ironic, node, wanted, limit, |node| {
        if node.rest.get("target_power_state").is_some_and(|target| !target.is_null()) {
            return None;
        }
        if node.power_state.as_deref() == Some(wanted) {
            return Some(Ok(()));
        }
        Some(Err(node.last_error.clone().unwrap_or_else(|| format!("the power is not {wanted}"))))
    })
    .await
}

async fn until(
    ironic: &Ironic,
    name: &str,
    wanted: &str,
    limit: Duration,
    judge: impl Fn(&Node) -> Option<Result<(), String>>,
) -> anyhow::Result<Node> {
    let started = Instant::now();
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}")?);
    spinner.enable_steady_tick(Duration::from_millis(120));
    let mut last = String::new();
    loop {
        match ironic.node(name).await {
            Ok(node) => {
                let now = node.provision_state.clone().unwrap_or_default();
                if now != last {
                    let line = format!("{:>7.1} s  {now}", started.elapsed().as_secs_f32());
                    // Without a terminal there is no spinner; a log still wants the states.
                    if spinner.is_hidden() {
                        eprintln!("{line}")
                    } else {
                        spinner.println(line)
                    }
                    last.clone_from(&now);
                }
                spinner.set_message(now);
                match judge(&node) {
                    Some(Ok(())) => {
                        spinner.finish_and_clear();
                        return Ok(node);
                    }
                    Some(Err(reason)) => {
                        spinner.finish_and_clear();
                        bail!("{}: {}: {reason}", node.name.as_deref().unwrap_or(name), last);
                    }
                    None => {}
                }
            }
            // The provisioner may be restarted while somebody watches.
            Err(error) if ClientError::is_transient(&error) => spinner.set_message(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        if started.elapsed() > limit {
            spinner.finish_and_clear();
            bail!("{name} is not {wanted} after {} s; it is {last}, and the work goes on", limit.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

//! What each verb asks of one BMC, and how its answer reads.

use reveille_provisioner::io::bmc::{BmcError, BmcSocket, BmcTarget, BootFlags, Firmware};
use serde_json::json;

use super::{Answer, Job};
use crate::output;

fn said(line: String, json: serde_json::Value) -> Answer {
    Answer { lines: vec![line], json }
}

/// Asks one BMC.
///
/// # Errors
/// The BMC's, with its address.
pub(super) async fn carry_out(bmc: &BmcSocket, target: &BmcTarget, job: Job) -> Result<Answer, BmcError> {
    Ok(match job {
        Job::Status => {
            let power = bmc.power_state(target).await?.to_string();
            said(power.clone(), json!({ "power": power }))
        }
        Job::Power(action) => {
            bmc.set_power(target, action).await?;
            said(format!("{action}: begun"), json!({ "begun": action.to_string() }))
        }
        Job::ShowBootDevice => flags(bmc.boot_device(target).await?),
        Job::SetBootDevice { device, persistent, firmware } => {
            bmc.set_boot_device(target, device, persistent, firmware).await?;
            // What the BMC made of it.
            flags(bmc.boot_device(target).await?)
        }
        Job::Sensors => sensors(bmc, target).await?,
        Job::Events => events(bmc, target).await?,
        Job::ClearEvents => {
            bmc.clear_events(target).await?;
            said("event log erased".to_owned(), json!({ "erased": true }))
        }
        Job::Inventory => {
            let fields = bmc.inventory(target).await?.fields;
            let lines = match fields.is_empty() {
                true => vec!["no inventory".to_owned()],
                false => fields.iter().map(|(name, text)| format!("{name}: {text}")).collect(),
            };
            let json = fields.into_iter().map(|(name, text)| (name, text.into())).collect::<serde_json::Map<_, _>>();
            Answer { lines, json: json.into() }
        }
    })
}

fn flags(flags: BootFlags) -> Answer {
    let BootFlags { valid, persistent, firmware, device } = flags;
    let uefi = firmware == Firmware::Uefi;
    let json = json!({ "device": device.to_string(), "valid": valid, "persistent": persistent, "uefi": uefi });
    if !valid {
        return said("no override".to_owned(), json);
    }
    let when = if persistent { "at every boot" } else { "at the next boot" };
    said(format!("{device}, {when}, {}", if uefi { "UEFI" } else { "legacy" }), json)
}

async fn sensors(bmc: &BmcSocket, target: &BmcTarget) -> Result<Answer, BmcError> {
    let (mut lines, mut list) = (Vec::new(), Vec::new());
    for (sensor, reading) in bmc.sensors(target).await? {
        let value = reading.as_ref().and_then(|reading| sensor.value(reading));
        let unit = sensor.scale.as_ref().map_or("", |scale| scale.unit.as_str());
        let state = reading.as_ref().map_or("not there".to_owned(), |reading| sensor.state(reading));
        let shown = value.map_or(String::new(), |value| format!("{} {unit}, ", rounded(value)));
        lines.push(format!("{}: {shown}{state}", sensor.name));
        list.push(
            json!({ "name": sensor.name, "number": sensor.number, "value": value, "unit": unit, "state": state }),
        );
    }
    if lines.is_empty() {
        lines.push("no sensors".to_owned());
    }
    Ok(Answer { lines, json: list.into() })
}

/// Three digits after the point, and no zeros at the end.
fn rounded(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

async fn events(bmc: &BmcSocket, target: &BmcTarget) -> Result<Answer, BmcError> {
    let entries = bmc.events(target).await?;
    let at = |at: Option<u32>| at.map(|at| output::time(at.into()));
    let lines = match entries.is_empty() {
        true => vec!["no events".to_owned()],
        false => entries
            .iter()
            .map(|entry| format!("{} {}", at(entry.at).as_deref().unwrap_or("at no known time"), entry.words()))
            .collect(),
    };
    let list: Vec<_> =
        entries.iter().map(|entry| json!({ "id": entry.id, "at": at(entry.at), "event": entry.words() })).collect();
    Ok(Answer { lines, json: list.into() })
}

//! [`System`]: a ComputerSystem as its service shows it, and what is to be sent to change it.

use serde_json::{Map, Value, json};

use super::said::{linked, path};
use crate::proto::ipmi::command::{PowerAction, PowerState};
use crate::proto::node::{BootDevice, Firmware};

/// Values of a list of what is allowed that are looked at.
const ALLOWED_MAX: usize = 64;

/// A system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Its path.
    pub path: String,
    /// Its power, where the service says so. A machine whose power is just changing has still what it had before: `PoweringOn` is off,
    /// `PoweringOff` is on, so that a change is confirmed once it is done.
    pub power: Option<PowerState>,
    /// The version of the resource: what `If-Match` wants.
    pub tag: Option<String>,
    /// How it is reset.
    pub reset: Reset,
    /// Where its virtual media are, or where its managers are, of which one may have them.
    pub media: Vec<String>,
    boot: Map<String, Value>,
}

/// The action `ComputerSystem.Reset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Where it is posted to.
    pub target: String,
    /// The values that `ResetType` may have, where they are said.
    pub allowed: Option<Vec<String>>,
    /// Where else they are said.
    pub info: Option<String>,
}

/// Where a system shall boot from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOverride {
    /// The device.
    pub device: BootDevice,
    /// At every boot, not only at the next.
    pub persistent: bool,
    /// UEFI or BIOS.
    pub firmware: Firmware,
    /// For [`BootDevice::UefiHttp`]: what to fetch, where DHCP is not to say so.
    pub http_uri: Option<String>,
}

impl System {
    /// Reads the resource; `tag` is the header `ETag`. Unknown fields are no matter.
    pub fn read(at: &str, resource: &Value, tag: Option<&str>) -> Self {
        let power = match resource["PowerState"].as_str() {
            Some("On" | "PoweringOff" | "Paused") => Some(PowerState::On),
            Some("Off" | "PoweringOn") => Some(PowerState::Off),
            _ => None,
        };
        let action = &resource["Actions"]["#ComputerSystem.Reset"];
        let target = action["target"].as_str().and_then(path);
        let managers = resource["Links"]["ManagedBy"].as_array().into_iter().flatten();
        let managers = managers.filter_map(|manager| path(manager["@odata.id"].as_str()?)).take(ALLOWED_MAX);
        Self {
            path: at.to_owned(),
            power,
            tag: tag.or_else(|| resource["@odata.etag"].as_str()).map(str::to_owned),
            reset: Reset {
                target: target.map_or_else(|| format!("{at}/Actions/ComputerSystem.Reset"), str::to_owned),
                allowed: texts(&action["ResetType@Redfish.AllowableValues"]),
                info: action["@Redfish.ActionInfo"].as_str().and_then(path).map(str::to_owned),
            },
            media: linked(resource, "VirtualMedia").into_iter().chain(managers).map(str::to_owned).collect(),
            boot: resource["Boot"].as_object().cloned().unwrap_or_default(),
        }
    }

    /// The body that sets where it boots from; the error says what the system can.
    pub fn boot_patch(&self, wanted: &BootOverride) -> Result<Value, String> {
        let names: &[&str] = match wanted.device {
            BootDevice::Pxe => &["Pxe"],
            BootDevice::Disk => &["Hdd"],
            // Some call the drive of virtual media by its bus.
            BootDevice::Cdrom => &["Cd", "UsbCd"],
            BootDevice::Bios => &["BiosSetup"],
            BootDevice::UefiHttp => &["UefiHttp"],
        };
        let allowed = self.boot.get("BootSourceOverrideTarget@Redfish.AllowableValues").and_then(texts);
        let target = match &allowed {
            None => names.first(),
            Some(allowed) => names.iter().find(|name| allowed.iter().any(|one| one == *name)),
        };
        let Some(target) = target else {
            let allowed = allowed.unwrap_or_default().join(", ");
            return Err(format!("it cannot boot from {}; what it can: {allowed}", wanted.device.as_str()));
        };
        let mut boot = Map::new();
        boot.insert("BootSourceOverrideTarget".into(), json!(target));
        boot.insert("BootSourceOverrideEnabled".into(), json!(if wanted.persistent { "Continuous" } else { "Once" }));
        // Many refuse the mode where they cannot change it, or where nothing changes.
        let mode = match wanted.firmware {
            Firmware::Uefi => "UEFI",
            Firmware::Bios => "Legacy",
        };
        if self.boot.get("BootSourceOverrideMode").and_then(Value::as_str).is_some_and(|now| now != mode) {
            boot.insert("BootSourceOverrideMode".into(), json!(mode));
        }
        if let Some(uri) = wanted.http_uri.as_ref().filter(|_| wanted.device == BootDevice::UefiHttp) {
            boot.insert("HttpBootUri".into(), json!(uri));
        }
        Ok(json!({ "Boot": boot }))
    }

    /// Target and enablement of the boot override, as the service shows them.
    pub fn boot_override(&self) -> (Option<&str>, Option<&str>) {
        let text = |name: &str| self.boot.get(name).and_then(Value::as_str);
        (text("BootSourceOverrideTarget"), text("BootSourceOverrideEnabled"))
    }
}

impl Reset {
    /// Reads what is allowed from an ActionInfo.
    pub fn read_info(&mut self, resource: &Value) {
        let parameters = resource["Parameters"].as_array().into_iter().flatten();
        let of_type = parameters.into_iter().find(|parameter| parameter["Name"] == "ResetType");
        self.allowed = of_type.and_then(|parameter| texts(&parameter["AllowableValues"]));
    }

    /// The `ResetType` for an action: of those that do it, the first that is allowed. Where nobody says what is allowed, the usual one.
    pub fn of(&self, action: PowerAction) -> Result<&'static str, String> {
        let fit: &[&'static str] = match action {
            PowerAction::On => &["On", "ForceOn", "PushPowerButton"],
            PowerAction::Off => &["ForceOff"],
            PowerAction::Cycle => &["PowerCycle", "ForceRestart"],
            PowerAction::Reset => &["ForceRestart", "PowerCycle"],
            PowerAction::Soft => &["GracefulShutdown", "PushPowerButton"],
            PowerAction::Diagnostic => &["Nmi"],
        };
        let Some(allowed) = &self.allowed else { return Ok(fit[0]) };
        let first = fit.iter().find(|name| allowed.iter().any(|one| one == *name));
        first.copied().ok_or_else(|| format!("it has no {action}; what it can: {}", allowed.join(", ")))
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let all: Vec<String> = value.as_array()?.iter().filter_map(Value::as_str).take(ALLOWED_MAX).map(short).collect();
    // An empty list says nothing.
    (!all.is_empty()).then_some(all)
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(resource: Value) -> System {
        System::read("/redfish/v1/Systems/1", &resource, None)
    }

    #[test]
    fn power_is_what_it_was_until_the_change_is_done() {
        let cases = [
            (json!("On"), Some(PowerState::On)),
            (json!("Off"), Some(PowerState::Off)),
            (json!("PoweringOn"), Some(PowerState::Off)),
            (json!("PoweringOff"), Some(PowerState::On)),
            (json!("Sideways"), None),
            (Value::Null, None),
            (json!(1), None),
        ];
        for (said, power) in cases {
            assert_eq!(system(json!({ "PowerState": said })).power, power, "{said}");
        }
    }

    #[test]
    fn the_reset_type_is_one_that_the_system_allows() {
        use PowerAction::{Cycle, Diagnostic, Off, On, Reset, Soft};
        let allowed = |values: Value| {
            system(json!({ "Actions": { "#ComputerSystem.Reset": { "ResetType@Redfish.AllowableValues": values } } }))
                .reset
        };
        let all = json!(["On", "ForceOff", "GracefulShutdown", "ForceRestart", "Nmi", "PowerCycle"]);
        let old = json!(["ForceOn", "ForceOff", "PushPowerButton", "ForceRestart"]);
        let cases = [
            (&all, On, Ok("On")),
            (&all, Cycle, Ok("PowerCycle")),
            (&all, Reset, Ok("ForceRestart")),
            (&all, Soft, Ok("GracefulShutdown")),
            (&all, Diagnostic, Ok("Nmi")),
            (&old, On, Ok("ForceOn")),
            (&old, Cycle, Ok("ForceRestart")),
            (&old, Soft, Ok("PushPowerButton")),
            (
                &old,
                Diagnostic,
                Err("it has no diagnostic interrupt; what it can: ForceOn, ForceOff, PushPowerButton, ForceRestart"),
            ),
            (&Value::Null, Off, Ok("ForceOff")),
            (&json!([]), On, Ok("On")),
            (&json!("On"), Soft, Ok("GracefulShutdown")),
        ];
        for (values, action, expected) in cases {
            assert_eq!(
                allowed(values.clone()).of(action).as_deref().map_err(String::as_str),
                expected.as_deref().map_err(|e| *e),
                "{values} {action}"
            );
        }
        let mut reset =
            system(json!({ "Actions": { "#ComputerSystem.Reset": { "@Redfish.ActionInfo": "/i" } } })).reset;
        assert_eq!(
            (reset.target.as_str(), reset.info.as_deref()),
            ("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", Some("/i"))
        );
        reset.read_info(&json!({ "Parameters": [{ "Name": "ResetType", "AllowableValues": ["ForceOn"] }] }));
        assert_eq!(reset.of(On).unwrap(), "ForceOn");
    }

    #[test]
    fn the_boot_override_is_one_that_the_system_allows() {
        let wanted = |device, persistent, firmware| BootOverride {
            device,
            persistent,
            firmware,
            http_uri: Some("http://b/x.efi".into()),
        };
        use BootDevice::{Bios, Cdrom, Pxe, UefiHttp};
        let key = "BootSourceOverrideTarget@Redfish.AllowableValues";
        let modern = json!({ key: ["Pxe", "Hdd", "Cd", "UefiHttp"], "BootSourceOverrideMode": "UEFI" });
        let super_old = json!({ key: ["Pxe", "UsbCd"] });
        let cases = [
            (
                &modern,
                wanted(Pxe, false, Firmware::Uefi),
                Ok(json!({ "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once" })),
            ),
            (
                &modern,
                wanted(Pxe, true, Firmware::Bios),
                Ok(
                    json!({ "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Continuous", "BootSourceOverrideMode": "Legacy" }),
                ),
            ),
            (
                &modern,
                wanted(UefiHttp, false, Firmware::Uefi),
                Ok(
                    json!({ "BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once", "HttpBootUri": "http://b/x.efi" }),
                ),
            ),
            (
                &modern,
                wanted(Bios, false, Firmware::Uefi),
                Err("it cannot boot from bios; what it can: Pxe, Hdd, Cd, UefiHttp".to_owned()),
            ),
            (
                &super_old,
                wanted(Cdrom, false, Firmware::Uefi),
                Ok(json!({ "BootSourceOverrideTarget": "UsbCd", "BootSourceOverrideEnabled": "Once" })),
            ),
            (
                &json!({}),
                wanted(Bios, false, Firmware::Uefi),
                Ok(json!({ "BootSourceOverrideTarget": "BiosSetup", "BootSourceOverrideEnabled": "Once" })),
            ),
        ];
        for (boot, wanted, expected) in cases {
            let found = system(json!({ "Boot": boot })).boot_patch(&wanted);
            assert_eq!(found, expected.map(|boot| json!({ "Boot": boot })), "{boot} {wanted:?}");
        }
    }

    #[test]
    fn nothing_of_what_is_missing_or_wrong_is_needed() {
        for resource in [
            Value::Null,
            json!([]),
            json!({ "Actions": 7, "Boot": "x", "Links": { "ManagedBy": [1, { "@odata.id": "a b" }] } }),
        ] {
            let system = system(resource);
            assert_eq!((system.power, system.tag, system.media.len()), (None, None, 0));
        }
        let tagged = System::read("/s", &json!({ "@odata.etag": "W/\"1\"" }), Some("\"2\""));
        assert_eq!(tagged.tag.as_deref(), Some("\"2\""));
        let media =
            system(json!({ "VirtualMedia": { "@odata.id": "/v" }, "Links": { "ManagedBy": [{ "@odata.id": "/m" }] } }))
                .media;
        assert_eq!(media, ["/v", "/m"]);
    }
}

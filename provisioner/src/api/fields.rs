//! The table of a node's fields: since which version, how it is shown, whether and to what it may be set.

use serde_json::{Map, Value, json};

use super::ApiError;
use super::view::{View, mask_instance_info, mask_secrets, maybe_time, time};
use crate::proto::access::{self, Interface};
use crate::proto::agent::MASKED;
use crate::proto::node::Node;

/// A field of a node.
pub(super) struct Field {
    /// Its name.
    pub name: &'static str,
    /// The first version that has it.
    pub since: u16,
    /// Where its value comes from.
    pub source: Source,
}

/// Where a field's value comes from.
pub(super) enum Source {
    /// From the node's own fields; not to be set here.
    Own(fn(&Node, &View) -> Value),
    /// One of the node's own fields that may be set.
    Settable(fn(&Node) -> Value, fn(&mut Node, Value) -> Result<(), String>),
    /// Kept in `attributes`, checked only.
    Attribute(Kind),
    /// Always the same: a part of Ironic that is not ours.
    Fixed(fn() -> Value),
}

/// What an attribute may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text or `null`.
    Text,
    /// A text that is empty by default.
    EmptyText,
    /// true or false.
    Bool,
    /// true, false or `null`.
    MaybeBool,
    /// An object.
    Object,
    /// A UUID or `null`.
    MaybeUuid,
    /// One of these; the first by default.
    OneOf(&'static [&'static str]),
}

use Kind::{Bool, EmptyText, MaybeBool, MaybeUuid, Object, OneOf, Text};
use Source::{Attribute, Fixed, Own, Settable};

const fn field(name: &'static str, since: u16, source: Source) -> Field {
    Field { name, since, source }
}

/// What a node chooses for an interface that its BMC stands behind, or its driver's default.
const fn of_bmc(interface: Interface) -> Source {
    match interface {
        Interface::Power => Settable(
            |node| json!(Interface::Power.of(node)),
            |node, value| set_interface(node, Interface::Power, value),
        ),
        Interface::Management => Settable(
            |node| json!(Interface::Management.of(node)),
            |node, value| set_interface(node, Interface::Management, value),
        ),
    }
}

fn null() -> Value {
    Value::Null
}

fn object() -> Value {
    json!({})
}

/// Every field, in Ironic's order.
pub(super) static FIELDS: &[Field] = &[
    field("uuid", 1, Own(|node, _| json!(node.uuid))),
    field("created_at", 1, Own(|node, _| time(node.created_at))),
    field("updated_at", 1, Own(|node, _| maybe_time(node.updated_at))),
    field("automated_clean", 47, Attribute(MaybeBool)),
    field("bios_interface", 40, Attribute(OneOf(&["no-bios"]))),
    field("boot_interface", 31, Attribute(OneOf(&["ipxe", "pxe"]))),
    field("boot_mode", 75, Fixed(null)),
    field("clean_step", 7, Fixed(object)),
    field("conductor_group", 46, Attribute(EmptyText)),
    field("console_enabled", 1, Fixed(|| json!(false))),
    field("console_interface", 31, Attribute(OneOf(&["no-console"]))),
    field("disable_power_off", 95, Attribute(Bool)),
    field("deploy_interface", 31, Attribute(OneOf(&["direct"]))),
    field("deploy_step", 44, Own(|node, _| deploy_step(node))),
    field("description", 51, Attribute(Text)),
    field("driver", 1, Settable(|node| json!(node.driver), |node, value| set_driver(node, &value))),
    field(
        "driver_info",
        1,
        Settable(
            |node| mask_secrets(&node.driver_info),
            |node, value| set_object(&mut node.driver_info, value, "driver_info"),
        ),
    ),
    field("driver_internal_info", 3, Own(|node, _| driver_internal_info(node))),
    field("extra", 1, Settable(|node| json!(node.extra), |node, value| set_object(&mut node.extra, value, "extra"))),
    field("fault", 42, Fixed(null)),
    field("firmware_interface", 86, Attribute(OneOf(&["no-firmware"]))),
    field("health", 109, Fixed(null)),
    field("inspection_finished_at", 6, Fixed(null)),
    field("inspection_started_at", 6, Fixed(null)),
    field("inspect_interface", 31, Attribute(OneOf(&["no-inspect"]))),
    field(
        "instance_info",
        1,
        Settable(
            |node| mask_instance_info(&node.instance_info),
            |node, value| set_object(&mut node.instance_info, value, "instance_info"),
        ),
    ),
    field("instance_name", 104, Attribute(Text)),
    field("instance_uuid", 1, Attribute(MaybeUuid)),
    field("last_error", 1, Own(|node, _| json!(node.last_error))),
    field("lessee", 65, Attribute(Text)),
    field("maintenance", 1, Settable(|node| json!(node.maintenance), |node, value| set_maintenance(node, &value))),
    field("maintenance_reason", 1, Own(|node, _| json!(node.maintenance_reason))),
    field("management_interface", 31, of_bmc(Interface::Management)),
    field("name", 5, Settable(|node| json!(node.name), |node, value| set_name(node, &value))),
    field("network_data", 66, Attribute(Object)),
    field("network_interface", 20, Attribute(OneOf(&["noop", "flat"]))),
    field("owner", 50, Attribute(Text)),
    field("parent_node", 83, Attribute(MaybeUuid)),
    field("power_interface", 31, of_bmc(Interface::Power)),
    field("power_state", 1, Own(|node, _| json!(node.power_state))),
    field(
        "properties",
        1,
        Settable(|node| json!(node.properties), |node, value| set_object(&mut node.properties, value, "properties")),
    ),
    field("protected", 48, Attribute(Bool)),
    field("protected_reason", 48, Attribute(Text)),
    field("provision_state", 1, Own(provision_state)),
    field("provision_updated_at", 1, Own(|node, _| maybe_time(node.provision_updated_at))),
    field("raid_config", 12, Fixed(object)),
    field("raid_interface", 31, Attribute(OneOf(&["no-raid"]))),
    field("rescue_interface", 38, Attribute(OneOf(&["no-rescue"]))),
    field("reservation", 1, Own(|node, view| if node.is_reserved() { json!(*view.conductor) } else { Value::Null })),
    field("resource_class", 21, Attribute(Text)),
    field("retired", 61, Attribute(Bool)),
    field("retired_reason", 61, Attribute(Text)),
    field("secure_boot", 75, Fixed(null)),
    field("service_step", 87, Fixed(object)),
    field("shard", 82, Attribute(Text)),
    field("storage_interface", 33, Attribute(OneOf(&["noop"]))),
    field("target_power_state", 1, Own(|node, _| json!(node.target_power_state))),
    field("target_provision_state", 1, Own(|node, _| json!(node.target_provision_state))),
    field("target_raid_config", 12, Fixed(object)),
    field("traits", 37, Fixed(|| json!([]))),
    field("vendor_interface", 31, Attribute(OneOf(&["no-vendor"]))),
    field("links", 1, Own(|node, view| view.links(&format!("nodes/{}", node.uuid)))),
    field("conductor", 49, Own(|_, view| json!(*view.conductor))),
    field("allocation_uuid", 52, Fixed(null)),
    field("chassis_uuid", 1, Fixed(null)),
    field("ports", 1, Own(|node, view| view.links(&format!("nodes/{}/ports", node.uuid)))),
    field("states", 14, Own(|node, view| view.links(&format!("nodes/{}/states", node.uuid)))),
    field("portgroups", 24, Own(|node, view| view.links(&format!("nodes/{}/portgroups", node.uuid)))),
    field("volume", 32, Own(|node, view| view.links(&format!("nodes/{}/volume", node.uuid)))),
];

/// The fields of a listing that asks for none.
const LISTED: &[&str] = &["uuid", "name", "maintenance", "instance_uuid", "power_state", "provision_state", "links"];

/// The field of this name.
pub(super) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Which fields an answer shows.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// Those of a listing.
    Listed,
    /// All that the version has.
    All,
    /// These, and the links.
    These(Vec<String>),
}

impl Shown {
    /// Reads `fields=` and `detail=`; `default` where neither is given.
    pub fn read(fields: Option<&str>, detail: Option<bool>, default: Self, view: &View) -> Result<Self, ApiError> {
        let Some(fields) = fields else {
            return Ok(match detail {
                Some(true) => Self::All,
                _ => default,
            });
        };
        if detail == Some(true) {
            return Err(ApiError::invalid("Can't fetch a subset of fields with 'detail' set"));
        }
        view.version.require(8)?;
        let names: Vec<String> = fields.split(',').map(|name| name.trim().to_owned()).collect();
        for name in &names {
            match find(name) {
                None => return Err(ApiError::invalid(format!("Field(s) \"{name}\" are not valid"))),
                Some(field) => view.version.require(field.since)?,
            }
        }
        Ok(Self::These(names))
    }

    fn includes(&self, name: &str) -> bool {
        match self {
            Self::Listed => LISTED.contains(&name),
            Self::All => true,
            Self::These(names) => name == "links" || names.iter().any(|shown| shown == name),
        }
    }
}

/// A field's value, as it is shown.
pub(super) fn value(field: &Field, node: &Node, view: &View) -> Value {
    match &field.source {
        Own(value) => value(node, view),
        Settable(value, _) => value(node),
        Fixed(value) => value(),
        Attribute(kind) => node.attributes.get(field.name).cloned().unwrap_or_else(|| kind.default()),
    }
}

/// A node, as it is shown.
pub(super) fn show(node: &Node, shown: &Shown, view: &View) -> Value {
    let fields = FIELDS.iter().filter(|field| field.since <= view.version.0 && shown.includes(field.name));
    Value::Object(fields.map(|field| (field.name.to_owned(), value(field, node, view))).collect())
}

/// Sets a field; `null` brings its default back. The error says what would be right.
pub(super) fn set(node: &mut Node, field: &Field, value: Value) -> Result<(), String> {
    match &field.source {
        Settable(_, set) => set(node, value),
        Attribute(kind) => {
            let value = if value.is_null() { kind.default() } else { value };
            kind.check(&value).map_err(|words| format!("{}: {words}", field.name))?;
            if value == kind.default() {
                node.attributes.remove(field.name);
            } else {
                node.attributes.insert(field.name.to_owned(), value);
            }
            Ok(())
        }
        Own(_) | Fixed(_) => Err(format!("'/{}' is an internal attribute and can not be updated", field.name)),
    }
}

/// The settable fields as a document that patches apply to. Secrets are not masked in it: it never leaves.
pub(super) fn document(node: &Node) -> Map<String, Value> {
    let raw = |field: &Field| match (&field.source, field.name) {
        (_, "driver_info") => Some(json!(node.driver_info)),
        (_, "instance_info") => Some(json!(node.instance_info)),
        (Settable(value, _), _) => Some(value(node)),
        (Attribute(kind), name) => Some(node.attributes.get(name).cloned().unwrap_or_else(|| kind.default())),
        (Own(_) | Fixed(_), _) => None,
    };
    FIELDS.iter().filter_map(|field| Some((field.name.to_owned(), raw(field)?))).collect()
}

impl Kind {
    fn default(self) -> Value {
        match self {
            Text | MaybeBool | MaybeUuid => Value::Null,
            EmptyText => json!(""),
            Bool => json!(false),
            Object => json!({}),
            OneOf(values) => json!(values[0]),
        }
    }

    fn check(self, value: &Value) -> Result<(), String> {
        let is_right = match self {
            Text => value.is_null() || value.as_str().is_some_and(|text| text.len() <= 4_096),
            EmptyText => value.as_str().is_some_and(|text| text.len() <= 255),
            Bool => value.is_boolean(),
            MaybeBool => value.is_null() || value.is_boolean(),
            Object => value.is_object(),
            MaybeUuid => value.is_null() || value.as_str().is_some_and(|text| text.parse::<uuid::Uuid>().is_ok()),
            OneOf(values) => value.as_str().is_some_and(|text| values.contains(&text)),
        };
        if is_right {
            return Ok(());
        }
        let wanted = match self {
            Text => "a text".to_owned(),
            EmptyText => "a text of at most 255 octets".to_owned(),
            Bool | MaybeBool => "true or false".to_owned(),
            Object => "an object".to_owned(),
            MaybeUuid => "a UUID".to_owned(),
            OneOf(values) => format!("one of {}", values.join(", ")),
        };
        Err(format!("{value} is not valid, {wanted} is expected"))
    }
}

fn provision_state(node: &Node, view: &View) -> Value {
    // Before 1.2 there was no name for it.
    if view.version.0 < 2 && node.provision_state == crate::proto::node::ProvisionState::Available {
        return Value::Null;
    }
    json!(node.provision_state)
}

fn deploy_step(node: &Node) -> Value {
    use crate::proto::node::Stage;
    let step = match node.work.stage {
        Stage::Prepare | Stage::AwaitAgent | Stage::ListSteps => ("deploy", 100),
        Stage::Write(_) => ("write_image", 80),
        Stage::ReadPartitions | Stage::InstallBootloader(_) => ("prepare_instance_boot", 60),
        Stage::TearDownAgent | Stage::AwaitOff(_) | Stage::ForceOff => ("tear_down_agent", 40),
        Stage::BootInstance => ("boot_instance", 20),
        _ => return json!({}),
    };
    json!({ "interface": "deploy", "step": step.0, "priority": step.1 })
}

fn driver_internal_info(node: &Node) -> Value {
    let mut info = Map::new();
    if let Some(at) = node.power_changed_at {
        info.insert("last_power_state_change".into(), time(at));
    }
    let agent = &node.work.agent;
    if agent.token.is_some() {
        info.insert("agent_secret_token".into(), json!(MASKED));
    }
    for (key, value) in [("agent_url", &agent.url), ("agent_version", &agent.version)] {
        if let Some(value) = value {
            info.insert(key.into(), json!(value));
        }
    }
    if let Some(at) = agent.heard_at {
        info.insert("agent_last_heartbeat".into(), time(at));
    }
    Value::Object(info)
}

fn set_object(map: &mut Map<String, Value>, value: Value, name: &str) -> Result<(), String> {
    match value {
        Value::Object(object) => *map = object,
        Value::Null => map.clear(),
        other => return Err(format!("{name}: {other} is not valid, an object is expected")),
    }
    Ok(())
}

fn set_driver(node: &mut Node, value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some(driver) if access::DRIVERS.contains(&driver) => {
            node.driver = driver.into();
            Ok(())
        }
        _ => Err(format!(
            "No valid host was found. Reason: No conductor service registered which supports driver {} for conductor group \"\".",
            value.as_str().unwrap_or("None")
        )),
    }
}

/// Any driver's interface; whether it goes with the node's driver is seen when all fields are set.
fn set_interface(node: &mut Node, interface: Interface, value: Value) -> Result<(), String> {
    let names = access::DRIVERS.iter().flat_map(|driver| access::interfaces(driver));
    let names: Vec<&str> = names.copied().collect();
    match value {
        Value::Null => _ = node.attributes.remove(interface.field()),
        Value::String(name) if names.contains(&name.as_str()) => {
            node.attributes.insert(interface.field().to_owned(), json!(name));
        }
        other => {
            let (field, names) = (interface.field(), names.join(", "));
            return Err(format!("{field}: {other} is not valid, one of {names} is expected"));
        }
    }
    Ok(())
}

/// Whether a node's interfaces go with its driver.
pub(super) fn check_interfaces(node: &Node) -> Result<(), String> {
    [Interface::Power, Interface::Management].into_iter().try_for_each(|interface| interface.check(node))
}

/// What people have chosen for a node's interfaces makes room for its driver's defaults.
pub(super) fn reset_interfaces(node: &mut Node) {
    for interface in [Interface::Power, Interface::Management] {
        node.attributes.remove(interface.field());
    }
}

fn set_maintenance(node: &mut Node, value: &Value) -> Result<(), String> {
    // The client's `node set` sends words.
    let value = match value {
        Value::Bool(value) => *value,
        Value::Null => false,
        Value::String(text) if text.eq_ignore_ascii_case("true") => true,
        Value::String(text) if text.eq_ignore_ascii_case("false") => false,
        other => return Err(format!("maintenance: {other} is not valid, true or false is expected")),
    };
    node.maintenance = value;
    if !value {
        node.maintenance_reason = None;
    }
    Ok(())
}

fn set_name(node: &mut Node, value: &Value) -> Result<(), String> {
    node.name = match value {
        Value::Null => None,
        Value::String(name) if is_name(name) => Some(name.clone()),
        other => return Err(format!("Cannot change name to invalid name {other}: a host name is expected")),
    };
    Ok(())
}

/// Whether a text may be a node's name: a host name (RFC 1123), not a UUID, and not a word that has a meaning in our paths.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 255
        && name.split('.').all(is_label)
        && name.parse::<uuid::Uuid>().is_err()
        && !["detail", "states", "maintenance", "management", "ports", "validate"].contains(&name)
}

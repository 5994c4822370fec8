//! `/`, `/v1`, drivers, conductors: what there is to talk to.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::version::{VERSION_MAX, VERSION_MIN};
use super::view::{View, time};
use super::{Api, ApiError};
use crate::proto::access;

type Result<T> = std::result::Result<T, ApiError>;

fn version(view: &View) -> Value {
    json!({
        "id": "v1",
        "links": [{ "href": format!("{}/v1/", view.base), "rel": "self" }],
        "status": "CURRENT",
        "min_version": VERSION_MIN.to_string(),
        "version": VERSION_MAX.to_string(),
    })
}

pub(super) async fn root(view: View) -> Response {
    let version = version(&view);
    axum::Json(json!({
        "name": "OpenStack Ironic API",
        "description": "Reveille's provisioner, speaking the API of Ironic, an OpenStack project which enables the \
                        provision and management of baremetal machines.",
        "default_version": version,
        "versions": [version],
    }))
    .into_response()
}

pub(super) async fn v1(view: View) -> Response {
    axum::Json(json!({
        "id": "v1",
        "links": [{ "href": format!("{}/v1/", view.base), "rel": "self" }],
        "media_types": [{ "base": "application/json", "type": "application/vnd.openstack.ironic.v1+json" }],
        "version": version(&view),
        "nodes": view.links("nodes/"),
        "ports": view.links("ports/"),
        "drivers": view.links("drivers/"),
        "conductors": view.links("conductors/"),
        "lookup": view.links("lookup/"),
        "heartbeat": view.links("heartbeat/"),
    }))
    .into_response()
}

fn shown(name: &str, view: &View) -> Value {
    json!({
        "name": name,
        "hosts": [*view.conductor],
        "links": view.links(&format!("drivers/{name}")),
        "properties": view.links(&format!("drivers/{name}/properties")),
        "type": "dynamic",
    })
}

pub(super) async fn drivers(view: View) -> Response {
    let all: Vec<Value> = access::DRIVERS.iter().map(|name| shown(name, &view)).collect();
    axum::Json(json!({ "drivers": all })).into_response()
}

/// Ironic's interfaces that no BMC stands behind, and the one of each that there is.
const INTERFACES: &[(&str, &str)] = &[
    ("bios", "no-bios"),
    ("boot", "ipxe"),
    ("console", "no-console"),
    ("deploy", "direct"),
    ("firmware", "no-firmware"),
    ("inspect", "no-inspect"),
    ("network", "noop"),
    ("raid", "no-raid"),
    ("rescue", "no-rescue"),
    ("storage", "noop"),
    ("vendor", "no-vendor"),
];

fn check_driver(name: &str) -> Result<()> {
    if access::DRIVERS.contains(&name) {
        return Ok(());
    }
    Err(ApiError::not_found(format!("Could not find the following driver(s) or hardware type(s): {name}.")))
}

pub(super) async fn driver(view: View, Path(name): Path<String>) -> Result<Response> {
    check_driver(&name)?;
    let mut shown = shown(&name, &view);
    for (interface, default) in INTERFACES {
        shown[format!("default_{interface}_interface")] = json!(default);
        shown[format!("enabled_{interface}_interfaces")] = json!([default]);
    }
    let offered = access::interfaces(&name);
    for interface in ["power", "management"] {
        shown[format!("default_{interface}_interface")] = json!(offered.first());
        shown[format!("enabled_{interface}_interfaces")] = json!(offered);
    }
    Ok(axum::Json(shown).into_response())
}

/// What `driver_info` may hold, by driver; those of all drivers are in the last row.
const PROPERTIES: [(&str, &[(&str, &str)]); 3] = [
    (
        "ipmi",
        &[
            ("ipmi_address", "IP address of the node's BMC. Required."),
            ("ipmi_port", "UDP port of the BMC; 623 by default."),
            ("ipmi_username", "User name at the BMC, at most 16 octets; the null user by default."),
            ("ipmi_password", "Password of that user, at most 20 octets."),
            ("ipmi_priv_level", "ADMINISTRATOR (default), OPERATOR or USER."),
            (
                "ipmi_cipher_suite_version",
                "Cipher suite; the best of 17 and 3 by default. Any with the interface ipmitool.",
            ),
            ("ipmi_hex_kg_key", "K_g, 40 hexadecimal digits, where the BMC has one set."),
            ("ipmi_protocol_version", "2.0 (default), or 1.5 with the interface ipmitool."),
            ("ipmi_bridging", "no (default), single or dual: the controller meant is behind the BMC."),
            ("ipmi_target_channel", "Channel of that controller; required with ipmi_bridging."),
            ("ipmi_target_address", "Address of that controller; required with ipmi_bridging."),
            ("ipmi_transit_channel", "Channel of the controller on the way; required with ipmi_bridging dual."),
            ("ipmi_transit_address", "Address of the controller on the way; required with ipmi_bridging dual."),
        ],
    ),
    (
        "redfish",
        &[
            ("redfish_address", "Address of the node's BMC: https://HOST or https://HOST:PORT. Required."),
            ("redfish_system_id", "Path of the system, as /redfish/v1/Systems/1. Required where the BMC has several."),
            ("redfish_username", "User name at the BMC."),
            ("redfish_password", "Password of that user."),
            (
                "redfish_verify_ca",
                "true (default): the certificates that this host trusts; false: anybody's; or a PEM file's path.",
            ),
            ("redfish_auth_type", "auto (default): sessions where the BMC has them; session; basic."),
            ("redfish_http_boot_uri", "What UEFI HTTP boot (uefihttp) fetches; by default what DHCP says."),
        ],
    ),
    (
        "",
        &[
            ("deploy_kernel", "Kernel of the deploy agent: a path below the boot server's roots, or a URL."),
            ("deploy_ramdisk", "Ramdisk of the deploy agent: a path below the boot server's roots, or a URL."),
        ],
    ),
];

pub(super) async fn driver_properties(Path(name): Path<String>) -> Result<Response> {
    check_driver(&name)?;
    let rows = PROPERTIES.iter().filter(|(driver, _)| *driver == name || driver.is_empty());
    let properties: Map<String, Value> =
        rows.flat_map(|(_, properties)| *properties).map(|(key, words)| ((*key).to_owned(), json!(words))).collect();
    Ok(axum::Json(properties).into_response())
}

fn host(view: &View) -> Value {
    json!({
        "hostname": *view.conductor,
        "conductor_group": "",
        "links": view.links(&format!("conductors/{}", view.conductor)),
        "alive": true,
    })
}

pub(super) async fn conductors(view: View) -> Result<Response> {
    view.version.require(49)?;
    Ok(axum::Json(json!({ "conductors": [host(&view)] })).into_response())
}

pub(super) async fn conductor(State(api): State<Api>, view: View, Path(name): Path<String>) -> Result<Response> {
    view.version.require(49)?;
    if *name != *view.conductor {
        return Err(ApiError::not_found(format!("Conductor {name} could not be found.")));
    }
    let mut shown = host(&view);
    shown["drivers"] = json!(access::DRIVERS);
    shown["updated_at"] = time((api.now)());
    Ok(axum::Json(shown).into_response())
}

//! `/`, `/v1`, drivers, conductors: what there is to talk to.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::version::{VERSION_MAX, VERSION_MIN};
use super::view::{View, time};
use super::{Api, ApiError};

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

fn ipmi(view: &View) -> Value {
    json!({
        "name": "ipmi",
        "hosts": [*view.conductor],
        "links": view.links("drivers/ipmi"),
        "properties": view.links("drivers/ipmi/properties"),
        "type": "dynamic",
    })
}

pub(super) async fn drivers(view: View) -> Response {
    axum::Json(json!({ "drivers": [ipmi(&view)] })).into_response()
}

/// Ironic's interfaces, and the one of each that there is.
const INTERFACES: &[(&str, &str)] = &[
    ("bios", "no-bios"),
    ("boot", "ipxe"),
    ("console", "no-console"),
    ("deploy", "direct"),
    ("firmware", "no-firmware"),
    ("inspect", "no-inspect"),
    ("management", "ipmitool"),
    ("network", "noop"),
    ("power", "ipmitool"),
    ("raid", "no-raid"),
    ("rescue", "no-rescue"),
    ("storage", "noop"),
    ("vendor", "no-vendor"),
];

fn check_driver(name: &str) -> Result<()> {
    if name == "ipmi" {
        return Ok(());
    }
    Err(ApiError::not_found(format!("Could not find the following driver(s) or hardware type(s): {name}.")))
}

pub(super) async fn driver(view: View, Path(name): Path<String>) -> Result<Response> {
    check_driver(&name)?;
    let mut shown = ipmi(&view);
    for (interface, default) in INTERFACES {
        shown[format!("default_{interface}_interface")] = json!(default);
        shown[format!("enabled_{interface}_interfaces")] = json!([default]);
    }
    Ok(axum::Json(shown).into_response())
}

pub(super) async fn driver_properties(Path(name): Path<String>) -> Result<Response> {
    check_driver(&name)?;
    Ok(axum::Json(json!({
        "ipmi_address": "IP address of the node's BMC. Required.",
        "ipmi_port": "UDP port of the BMC; 623 by default.",
        "ipmi_username": "User name at the BMC, at most 16 octets; the null user by default.",
        "ipmi_password": "Password of that user, at most 20 octets.",
        "ipmi_priv_level": "ADMINISTRATOR (default), OPERATOR or USER.",
        "deploy_kernel": "Kernel of the deploy agent: a path below the boot server's roots, or a URL.",
        "deploy_ramdisk": "Ramdisk of the deploy agent: a path below the boot server's roots, or a URL.",
    }))
    .into_response())
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
    shown["drivers"] = json!(["ipmi"]);
    shown["updated_at"] = time((api.now)());
    Ok(axum::Json(shown).into_response())
}

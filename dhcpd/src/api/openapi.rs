//! `GET /v1/openapi.json`: the table of routes as an OpenAPI 3.1 document, with the schemas of the types that are sent and read.
//!
//! Nothing here knows a route or a type. The document is for everybody: it says what every installation of this version says.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use reveille_config::dto::Problem;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::routes;
use super::routes::operation::{Answer, Body, Content, Operation, Shape, shape};
use super::routes::parameter::{Parameter, Place};

const PROBLEM: &str = "application/problem+json";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| format!("{:#}\n", document()).into());

/// The document.
pub async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document_text())
}

/// The document as it is served.
pub fn document_text() -> Bytes {
    DOCUMENT.clone()
}

/// The document of this version's routes.
pub fn document() -> Value {
    let (_, operations) = routes::table().into_parts();
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in &operations {
        let shown = schemas.operation(operation);
        paths.entry(operation.path).or_default().insert(operation.method.as_str().to_lowercase(), shown);
    }
    let mut failures: Vec<StatusCode> = operations.iter().flat_map(Operation::all_failures).collect();
    failures.sort_unstable();
    let failures: Map<String, Value> =
        failures.iter().map(|status| (response_name(*status), schemas.failure(*status))).collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Reveille's lease API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Reservations, leases and events of dhcpd. Whoever may open its unix socket has the role admin and needs no token; over TCP \
                a caller shows a token or a client certificate. All changes are idempotent. What is no HTTP, or has too long or too many header fields, is \
                answered 400 or 431 without a body. On every path a method that it does not have is answered 405, and every other path 404.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "responses": failures,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "Made by `reveille token create`. Each role may also do what those before it may: read, write, admin." },
                "certificate": { "type": "mutualTLS", "description": "A client certificate, whose name or issuer has a role in the configuration." },
            },
        },
    })
}

/// What the types are like: as they are sent, and as they are read.
struct Schemas {
    sent: SchemaGenerator,
    read: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self { sent: settings().for_serialize().into_generator(), read: settings().for_deserialize().into_generator() }
    }

    /// All that have a name. One that is sent and read is the same both ways, which a test keeps.
    fn into_definitions(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        let mut sent = self.sent.take_definitions(true);
        sent.values_mut().for_each(absent_is_not_null);
        all.append(&mut sent);
        all.values_mut().for_each(plain_words);
        all
    }

    fn sent(&mut self, shape: Shape) -> Schema {
        shape(&mut self.sent)
    }

    fn operation(&mut self, operation: &Operation) -> Value {
        let mut responses = Map::new();
        for answer in &operation.answers {
            responses.insert(answer.status.as_str().into(), self.answer(answer));
        }
        for status in operation.all_failures() {
            let name = response_name(status);
            responses.insert(status.as_str().into(), json!({ "$ref": format!("#/components/responses/{name}") }));
        }
        let mut shown = json!({
            "operationId": operation.id,
            "summary": operation.what,
            "responses": responses,
            "security": [],
        });
        if let Some(role) = operation.role {
            shown["security"] = json!([{ "token": [role] }, { "certificate": [role] }]);
        }
        if !operation.parameters.is_empty() {
            shown["parameters"] = operation.parameters.iter().map(parameter).collect();
        }
        if let Some(Body { shape, optional, bytes_max }) = &operation.body {
            shown["requestBody"] = json!({
                "description": format!("At most {bytes_max} octets."),
                "required": !optional,
                "content": { "application/json": { "schema": shape(&mut self.read) } },
            });
        }
        shown
    }

    fn answer(&mut self, answer: &Answer) -> Value {
        let mut shown = json!({ "description": answer.what });
        if answer.tagged {
            shown["headers"] = json!({ "ETag": { "description": "For If-Match.", "schema": { "type": "string" } } });
        }
        for (media, content) in &answer.forms {
            shown["content"][media] = match content {
                Content::Json(shape) => json!({ "schema": self.sent(*shape) }),
                Content::Text => json!({ "schema": { "type": "string" } }),
                Content::Stream(shapes) => {
                    let items: Vec<Schema> = shapes.iter().map(|shape| self.sent(*shape)).collect();
                    json!({ "schema": { "type": "string", "contentMediaType": media, "contentSchema": { "anyOf": items } } })
                }
            };
        }
        shown
    }

    fn failure(&mut self, status: StatusCode) -> Value {
        let schema = self.sent(shape::<Problem>);
        let mut shown = json!({ "description": meaning(status), "content": { PROBLEM: { "schema": schema } } });
        let header = match status {
            StatusCode::UNAUTHORIZED => "WWW-Authenticate",
            StatusCode::SERVICE_UNAVAILABLE => "Retry-After",
            _ => return shown,
        };
        shown["headers"] = json!({ header: { "required": true, "schema": { "type": "string" } } });
        shown
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = (parameter.schema)();
    let mut shown = json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.place == Place::Path,
        "description": parameter.what,
    });
    if schema["type"] == "array" {
        // With commas between the items.
        (shown["style"], shown["explode"]) = ("form".into(), false.into());
    }
    shown["schema"] = schema;
    shown
}

fn response_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Other").replace(' ', "")
}

/// What a refusal means to whoever asked.
fn meaning(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "Not what is read here; `field` says where.",
        StatusCode::UNAUTHORIZED => {
            "Nobody knows who asks: a token or a client certificate is missing, unknown or over."
        }
        StatusCode::FORBIDDEN => "The caller's role is too small.",
        StatusCode::NOT_FOUND => "It does not exist.",
        StatusCode::REQUEST_TIMEOUT => "The body has not come in time; nothing was changed.",
        StatusCode::CONFLICT => "Something else stands against it; `detail` says what.",
        StatusCode::PRECONDITION_FAILED => "It is not as `If-Match` or `If-None-Match` expect; nothing was changed.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too long; nothing was changed.",
        StatusCode::UNPROCESSABLE_ENTITY => {
            "Readable, but not possible: `field`, or for a batch `errors`, say what; nothing was changed."
        }
        StatusCode::SERVICE_UNAVAILABLE => "Not now: ask again.",
        _ => "Refused.",
    }
}

/// Says of what is left out where there is nothing that it is never null.
fn absent_is_not_null(schema: &mut Value) {
    let required: Vec<String> =
        schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(Into::into)).collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
        if let Some(types) = property.get_mut("type").and_then(Value::as_array_mut) {
            types.retain(|kind| kind != "null");
            if let [only] = &types[..] {
                property["type"] = only.clone();
            }
        }
        let Some(either) = property.get_mut("anyOf").and_then(Value::as_array_mut) else { continue };
        either.retain(|schema| schema["type"] != "null");
        if let [only] = &mut either[..]
            && let Some(only) = only.as_object_mut()
        {
            let mut only = std::mem::take(only);
            if let Some(property) = property.as_object_mut() {
                property.remove("anyOf");
                property.append(&mut only);
            }
        }
    }
}

/// The types' own documentation, without its links.
fn plain_words(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == "description" => *text = text.replace("[`", "`").replace("`]", "`"),
                    value => plain_words(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_words),
        _ => {}
    }
}

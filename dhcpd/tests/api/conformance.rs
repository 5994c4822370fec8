//! Holds answers against `/v1/openapi.json`: every answer that a test of this suite gets goes through [`check`].

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use jsonschema::Validator;
use reveille_config::MacAddr;
use reveille_dhcpd::api::{Peer, document};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::Server;

/// For what must come, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// A path of the document that these segments are, and what may be asked of it.
pub fn path_of(path: &str) -> Option<(&'static String, &'static Value)> {
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == asked.len() && parts.iter().zip(&asked).all(|(part, own)| part == own || part.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.get_key_value(path).or_else(|| paths.iter().find(|(template, _)| fits(template)))
}

/// An answer to `method` of `path` is one that the document tells of.
pub fn check(method: &str, path: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    let path = path.split('?').next().unwrap();
    let what = format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(2_000)]));
    let Some((template, operations)) = path_of(path) else {
        assert!([404, 401, 403].contains(&status.as_u16()), "no such path: {what}");
        return;
    };
    let Some(operation) = operations.get(method.to_lowercase()) else {
        assert!([405, 401, 403].contains(&status.as_u16()), "no such method: {what}");
        return;
    };
    let mut response = operation["responses"].get(status.as_str()).unwrap_or_else(|| panic!("no such status: {what}"));
    if let Some(name) = response["$ref"].as_str() {
        response = DOCUMENT.pointer(name.strip_prefix('#').unwrap()).unwrap();
    }
    for (name, told) in response["headers"].as_object().into_iter().flatten() {
        assert!(headers.contains_key(name) || told["required"] != true, "no {name}: {what}");
    }
    let media = headers.get(header::CONTENT_TYPE).map(|media| media.to_str().unwrap().split(';').next().unwrap());
    let Some(content) = response.get("content") else {
        assert!(body.is_empty() && media.is_none(), "it is empty: {what}");
        return;
    };
    let media = media.unwrap_or_else(|| panic!("no content type: {what}"));
    let form = content.get(media).unwrap_or_else(|| panic!("no such form, {media}: {what}"));
    if media.ends_with("json") {
        let value: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {what}"));
        let key = format!("{method} {template} {status}");
        if let Err(error) = validator(key, &form["schema"]).validate(&value) {
            panic!("{error} at {}: {what}", error.instance_path());
        }
    }
}

/// Checks that there is nothing in a value but what its schema tells of.
fn validator(key: String, schema: &Value) -> &'static Validator {
    static MADE: Mutex<Option<HashMap<String, &'static Validator>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap();
    made.get_or_insert_default().entry(key).or_insert_with(|| {
        let mut components = DOCUMENT["components"].clone();
        for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = json!(false);
            }
        }
        let root = json!({ "components": components, "allOf": [schema] });
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&root);
        Box::leak(Box::new(validator.unwrap()))
    })
}

/// Checks each of many values, which come one after the other.
fn check_each<'a>(path: &str, media: &str, values: impl Iterator<Item = &'a str>) -> usize {
    let schema = &DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"][media]["schema"]["contentSchema"];
    assert!(schema["anyOf"].is_array(), "{path} {media}");
    let validator = validator(format!("{path} {media}"), schema);
    let check = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        assert!(validator.is_valid(&value), "{path}: {text}");
    };
    values.map(check).count()
}

#[tokio::test]
async fn what_is_streamed_is_as_described() {
    let server = Server::new();
    for n in [1u8, 2] {
        server.bind(MacAddr([2, 0, 0, 0, 1, n]), Ipv4Addr::new(10, 77, 2, 100 + n)).await;
    }
    let open = async |path: &str, accept: &str| {
        let mut request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::LOCAL);
        server.router.clone().oneshot(request).await.unwrap().into_body()
    };
    let octets = open("/v1/leases:export", "*/*").await.collect().await.unwrap().to_bytes();
    let lines = std::str::from_utf8(&octets).unwrap().lines();
    assert_eq!(check_each("/v1/leases:export", "application/jsonl", lines), 2);
    // A reader from another journal is told what it lost.
    for (query, expected) in [("since=0", 2), ("since=999", 3)] {
        let mut stream = open(&format!("/v1/events?{query}"), "text/event-stream").await;
        let mut text = String::new();
        while text.matches("data: ").count() < expected {
            let frame = tokio::time::timeout(PATIENCE, stream.frame()).await.expect("something comes");
            text.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
        }
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        assert_eq!(check_each("/v1/events", "text/event-stream", data), expected, "{text}");
    }
}

const METHODS: [Method; 7] =
    [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE];

#[tokio::test]
async fn what_is_routed_is_described_and_what_is_described_is_routed() {
    let server = Server::new();
    assert_eq!(server.get("/v1/openapi.json").await, *DOCUMENT);
    for (template, operations) in DOCUMENT["paths"].as_object().unwrap() {
        let path = template
            .replace("{mac}", "02:00:00:00:00:77")
            .replace("{client}", "client-id:0177")
            .replace("{which}", "10.77.2.77")
            .replace("{id}", "x");
        for method in METHODS {
            let described = operations.get(method.as_str().to_lowercase());
            let asked = format!("{path}?no_such_parameter=1");
            let (status, problem) = server.ask(method.as_str(), &asked, None).await;
            let known = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(known, described.is_some(), "{method} {template}: {status} {problem}");
            let Some(operation) = described.filter(|_| path.starts_with("/v1/")) else { continue };
            // What it says of its parameters is what the document says.
            assert_eq!((status.as_u16(), &problem["field"]), (400, &json!("no_such_parameter")), "{problem}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters.filter(|own| own["in"] == "query").map(|own| own["name"].as_str().unwrap());
            let names: Vec<&str> = query.collect();
            let told = problem["detail"].as_str().unwrap();
            assert!(told.ends_with(&names.join(", ")) || names.is_empty(), "{method} {template}: {told}");
        }
    }
}

#[test]
fn the_document_is_whole() {
    fn references<'a>(value: &'a Value, to: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| match value {
                Value::String(text) if name == "$ref" => to.push(text),
                value => references(value, to),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, to)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&DOCUMENT, &mut found);
    assert!(found.len() > 50, "{found:?}");
    for reference in found {
        assert!(DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let mut ids: Vec<&Value> = Vec::new();
    for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(!ids.contains(&&operation["operationId"]), "{method} {path}: {}", operation["operationId"]);
            ids.push(&operation["operationId"]);
            let mut told: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|own| own["in"] == "path")
                .map(|own| own["name"].as_str().unwrap())
                .collect();
            let mut named: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            told.sort_unstable();
            named.sort_unstable();
            assert_eq!(told, named, "{method} {path}");
        }
    }
}

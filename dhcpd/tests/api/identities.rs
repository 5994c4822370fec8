//! Reservations for clients that are not known by their hardware address: put one by one and in batches, read, listed, deleted, found again after a crash.

use axum::http::StatusCode;
use reveille_dhcpd::store::journal::Loss;
use serde_json::{Value, json};

use crate::harness::{A, B, Server};

const BATCH: &str = "/v1/reservations:batch";

/// The word in the path, and the fields that say the same.
fn identities() -> [(&'static str, Value); 4] {
    [
        ("client-id:01aabb", json!({ "client_id": "01aabb" })),
        ("circuit:65746831", json!({ "circuit_id": "65746831" })),
        ("remote:7377", json!({ "remote_id": "7377" })),
        ("circuit:65746832+remote:7377", json!({ "circuit_id": "65746832", "remote_id": "7377" })),
    ]
}

fn with(fields: &Value, more: Value) -> Value {
    let mut all = fields.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[tokio::test]
async fn each_identity_is_put_shown_listed_and_deleted_as_a_machine_is() {
    let mut server = Server::new();
    for ((word, fields), last) in identities().into_iter().zip(60..) {
        let said = json!({ "address": format!("10.77.2.{last}"), "hostname": "n", "labels": { "rack": "r1" }, "lease_secs": 600 });
        let path = format!("/v1/reservations/{word}");
        let (status, put) = server.ask("PUT", &path, Some(said.clone())).await;
        let expected = with(&with(&fields, said.clone()), json!({ "scope": "prov", "origin": "api" }));
        assert_eq!((status, &put), (StatusCode::CREATED, &expected));
        let records = server.store.journal.stats().records;
        assert_eq!(server.ask("PUT", &path, Some(with(&fields, said))).await, (StatusCode::OK, expected.clone()));
        assert_eq!(server.store.journal.stats().records, records, "the same again is no change");
        assert_eq!(server.get(&path).await, expected);
    }
    for _ in 0..2 {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/reservations?scope=prov&limit=1{cursor}")).await;
            found.extend(page["items"].as_array().unwrap().iter().map(|own| own["address"].clone()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        found.sort_by_key(ToString::to_string);
        assert_eq!(json!(found), json!(["10.77.2.50", "10.77.2.60", "10.77.2.61", "10.77.2.62", "10.77.2.63"]));
        server = server.restart(Loss::Everything);
    }
    for (word, _) in identities() {
        let path = format!("/v1/reservations/{word}");
        assert_eq!(server.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(server.ask("GET", &path, None).await.0, StatusCode::NOT_FOUND, "{word}");
    }
    let server = server.restart(Loss::Everything);
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 1, "the configuration's");
}

#[tokio::test]
async fn a_batch_has_rows_of_every_kind() {
    let mut server = Server::new();
    let open = json!({ "scope": "prov" });
    let mut rows: Vec<Value> = identities().iter().map(|(_, fields)| with(fields, open.clone())).collect();
    rows.push(json!({ "mac": A, "address": "10.77.2.60" }));
    let batch = json!({ "put": rows });
    let (status, tried) = server.ask("POST", &format!("{BATCH}?dry_run=true"), Some(batch.clone())).await;
    assert_eq!((status, &tried["created"]), (StatusCode::OK, &json!(5)), "{tried}");
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 1, "it was a trial");
    let (_, done) = server.ask("POST", BATCH, Some(batch.clone())).await;
    let chosen = done["chosen"].as_array().unwrap();
    assert_eq!((&done["created"], chosen.len()), (&json!(5), 4), "{done}");
    for (chosen, (_, fields)) in chosen.iter().zip(identities()) {
        assert!(fields.as_object().unwrap().iter().all(|(field, value)| chosen[field] == *value), "{chosen}");
    }
    server = server.restart(Loss::Everything);
    let (_, again) = server.ask("POST", BATCH, Some(batch)).await;
    assert_eq!(again["unchanged"], 5, "{again}");
    let delete: Vec<Value> = identities().into_iter().map(|(_, fields)| fields).collect();
    let (_, done) = server.ask("POST", BATCH, Some(json!({ "delete": delete }))).await;
    assert_eq!(done["deleted"], 4, "{done}");
    let server = server.restart(Loss::Everything);
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/v1/scopes").await["items"][1]["in_use"], 0, "no address of the pools is held");
}

#[tokio::test]
async fn what_names_no_one_client_is_refused() {
    let server = Server::new();
    let (status, _) =
        server.ask("PUT", "/v1/reservations/client-id:0102", Some(json!({ "address": "10.77.2.60" }))).await;
    assert_eq!(status, StatusCode::CREATED);
    for (path, body, status, field, word) in [
        ("client-id:", json!({}), 400, "client", "HEX"),
        ("client-id:1", json!({}), 400, "client", "HEX"),
        ("circuit:01+client-id:02", json!({}), 400, "client", "HEX"),
        ("client-id:01", json!({ "scope": "prov", "mac": A }), 422, "mac", "the path says client-id:01"),
        ("client-id:01", json!({ "scope": "prov", "client_id": "02" }), 422, "client_id", "the path says"),
        (A, json!({ "scope": "prov", "remote_id": "02" }), 422, "remote_id", "the path says"),
        ("remote:02", json!({ "scope": "prov", "remote_id": "xy" }), 422, "remote_id", "hexadecimal"),
        ("remote:02", json!({ "address": "10.77.2.60" }), 409, "address", "reserved for client-id:0102"),
        (B, json!({ "address": "10.77.2.60" }), 409, "address", "reserved for client-id:0102"),
        ("remote:02", json!({ "address": "10.77.2.50" }), 409, "address", "reserved for 02:00:00:00:00:a1"),
    ] {
        let (got, problem) = server.ask("PUT", &format!("/v1/reservations/{path}"), Some(body)).await;
        assert_eq!((got.as_u16(), problem["field"].as_str()), (status, Some(field)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{path}: {problem}");
    }
    let twice = json!({ "client_id": "05", "scope": "prov" });
    for (row, status, field) in [
        (json!({ "mac": A, "client_id": "05", "scope": "prov" }), 422, "client_id"),
        (json!({ "scope": "prov" }), 422, "mac"),
        (json!({ "client_id": "x", "scope": "prov" }), 422, "client_id"),
        (twice.clone(), 422, "client_id"),
    ] {
        let (got, problem) = server.ask("POST", BATCH, Some(json!({ "put": [twice, row] }))).await;
        assert_eq!((got.as_u16(), problem["errors"][0]["field"].as_str()), (status, Some(field)), "{problem}");
    }
}

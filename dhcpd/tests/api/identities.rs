//! Reservations for clients that are not known by their hardware address: put one by one and in batches, read, listed, deleted, found again after a crash.

use std::net::Ipv4Addr;

use axum::http::StatusCode;
use reveille_dhcpd::store::journal::Loss;
use serde_json::{Value, json};

use crate::harness::{A, B, FIXED, Server, mac};

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
    assert_eq!(server.get("/v1/scopes").await["items"][1]["in_use"], 4, "kept, though nobody has come for them");
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
        (A, json!({ "scope": "prov", "mac": B, "client_id": "01" }), 422, "mac", "the path says 02:00:00:00:00:01"),
        ("client-id:01", json!({ "scope": "prov", "client_id": "02" }), 422, "client_id", "the path says"),
        ("remote:01", json!({ "scope": "prov", "circuit_id": "02" }), 422, "circuit_id", "the path says remote:01"),
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
        (json!({ "mac": A, "remote_id": "x", "scope": "prov" }), 422, "remote_id"),
        (json!({ "scope": "prov" }), 422, "mac"),
        (json!({ "client_id": "x", "scope": "prov" }), 422, "client_id"),
        (twice.clone(), 422, "client_id"),
    ] {
        let (got, problem) = server.ask("POST", BATCH, Some(json!({ "put": [twice, row] }))).await;
        assert_eq!((got.as_u16(), problem["errors"][0]["field"].as_str()), (status, Some(field)), "{problem}");
    }
}

const NAMES: [&str; 3] = ["02:00:00:00:00:01", "client-id:01aa", "circuit:65+remote:73"];

fn several() -> Value {
    json!({ "mac": A, "client_id": "01aa", "circuit_id": "65", "remote_id": "73" })
}

#[tokio::test]
async fn one_reservation_is_for_whoever_comes_with_one_of_its_identities() {
    let mut server = Server::new();
    let said = json!({ "address": "10.77.2.60", "hostname": "n", "lease_secs": 600 });
    let expected = with(&with(&several(), said.clone()), json!({ "scope": "prov", "origin": "api" }));
    // The path says one of them and the body the rest, whichever way round.
    for (name, status) in NAMES.into_iter().zip([StatusCode::CREATED, StatusCode::OK, StatusCode::OK]) {
        let put = server.ask("PUT", &format!("/v1/reservations/{name}"), Some(with(&several(), said.clone()))).await;
        assert_eq!(put, (status, expected.clone()), "{name}");
    }
    for _ in 0..2 {
        for name in NAMES {
            assert_eq!(server.get(&format!("/v1/reservations/{name}")).await, expected, "{name}");
        }
        assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 2, "it is one");
        server = server.restart(Loss::Everything);
    }
    // Of another reservation of the network none of them can be.
    let known = "belongs to the reservation of 10.77.2.60 for 02:00:00:00:00:01";
    for (path, body, field) in [
        (B, json!({ "address": "10.77.2.61", "client_id": "01aa" }), "client_id"),
        (B, json!({ "address": "10.77.2.61", "circuit_id": "65", "remote_id": "73" }), "circuit_id"),
        ("client-id:01aa", json!({ "address": "10.77.2.61" }), "client_id"),
        (NAMES[2], json!({ "address": "10.77.2.60", "client_id": "02" }), "circuit_id"),
    ] {
        let (status, problem) = server.ask("PUT", &format!("/v1/reservations/{path}"), Some(body)).await;
        assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &json!(field)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(known), "{problem}");
    }
    // What it no longer names is free again; what it was known by first stays.
    let fewer = json!({ "address": "10.77.2.60", "client_id": "01aa" });
    let (status, shown) = server.ask("PUT", &format!("/v1/reservations/{A}"), Some(fewer)).await;
    assert_eq!((status, shown.get("circuit_id")), (StatusCode::OK, None), "{shown}");
    let port = server.ask("PUT", &format!("/v1/reservations/{}", NAMES[2]), Some(json!({ "scope": "prov" }))).await;
    assert_eq!(port.0, StatusCode::CREATED, "{}", port.1);
    // Deleted by any of its names.
    assert_eq!(server.ask("DELETE", "/v1/reservations/client-id:01aa", None).await.0, StatusCode::NO_CONTENT);
    let server = server.restart(Loss::Everything);
    for name in &NAMES[..2] {
        assert_eq!(server.ask("GET", &format!("/v1/reservations/{name}"), None).await.0, StatusCode::NOT_FOUND);
    }
    let other = json!({ "address": "10.77.2.60", "client_id": "01aa" });
    assert_eq!(server.ask("PUT", &format!("/v1/reservations/{B}"), Some(other)).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_batch_names_each_identity_once() {
    let mut server = Server::new();
    let batch = json!({ "put": [
        with(&several(), json!({ "address": "10.77.2.60" })),
        { "mac": B, "client_id": "02bb", "scope": "prov" },
    ] });
    for _ in 0..2 {
        let (_, tried) = server.ask("POST", &format!("{BATCH}?dry_run=true"), Some(batch.clone())).await;
        assert_eq!((&tried["created"], &tried["chosen"][0]["client_id"]), (&json!(2), &json!("02bb")), "{tried}");
    }
    let (_, done) = server.ask("POST", BATCH, Some(batch.clone())).await;
    assert_eq!(done["created"], 2, "{done}");
    server = server.restart(Loss::Everything);
    let (_, again) = server.ask("POST", BATCH, Some(batch)).await;
    assert_eq!(again["unchanged"], 2, "{again}");
    for (row, status, field) in [
        (json!({ "mac": FIXED, "client_id": "03", "scope": "prov" }), 409, Value::Null),
        (json!({ "mac": "02:00:00:00:00:03", "client_id": "02bb", "scope": "prov" }), 409, json!("client_id")),
        (json!({ "remote_id": "73", "circuit_id": "65", "scope": "prov" }), 409, json!("circuit_id")),
    ] {
        for batch in [&format!("{BATCH}?dry_run=true"), BATCH] {
            let free = json!({ "mac": "02:00:00:00:00:04", "client_id": "04", "scope": "prov" });
            let (got, problem) = server.ask("POST", batch, Some(json!({ "put": [free, row] }))).await;
            let error = &problem["errors"][0];
            assert_eq!((got.as_u16(), &error["field"], &error["row"]), (422, &field, &json!(1)), "{status} {problem}");
        }
    }
    // Nothing of the refused ones is left behind.
    let free = json!({ "mac": "02:00:00:00:00:05", "client_id": "04", "scope": "prov" });
    let (_, done) = server.ask("POST", BATCH, Some(json!({ "put": [free] }))).await;
    assert_eq!(done["created"], 1, "{done}");
    for (delete, expected) in [
        (json!({ "mac": B, "client_id": "02bb" }), Err("client_id")),
        (json!({ "client_id": "02bb" }), Ok(1)),
        (json!({ "circuit_id": "65", "remote_id": "73" }), Ok(1)),
        (json!({ "client_id": "01aa" }), Ok(0)),
    ] {
        let (_, done) = server.ask("POST", BATCH, Some(json!({ "delete": [delete] }))).await;
        match expected {
            Ok(deleted) => assert_eq!(done["deleted"], json!(deleted), "{done}"),
            Err(field) => assert_eq!(done["errors"][0]["field"], json!(field), "{done}"),
        }
    }
    let server = server.restart(Loss::Everything);
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn machines_that_come_with_one_identity_each_have_the_address_one_after_the_other() {
    let server = Server::new();
    let at = Ipv4Addr::new(10, 77, 2, 60);
    let body = json!({ "address": at, "client_id": "01ab", "hostname": "n" });
    assert_eq!(server.ask("PUT", &format!("/v1/reservations/{A}"), Some(body)).await.0, StatusCode::CREATED);
    let lease = format!("/v1/leases/{at}");
    let request = |machine: &str, id: &[u8]| {
        let options: [(u8, &[u8]); 3] = [(54, &[10, 77, 2, 1]), (50, &at.octets()), (61, id)];
        server.send(1, 3, mac(machine), &options);
    };
    // Another machine with the client identifier: the machine itself has to wait.
    request(B, &[1, 0xab]);
    let holder = server.until(&lease, |status, _| status == StatusCode::OK).await;
    assert_eq!((&holder["mac"], &holder["hostname"], &holder["reserved"]), (&json!(B), &json!("n"), &json!(true)));
    request(A, &[9]);
    // What comes later is answered later.
    server.bind(mac("02:00:00:00:00:0c"), Ipv4Addr::new(10, 77, 2, 110)).await;
    assert_eq!(server.get(&lease).await["mac"], B, "two machines at once");
    assert_eq!(server.ask("DELETE", &lease, None).await.0, StatusCode::NO_CONTENT);
    request(A, &[9]);
    server.until(&lease, |status, body| status == StatusCode::OK && body["mac"] == A && body["state"] == "bound").await;
    request(B, &[1, 0xab]);
    server.bind(mac("02:00:00:00:00:0d"), Ipv4Addr::new(10, 77, 2, 111)).await;
    assert_eq!(server.get(&lease).await["mac"], A, "two machines at once");
}

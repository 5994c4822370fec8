//! Batches of reservations: all or none, and what else a reservation can carry.

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use reveille_config::limit::{BATCH_BYTES_MAX, BATCH_MISTAKES_MAX, BATCH_ROWS_MAX};
use reveille_dhcpd::api::Peer;
use reveille_dhcpd::store::journal::Loss;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::{A, B, FIXED, Server, mac};

const C: &str = "02:00:00:00:00:03";
const BATCH: &str = "/v1/reservations:batch";

#[tokio::test]
async fn a_batch_is_put_as_a_whole_and_again_without_a_change() {
    let mut server = Server::new();
    let batch = json!({ "put": [
        { "mac": A, "address": "10.77.2.60", "hostname": "a" },
        { "mac": B, "scope": "prov" },
    ] });
    let (status, tried) = server.ask("POST", &format!("{BATCH}?dry_run=true"), Some(batch.clone())).await;
    assert_eq!((status, &tried["created"], &tried["dry_run"]), (StatusCode::OK, &json!(2), &json!(true)), "{tried}");
    assert_eq!(server.get("/v1/reservations?scope=prov").await["items"].as_array().unwrap().len(), 1, "it was a trial");
    let (status, done) = server.ask("POST", BATCH, Some(batch.clone())).await;
    assert_eq!((status, &done["created"], &done["dry_run"]), (StatusCode::OK, &json!(2), &json!(false)), "{done}");
    assert_eq!(done["chosen"][0]["mac"], B);
    let chosen = server.get(&format!("/v1/reservations/{B}")).await["address"].clone();
    assert_eq!(done["chosen"][0]["address"], chosen);
    let records = server.store.journal.stats().records;
    let (_, again) = server.ask("POST", BATCH, Some(batch)).await;
    assert_eq!((&again["unchanged"], server.store.journal.stats().records), (&json!(2), records), "{again}");
    let third = json!({ "put": [{ "mac": A, "address": "10.77.2.61" }], "delete": [{ "mac": B }, { "mac": C }] });
    let (_, done) = server.ask("POST", BATCH, Some(third)).await;
    assert_eq!((&done["changed"], &done["deleted"]), (&json!(1), &json!(1)), "{done}");
    for _ in 0..2 {
        assert_eq!(server.get(&format!("/v1/reservations/{A}")).await["address"], "10.77.2.61");
        assert_eq!(server.ask("GET", &format!("/v1/reservations/{B}"), None).await.0, StatusCode::NOT_FOUND);
        server = server.restart(Loss::Everything);
    }
}

#[tokio::test]
async fn one_bad_row_and_nothing_is_done() {
    let server = Server::new();
    server.bind(mac(B), Ipv4Addr::new(10, 77, 2, 101)).await;
    let good = json!({ "mac": A, "address": "10.77.2.60" });
    let free = server.get("/v1/scopes").await;
    for (rows, list, row, field, word) in [
        (json!({ "put": [good, { "mac": C, "address": "192.168.0.1" }] }), "put", 1, "address", "no scope"),
        (json!({ "put": [{ "mac": C, "adress": "10.77.2.9" }, good] }), "put", 0, "adress", "unknown field"),
        (json!({ "put": [good, { "address": "10.77.2.9" }] }), "put", 1, "mac", "names its machine"),
        (json!({ "put": [good, { "mac": "zz" }] }), "put", 1, "mac", "MAC"),
        (json!({ "put": [good, { "mac": A, "address": "10.77.2.61" }] }), "put", 1, "mac", "row 0 of `put`"),
        (json!({ "put": [good, { "mac": C, "address": "10.77.2.60" }] }), "put", 1, "address", "row 0 of `put`"),
        (json!({ "put": [good, { "mac": C, "address": "10.77.2.101" }] }), "put", 1, "address", "bound to"),
        (json!({ "put": [good, { "mac": C, "address": "10.77.2.50" }] }), "put", 1, "address", "reserved for"),
        (json!({ "put": [good, { "mac": FIXED, "address": "10.77.2.51" }] }), "put", 1, "", "configuration"),
        (json!({ "put": [good], "delete": [{ "mac": FIXED }] }), "delete", 0, "", "configuration"),
        (json!({ "put": [good], "delete": [{ "mac": A, "scope": "nope" }] }), "delete", 0, "", "nope"),
    ] {
        for path in [BATCH.to_owned(), format!("{BATCH}?dry_run=true")] {
            let (status, problem) = server.ask("POST", &path, Some(rows.clone())).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rows}: {problem}");
            let error = &problem["errors"][0];
            assert_eq!((&error["list"], &error["row"]), (&json!(list), &json!(row)), "{problem}");
            assert_eq!(error["field"].as_str().unwrap_or(""), field, "{problem}");
            assert!(error["detail"].as_str().unwrap().contains(word), "{problem}");
            assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
        }
    }
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 1, "the configuration's");
    assert_eq!(server.get("/v1/scopes").await, free, "no address is held");
}

#[tokio::test]
async fn at_the_limits_it_is_said_what_they_are() {
    let server = Server::new();
    let (status, _) = server.ask_raw("POST", BATCH, Body::from("{\"put\": [")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = server.ask_raw("POST", BATCH, Body::from(vec![b' '; BATCH_BYTES_MAX + 1])).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let rows = |count: usize| json!({ "put": vec![json!({}); count] });
    let (status, problem) = server.ask("POST", BATCH, Some(rows(BATCH_ROWS_MAX + 1))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(problem["detail"].as_str().unwrap().contains("100000 rows"), "{problem}");
    let (status, problem) = server.ask("POST", BATCH, Some(rows(BATCH_MISTAKES_MAX + 1))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"].as_array().unwrap().len(), BATCH_MISTAKES_MAX);
    assert!(problem["detail"].as_str().unwrap().contains("101 of the rows"), "{problem}");
    assert_eq!(server.ask("POST", BATCH, Some(json!({}))).await.0, StatusCode::OK, "an empty one changes nothing");
}

#[tokio::test]
async fn many_rows_go_over_many_commits_and_are_found_again() {
    let mut server = Server::new();
    // More than 360 KiB of records: more than what is written at once.
    let row = |n: u32| {
        let mac = format!("02:00:00:01:{:02x}:{:02x}", n >> 8, n & 255);
        json!({ "mac": mac, "address": format!("10.77.2.{}", 130 + n), "node": "n".repeat(255),
            "boot_file": "b".repeat(120), "options": { "225": format!("hex:{}", "0a".repeat(900)) } })
    };
    let batch = json!({ "put": (0..120).map(row).collect::<Vec<Value>>() });
    let before = server.store.journal.stats().commits;
    let (status, done) = server.ask("POST", BATCH, Some(batch)).await;
    assert_eq!((status, &done["created"]), (StatusCode::OK, &json!(120)), "{done}");
    assert!(server.store.journal.stats().commits > before + 1, "more than one commit");
    for _ in 0..2 {
        let all = server.get("/v1/reservations?scope=prov").await;
        assert_eq!(all["items"].as_array().unwrap().len(), 121);
        server = server.restart(Loss::Everything);
    }
}

#[tokio::test]
async fn a_batch_without_its_end_never_was() {
    let server = Server::new();
    let mut appender = server.store.journal.appender();
    let one = reveille_dhcpd::store::record::Record::Unreserve {
        client: mac(A).into(),
        address: Ipv4Addr::new(10, 77, 2, 60),
    };
    let (status, _) =
        server.ask("PUT", &format!("/v1/reservations/{A}"), Some(json!({ "address": "10.77.2.60" }))).await;
    assert_eq!(status, StatusCode::CREATED);
    let part = reveille_dhcpd::store::record::batch_part(1, &one);
    let _durable = appender.append(9, &part, ()).unwrap().wait(&appender).await.unwrap();
    let server = server.restart(Loss::Everything);
    assert_eq!(server.get(&format!("/v1/reservations/{A}")).await["address"], "10.77.2.60");
    let batch = json!({ "put": [{ "mac": B, "address": "10.77.2.62" }] });
    assert_eq!(server.ask("POST", BATCH, Some(batch)).await.0, StatusCode::OK);
    let server = server.restart(Loss::Everything);
    for (mac, address) in [(A, "10.77.2.60"), (B, "10.77.2.62")] {
        assert_eq!(server.get(&format!("/v1/reservations/{mac}")).await["address"], address);
    }
}

#[tokio::test]
async fn what_a_reservation_carries_is_shown_and_found_again() {
    let server = Server::of(&crate::harness::CONFIG.replace(
        "[[dhcpd.scope]]\nname = \"bmc\"",
        "[dhcpd.boot.arm]\nefi_arm64 = \"arm.efi\"\n\n[[dhcpd.scope]]\nname = \"bmc\"",
    ));
    let path = format!("/v1/reservations/{A}");
    let body = json!({ "pool": "10.77.2.100-10.77.2.119", "scope": "prov", "boot_files": { "efi_x64": "x.efi", "ipxe": "http://10.77.2.1/x.ipxe" },
        "lease_secs": 900, "labels": { "rack": "r1" }, "expires_unix": 4_000_000_000u32, "mac": A });
    let (status, put) = server.ask("PUT", &path, Some(body.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{put}");
    for field in ["boot_files", "lease_secs", "labels", "expires_unix"] {
        assert_eq!(put[field], body[field], "{field}");
    }
    let (status, again) = server.ask("PUT", &path, Some(body)).await;
    assert_eq!((status, &again), (StatusCode::OK, &put), "idempotent");
    let server = server.restart(Loss::Everything);
    assert_eq!(server.get(&path).await, put);
    let (status, named) = server.ask("PUT", &path, Some(json!({ "scope": "prov", "boot": "arm" }))).await;
    assert_eq!(
        (status, &named["boot"], &named["address"]),
        (StatusCode::OK, &json!("arm"), &put["address"]),
        "{named}"
    );
    for (body, field, word) in [
        (json!({ "boot": "none" }), "boot", "no boot profile `none`"),
        (json!({ "boot": "arm", "boot_files": { "bios": "x" } }), "boot_files", "one of the two"),
        (json!({ "boot_files": { "efi_x64": "http://x/y" } }), "boot_files", "takes no URL"),
        (json!({ "boot_files": { "ps2": "x" } }), "boot_files", "unknown key"),
        (json!({ "pool": "10.77.2.1-10.77.2.9" }), "pool", "10.77.2.100-10.77.2.119"),
        (json!({ "pool": "10.77.2.100", "address": "10.77.2.60" }), "pool", "one of the two"),
        (json!({ "lease_secs": 1 }), "lease_secs", "60"),
        (json!({ "expires_unix": 1 }), "expires_unix", "after now"),
        (json!({ "labels": { "a=b": "x" } }), "labels.a=b", "without `=`"),
        (json!({ "mac": B }), "mac", A),
    ] {
        let mut body = body;
        body["scope"] = json!("prov");
        let (status, problem) = server.ask("PUT", &path, Some(body)).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
}

#[tokio::test]
async fn a_reservation_ends_by_itself() {
    let server = Server::new();
    let path = format!("/v1/reservations/{A}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let body = json!({ "address": "10.77.2.60", "expires_unix": now + 2 });
    let (status, put) = server.ask("PUT", &path, Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{put}");
    server.until(&path, |status, _| status == StatusCode::NOT_FOUND).await;
    // Whether its end was on disk already or is found anew, it is over.
    let server = server.restart(Loss::Everything);
    server.until(&path, |status, _| status == StatusCode::NOT_FOUND).await;
    let (status, _) =
        server.ask("PUT", &format!("/v1/reservations/{B}"), Some(json!({ "address": "10.77.2.60" }))).await;
    assert_eq!(status, StatusCode::CREATED, "the address is free");
}

#[tokio::test]
async fn of_two_writers_the_second_is_told() {
    let server = Server::new();
    let path = format!("/v1/reservations/{A}");
    let ask = async |method: &str, condition: Option<(header::HeaderName, &str)>, body: Value| {
        let mut request = Request::builder().method(method).uri(&path);
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        request.extensions_mut().insert(Peer::LOCAL);
        let answer = server.router.clone().oneshot(request).await.unwrap();
        let tag = answer.headers().get(header::ETAG).map(|tag| tag.to_str().unwrap().to_owned());
        (answer.status().as_u16(), tag)
    };
    let body = |host: &str| json!({ "address": "10.77.2.60", "hostname": host });
    assert_eq!(ask("PUT", Some((header::IF_MATCH, "*")), body("a")).await.0, 412, "there is none yet");
    let (status, first) = ask("PUT", Some((header::IF_NONE_MATCH, "*")), body("a")).await;
    assert_eq!(status, 201);
    assert_eq!(ask("PUT", Some((header::IF_NONE_MATCH, "*")), body("b")).await.0, 412);
    let first = first.unwrap();
    assert_eq!(ask("GET", None, json!({})).await, (200, Some(first.clone())));
    let (status, second) = ask("PUT", Some((header::IF_MATCH, &first)), body("b")).await;
    assert_eq!(status, 200);
    assert_ne!(second, Some(first.clone()));
    assert_eq!(ask("PUT", Some((header::IF_MATCH, &first)), body("c")).await.0, 412, "somebody was faster");
    assert_eq!(ask("DELETE", Some((header::IF_MATCH, &first)), json!({})).await.0, 412);
    let both = format!("{first}, {}", second.unwrap());
    assert_eq!(ask("DELETE", Some((header::IF_MATCH, &both)), json!({})).await.0, 204);
    assert_eq!(ask("PUT", Some((header::IF_NONE_MATCH, &first)), body("c")).await.0, 400);
    for (condition, status) in [("", 412), ("abc", 400), ("\"a\"b\"", 400), ("\"abc\"", 412), ("W/\"abc\"", 412)] {
        assert_eq!(ask("PUT", Some((header::IF_MATCH, condition)), body("c")).await.0, status, "{condition}");
    }
}

#[tokio::test]
async fn a_disk_that_refuses_leaves_no_half_of_a_batch() {
    let server = Server::new();
    server.disk.refuse_after(0, rustix::io::Errno::NOSPC);
    let batch = json!({ "put": [{ "mac": A, "address": "10.77.2.60" }, { "mac": B, "address": "10.77.2.61" }] });
    let (status, problem) = server.ask("POST", BATCH, Some(batch.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    server.disk.give_room();
    server.until("/readyz", |status, _| status == StatusCode::OK).await;
    let (status, done) = server.ask("POST", BATCH, Some(batch)).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let server = server.restart(Loss::Everything);
    for mac in [A, B] {
        assert_eq!(server.ask("GET", &format!("/v1/reservations/{mac}"), None).await.0, StatusCode::OK);
    }
}

//! The lease API: request in, answer out.

mod batches;
mod bodies;
mod conformance;
mod harness;
mod identities;
mod leases;
mod limits;
mod paging;
mod transport;

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::StatusCode;
use reveille_config::MacAddr;
use reveille_dhcpd::store::journal::JournalState;
use serde_json::{Value, json};

use harness::{A, B, CONFIG, FIXED, Server, mac};

#[tokio::test]
async fn a_reservation_is_put_read_listed_and_deleted() {
    let server = Server::new();
    let options = json!({ "routers": ["10.77.2.1"], "224": "hex:0a0b" });
    let body = json!({ "address": "10.77.2.60", "hostname": "node-1", "boot_file": "x.efi", "node": "n-1", "options": options });
    let path = format!("/v1/reservations/{A}");
    let (status, put) = server.ask("PUT", &path, Some(body.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{put}");
    let expected = json!({ "mac": A, "scope": "prov", "address": "10.77.2.60", "hostname": "node-1",
        "boot_file": "x.efi", "options": options, "node": "n-1", "origin": "api" });
    assert_eq!(put, expected);
    let records = server.store.journal.stats().records;
    assert_eq!(server.ask("PUT", &path, Some(body)).await, (StatusCode::OK, expected.clone()), "idempotent");
    assert_eq!(server.store.journal.stats().records, records, "and without a write");
    assert_eq!(server.get(&path).await, expected);
    let listed = server.get("/v1/reservations?scope=prov").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "with the configuration's");
    assert_eq!(listed["items"][1]["origin"], "config");
    let page = server.get("/v1/reservations?limit=1").await;
    let rest = server.get(&format!("/v1/reservations?cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!(rest["items"][0]["mac"], FIXED);
    for _ in 0..2 {
        assert_eq!(server.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.ask("GET", &path, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reservation_knows_the_configurations_options_and_classes() {
    let defined = "[[dhcpd.option]]\nname = \"rack\"\ncode = 230\ntype = \"u16\"\n\
        [[dhcpd.class]]\nname = \"drac\"\nmatch = { vendor-class = \"iDRAC\" }\n\
        [[dhcpd.class]]\nname = \"odd\"\nmatch = { mac-prefix = \"02:00:00:00:00:02\" }\n\n[[dhcpd.scope]]\nname = \"bmc\"";
    let pools = "[{ range = \"10.77.1.100\", allow = [\"odd\"] }, { range = \"10.77.1.101-10.77.1.102\", deny = [\"odd\", \"drac\"] }, \
        { range = \"10.77.1.103\", allow = [\"drac\"] }]";
    let config = CONFIG.replacen("[[dhcpd.scope]]\nname = \"bmc\"", defined, 1);
    let server = Server::of(&config.replace("[\"10.77.1.100-10.77.1.101\"]", pools));
    for (mac, address) in [(A, "10.77.1.101"), (B, "10.77.1.100"), ("02:00:00:00:00:03", "10.77.1.102")] {
        let body = json!({ "scope": "bmc", "options": { "rack": 7 } });
        let (status, put) = server.ask("PUT", &format!("/v1/reservations/{mac}"), Some(body)).await;
        assert_eq!((status, put["options"]["rack"].as_u64()), (StatusCode::CREATED, Some(7)), "{put}");
        let chosen = put["address"].as_str().unwrap();
        let swapped = |address: &str| address.replace("101", "10x").replace("102", "10x");
        assert_eq!(swapped(chosen), swapped(address), "{mac}");
    }
    let (status, problem) = server
        .ask("PUT", &format!("/v1/reservations/{A}"), Some(json!({ "scope": "bmc", "options": { "rack": "x" } })))
        .await;
    assert_eq!((status.as_u16(), problem["field"].as_str()), (422, Some("options")), "{problem}");
    let drac = "02:00:00:00:00:09";
    server.send(0, 1, mac(drac), &[(60, b"iDRAC")]);
    server.until("/v1/sightings", |_, page| page["items"][0]["mac"] == drac).await;
    let (status, approved) = server.ask("POST", &format!("/v1/sightings/{drac}/approve"), None).await;
    assert_eq!((status, approved["address"].as_str()), (StatusCode::CREATED, Some("10.77.1.103")), "{approved}");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::new();
    server.bind(mac(B), Ipv4Addr::new(10, 77, 2, 101)).await;
    let put = |mac: &str| format!("/v1/reservations/{mac}");
    let long = "x".repeat(300);
    for (method, path, body, status, field, word) in [
        ("PUT", put("zz"), json!({}), 400, "client", "MAC"),
        ("PUT", put(A), json!({}), 422, "scope", "several scopes"),
        ("PUT", put(A), json!({ "scope": "nope" }), 404, "", "bmc, prov"),
        ("PUT", put(A), json!({ "adress": "10.77.2.60" }), 400, "adress", "unknown field"),
        ("PUT", put(A), json!({ "address": "10.77.2" }), 400, "address", "IPv4"),
        ("PUT", put(A), json!({ "address": "192.168.0.1" }), 422, "address", "no scope"),
        ("PUT", put(A), json!({ "scope": "prov", "address": "10.77.1.60" }), 422, "address", "10.77.2.0/24"),
        ("PUT", put(A), json!({ "address": "10.77.2.1" }), 422, "address", "server's own"),
        ("PUT", put(A), json!({ "address": "10.77.2.255" }), 422, "address", "network's"),
        ("PUT", put(A), json!({ "scope": "prov", "hostname": "a b" }), 422, "hostname", "letters"),
        ("PUT", put(A), json!({ "scope": "prov", "hostname": long }), 422, "hostname", "253"),
        ("PUT", put(A), json!({ "scope": "prov", "options": { "no-such": 1 } }), 422, "options", "no-such"),
        ("PUT", put(A), json!({ "address": "10.77.2.101" }), 409, "address", "bound to 02:00:00:00:00:02"),
        ("PUT", put(A), json!({ "address": "10.77.2.50" }), 409, "address", "reserved for 02:00:00:00:00:a1"),
        ("PUT", put(FIXED), json!({ "address": "10.77.2.51" }), 409, "", "configuration file"),
        ("DELETE", put(FIXED), json!({}), 409, "", "configuration file"),
        ("GET", "/v1/leases?limit=0".into(), json!({}), 400, "limit", "at least 1"),
        ("GET", "/v1/leases?cursor=x".into(), json!({}), 422, "cursor", "listing"),
        ("GET", "/v1/leases?scope=".into(), json!({}), 400, "scope", "without a value"),
        ("GET", "/v1/events?mac=".into(), json!({}), 400, "mac", "without a value"),
        ("GET", "/v1/leases?colour=red".into(), json!({}), 400, "colour", "state, cursor, limit"),
        ("GET", "/v1/leases/nonsense".into(), json!({}), 400, "mac or address", "neither"),
        ("GET", "/v1/leases/10.77.2.102".into(), json!({}), 404, "", "no lease"),
        ("GET", "/v1/events?since=x".into(), json!({}), 400, "since", "number"),
        ("GET", "/v1/events?kind=x".into(), json!({}), 400, "kind", "there are: bound, renewed"),
        ("GET", "/v1/events?scope=x".into(), json!({}), 404, "", "no scope"),
        ("GET", "/v1/events?mac=x".into(), json!({}), 400, "mac", "hardware address"),
        ("GET", "/v1/nothing".into(), json!({}), 404, "", "/v1/nothing"),
        ("POST", "/v1/leases".into(), json!({}), 405, "", "POST"),
        ("POST", format!("/v1/sightings/{A}/approve"), json!({}), 404, "", "not seen"),
    ] {
        let (got, problem) = server.ask(method, &path, Some(body)).await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {problem}");
        assert_eq!(problem["status"], status, "{method} {path}");
        assert_eq!(problem["field"].as_str().unwrap_or(""), field, "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{method} {path}: {problem}");
    }
    let (status, _) = server.ask_raw("PUT", &put(A), Body::from("{")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = server.ask_raw("PUT", &put(A), Body::from(vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "beyond the body limit");
    assert_eq!(server.get("/v1/reservations").await["items"].as_array().unwrap().len(), 1, "nothing has changed");
}

//= https://www.rfc-editor.org/rfc/rfc3046#section-3.1
//= type=test
//# The DHCP server SHOULD report the Agent Circuit ID value of current leases in statistical reports (including its MIB) and in logs.
#[tokio::test]
async fn leases_are_read_by_address_by_machine_and_in_pages() {
    let server = Server::new();
    for n in [5u8, 3, 9] {
        server.bind(MacAddr([2, 0, 0, 0, 1, n]), Ipv4Addr::new(10, 77, 2, 100 + n)).await;
    }
    let lease = server.get("/v1/leases/10.77.2.105").await;
    assert_eq!(lease["mac"], "02:00:00:00:01:05");
    assert_eq!(
        (&lease["state"], &lease["scope"], &lease["reserved"]),
        (&json!("bound"), &json!("prov"), &json!(false))
    );
    assert_eq!((&lease["client_id"], &lease["hostname"]), (&json!("01ab"), &json!("own-name")));
    assert_eq!((&lease["circuit_id"], &lease["remote_id"]), (&json!("657468"), &json!("7377")));
    assert_eq!(server.get("/v1/leases/02:00:00:00:01:05").await, lease);
    let first = server.get("/v1/leases?limit=2").await;
    assert_eq!(first["items"][0]["address"], "10.77.2.103");
    assert_eq!(first["next"], "10.77.2.105");
    let second = server.get("/v1/leases?limit=2&cursor=10.77.2.105").await;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!((&second["items"][0]["address"], &second["next"]), (&json!("10.77.2.109"), &Value::Null));
    assert_eq!(server.get("/v1/leases?scope=bmc").await["items"], json!([]));
    let scopes = server.get("/v1/scopes").await;
    let expected = json!({ "scope": "prov", "kind": "dynamic", "addresses": 20, "in_use": 3, "declined": 0 });
    assert_eq!(scopes["items"][1], expected);
}

#[tokio::test]
async fn an_unknown_bmc_is_seen_and_approved() {
    let server = Server::new();
    server.send(0, 1, mac(A), &[(60, b"iDRAC")]);
    let seen = server.until("/v1/sightings", |_, page| page["items"][0]["mac"] == A).await;
    assert_eq!((&seen["items"][0]["vendor_class"], &seen["items"][0]["scope"]), (&json!("iDRAC"), &json!("bmc")));
    let path = format!("/v1/sightings/{A}/approve");
    let (status, approved) = server.ask("POST", &path, Some(json!({ "node": "n-1" }))).await;
    assert_eq!(status, StatusCode::CREATED, "{approved}");
    let address = approved["address"].as_str().unwrap();
    assert!(["10.77.1.100", "10.77.1.101"].contains(&address), "from the scope's pool: {address}");
    assert_eq!(server.get("/v1/sightings").await["items"], json!([]));
    assert_eq!(server.ask("POST", &path, None).await, (StatusCode::OK, approved.clone()), "once more is no error");
    let other = server.ask("POST", &path, Some(json!({ "address": "10.77.1.9" }))).await;
    assert_eq!(other.0, StatusCode::CONFLICT);
    for n in [2u8, 3] {
        server.send(0, 1, MacAddr([2, 0, 0, 0, 0, n]), &[]);
    }
    server.until("/v1/sightings", |_, page| page["items"].as_array().is_some_and(|items| items.len() == 2)).await;
    assert_eq!(server.ask("POST", &format!("/v1/sightings/{B}/approve"), None).await.0, StatusCode::CREATED);
    let (status, problem) = server.ask("POST", "/v1/sightings/02:00:00:00:00:03/approve", None).await;
    assert_eq!(status, StatusCode::CONFLICT, "the pool has two addresses: {problem}");
}

#[tokio::test]
async fn events_are_waited_for_and_resumed() {
    let server = Server::new();
    let none = server.get("/v1/events?wait_secs=0").await;
    let epoch = none["epoch"].as_str().expect("which log it is").to_owned();
    assert_eq!(none, json!({ "events": [], "next": 0, "epoch": epoch }));
    let (waiting, ()) = tokio::join!(server.get("/v1/events?since=0&wait_secs=30"), async {
        server.bind(mac(B), Ipv4Addr::new(10, 77, 2, 101)).await;
    });
    let bound = &waiting["events"][0];
    assert_eq!((&bound["kind"], &bound["mac"], &bound["sequence"]), (&json!("bound"), &json!(B), &json!(1)));
    assert_eq!(bound["sequence"], server.get("/v1/leases/10.77.2.101").await["sequence"]);
    assert!(bound["message"].as_str().unwrap().contains("10.77.2.101"));
    let after = server.get("/v1/events?since=1").await;
    assert_eq!(after, json!({ "events": [], "next": 1, "epoch": epoch }));
    assert_eq!(server.get(&format!("/v1/events?since={epoch}-1")).await, after);
    let of_another = server.get("/v1/events?since=00000000000000ab-1").await;
    assert_eq!(
        (&of_another["lost"], &of_another["events"][0]["sequence"]),
        (&json!({ "from": 1, "to": 0 }), &json!(1))
    );
    let stranger = server.get("/v1/events?since=7").await;
    assert_eq!(stranger["lost"], json!({ "from": 1, "to": 0 }), "a reader of another journal begins anew");
    assert_eq!(stranger["events"][0]["sequence"], 1);
    server.send(1, 1, mac(A), &[]);
    let offered = |_, page: &Value| page["events"].as_array().is_some_and(|events| events.len() == 1);
    let offered = server.until("/v1/events?kind=offered&transient_since=0", offered).await;
    assert_eq!(offered["events"][0].get("sequence"), None, "who names a transient kind asks for it: {offered}");
    let transient = server.get("/v1/events?transient=true&transient_since=0").await;
    let kinds: Vec<_> = transient["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert!(kinds.contains(&&json!("bound")) && kinds.contains(&&json!("offered")), "{transient}");
    assert_eq!(server.get("/v1/events?kind=offered").await["events"], json!([]), "and is told of what happens now");
}

#[tokio::test]
async fn readiness_follows_the_journal() {
    let server = Server::new();
    assert_eq!(server.get("/healthz").await, "ok\n");
    assert_eq!(server.get("/readyz").await, "ready\n");
    assert_eq!(server.get("/metrics").await, "reveille_test 1\n");
    server.disk.refuse_after(0, rustix::io::Errno::NOSPC);
    let put = format!("/v1/reservations/{A}");
    let body = json!({ "address": "10.77.2.60" });
    let (status, problem) = server.ask("PUT", &put, Some(body.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(matches!(server.store.journal.state(), JournalState::Refusing { .. }));
    let (status, why) = server.ask("GET", "/readyz", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.as_str().unwrap().contains("cannot write"), "{why}");
    assert_eq!(server.get("/healthz").await, "ok\n", "the process lives");
    server.disk.give_room();
    server.until("/readyz", |status, _| status == StatusCode::OK).await;
    assert!(server.ask("PUT", &put, Some(body)).await.0.is_success());
}

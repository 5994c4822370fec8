//! Leases: filters, history, release before their time, export.

use std::net::Ipv4Addr;

use axum::http::StatusCode;
use reveille_config::MacAddr;
use serde_json::{Value, json};

use crate::harness::{A, B, Server, mac};

fn addresses(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|lease| lease["address"].as_str().unwrap()).collect()
}

/// Three leases; the first machine has a reservation with a node and a label.
async fn served() -> Server {
    let server = Server::new();
    let body = json!({ "address": "10.77.2.60", "hostname": "node-1", "node": "n-1", "labels": { "rack": "r1" } });
    assert_eq!(server.ask("PUT", &format!("/v1/reservations/{A}"), Some(body)).await.0, StatusCode::CREATED);
    server.bind(mac(A), Ipv4Addr::new(10, 77, 2, 60)).await;
    server.bind(mac(B), Ipv4Addr::new(10, 77, 2, 101)).await;
    server.bind(MacAddr([2, 0, 0, 0, 0, 3]), Ipv4Addr::new(10, 77, 2, 103)).await;
    server
}

#[tokio::test]
async fn leases_are_found_by_what_is_known_of_them() {
    let server = served().await;
    let all = &["10.77.2.60", "10.77.2.101", "10.77.2.103"][..];
    for (query, expected) in [
        ("", all),
        ("scope=prov", all),
        ("scope=bmc", &[]),
        ("address=10.77.2.101", &all[1..2]),
        ("address=10.77.2.102", &[]),
        ("mac=02:00:00:00:00:02", &all[1..2]),
        ("mac=02:00:00:00:00:02&scope=bmc", &[]),
        ("mac=02:00:00:00:00:02&address=10.77.2.60", &[]),
        ("client_id=01ab", all),
        ("client_id=01ab&cursor=10.77.2.60", &all[1..]),
        ("client_id=01AC", &[]),
        ("hostname=NODE-1", &all[..1]),
        ("hostname=own-name", &all[1..]),
        ("node=n-1", &all[..1]),
        ("label=rack%3Dr1", &all[..1]),
        ("label=rack%3Dr2", &[]),
        ("state=bound", all),
        ("state=released", &[]),
        ("state=bound&node=n-1&mac=02:00:00:00:00:01", &all[..1]),
        ("cursor=10.77.2.101", &all[2..]),
        ("cursor=192.168.0.1", &[]),
    ] {
        let page = server.get(&format!("/v1/leases?{query}")).await;
        assert_eq!(addresses(&page), expected, "{query}");
        let text = server.get(&format!("/v1/leases:export?{}", query.split("cursor").next().unwrap())).await;
        if !query.contains("cursor") {
            // One lease is one line, which reads as JSON.
            let lines = text.as_str().map_or(usize::from(text.is_object()), |text| text.lines().count());
            assert_eq!(lines, expected.len(), "{query}: {text}");
        }
    }
    for (query, field) in [
        ("address=x", "address"),
        ("mac=x", "mac"),
        ("client_id=0", "client_id"),
        ("client_id=%C3%A4", "client_id"),
        ("label=rack", "label"),
        ("state=gone", "state"),
        ("cursor=x", "cursor"),
    ] {
        let (status, problem) = server.ask("GET", &format!("/v1/leases?{query}"), None).await;
        let expected = if field == "cursor" { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        assert_eq!((status, &problem["field"]), (expected, &json!(field)), "{query}: {problem}");
    }
}

#[tokio::test]
async fn the_export_reads_as_keas_own_file() {
    let server = served().await;
    let text = server.get("/v1/leases:export?format=csv&scope=prov").await;
    let mut lines = text.as_str().unwrap().lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(columns[..5], ["address", "hwaddr", "client_id", "valid_lifetime", "expire"]);
    let first: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!((first.len(), columns.len()), (12, 12));
    assert_eq!(first[..3], ["10.77.2.60", A, "01:ab"]);
    assert_eq!((first[5], first[8], first[9]), ("2", "node-1", "0"));
    let lifetime: u64 = first[3].parse().unwrap();
    assert!(lifetime > 0 && first[4].parse::<u64>().unwrap() > lifetime);
    assert_eq!(lines.count(), 2);
    let (status, problem) = server.ask("GET", "/v1/leases:export?format=xml", None).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("format")));
}

#[tokio::test]
async fn a_lease_is_given_up_before_its_time_and_its_history_says_so() {
    let server = served().await;
    for _ in 0..2 {
        assert_eq!(server.ask("DELETE", "/v1/leases/10.77.2.101", None).await.0, StatusCode::NO_CONTENT);
    }
    server.until("/v1/leases/10.77.2.101", |_, lease| lease["state"] == "released").await;
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    server.bind(other, Ipv4Addr::new(10, 77, 2, 101)).await;
    server.until("/v1/leases/10.77.2.101", |_, lease| lease["mac"] == "02:00:00:00:00:09").await;
    let history = server.get("/v1/history?address=10.77.2.101").await;
    let told: Vec<(&str, &str)> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["change"].as_str().unwrap(), change["mac"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("bound", "02:00:00:00:00:09"), ("released", B), ("bound", B)]);
    let of_machine = server.get(&format!("/v1/history?mac={B}&limit=1")).await;
    assert_eq!((&of_machine["items"][0]["change"], &of_machine["items"][1]), (&json!("released"), &Value::Null));
    let all = server.get("/v1/history").await;
    assert!(all["items"].as_array().unwrap().len() > told.len(), "of all addresses: {all}");
    assert_eq!(server.ask("DELETE", "/v1/leases/10.77.2.102", None).await.0, StatusCode::NO_CONTENT, "there is none");
    assert_eq!(server.ask("DELETE", "/v1/leases/zz", None).await.0, StatusCode::BAD_REQUEST);
}

//! Bodies that are bad, long, slow or broken: a clear status, nothing half done, and nobody else waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use hyper::body::Frame;
use reveille_config::limit::{BATCH_BYTES_MAX, BATCH_ROW_BYTES_MAX, BODIES_BYTES_MAX, BODY_BYTES_MAX};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::harness::{A, B, Server};

const BATCH: &str = "/v1/reservations:batch";

/// A body of what the test sends, when it sends it.
struct Sent(mpsc::Receiver<Result<Bytes, &'static str>>);

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

fn body() -> (mpsc::Sender<Result<Bytes, &'static str>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::new(Sent(receiver)))
}

async fn reservations(server: &Server) -> usize {
    server.get("/v1/reservations").await["items"].as_array().unwrap().len() - 1
}

#[tokio::test]
async fn what_cannot_be_read_changes_nothing() {
    let server = Server::new();
    let good = format!("{{\"mac\": \"{A}\", \"address\": \"10.77.2.60\"}}");
    for (text, word) in [
        (String::new(), "EOF"),
        ("[]".into(), "`put` and `delete`"),
        ("{\"put\": [".into(), "EOF"),
        (format!("{{\"put\": [{good}"), "EOF"),
        (format!("{{\"put\": [{good}]"), "EOF"),
        (format!("{{\"put\": [{good},]}}"), "line 1 column"),
        (format!("{{\"put\": [{good}]}} and more"), "trailing"),
        (format!("{{\"put\": [{good}], \"put\": []}}"), "duplicate"),
        (format!("{{\"put\": [{good}], \"get\": []}}"), "unknown field `get`"),
        (format!("{{\"put\": {good}}}"), "list of rows"),
        (format!("{{\"put\": [{good}, \"\u{7}\"]}}"), "control character"),
        ("{\"put\": null}".into(), "null"),
    ] {
        let (status, problem) = server.ask_raw("POST", BATCH, Body::from(text.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{text}: {problem}");
    }
    let nested = format!("{{\"put\": {}", "[".repeat(BATCH_ROW_BYTES_MAX / 2));
    let (status, problem) = server.ask_raw("POST", BATCH, Body::from(nested)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert_eq!(reservations(&server).await, 0);
}

#[tokio::test]
async fn rows_are_named_where_they_stand_in_whatever_order_and_pieces_they_come() {
    let server = Server::new();
    let put = |mac: &str, address: &str| json!({ "mac": mac, "address": address });
    let text =
        json!({ "delete": [{ "mac": B }, { "mac": "zz" }], "put": [put(A, "10.77.2.60"), put(B, "192.168.0.1")] });
    // serde_json sorts `delete` before `put`.
    let text = text.to_string();
    for size in [1, 7, text.len()] {
        let (sender, sent) = body();
        let send = async {
            for piece in text.as_bytes().chunks(size) {
                sender.send(Ok(Bytes::copy_from_slice(piece))).await.unwrap();
            }
            drop(sender);
        };
        let ((status, problem), ()) = tokio::join!(server.ask_raw("POST", BATCH, sent), send);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let places: Vec<(&Value, &Value)> =
            problem["errors"].as_array().unwrap().iter().map(|error| (&error["list"], &error["row"])).collect();
        assert_eq!(places, [(&json!("delete"), &json!(1)), (&json!("put"), &json!(1))], "{problem}");
    }
    assert_eq!(reservations(&server).await, 0);
}

#[tokio::test]
async fn what_is_too_long_is_said_and_changes_nothing() {
    let server = Server::new();
    let row = |octets: usize| json!({ "mac": A, "address": "10.77.2.60", "node": "n".repeat(octets) });
    let (status, problem) = server.ask("POST", BATCH, Some(json!({ "put": [row(BATCH_ROW_BYTES_MAX)] }))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(problem["detail"].as_str().unwrap().contains("in a row"), "{problem}");
    // Spaces are nobody's row.
    let text = format!("{{\"put\": [ {}", " ".repeat(BATCH_ROW_BYTES_MAX));
    let rest = format!("{}, {{\"mac\": \"{B}\", \"scope\": \"prov\"}}]}}", row(1));
    let (status, done) = server.ask_raw("POST", &format!("{BATCH}?dry_run=true"), Body::from(text + &rest)).await;
    assert_eq!((status, &done["created"]), (StatusCode::OK, &json!(2)), "{done}");
    // As it comes, without a length: read up to the limit and no further.
    for (path, method, limit) in
        [(BATCH.to_owned(), "POST", BATCH_BYTES_MAX), (format!("/v1/reservations/{A}"), "PUT", BODY_BYTES_MAX)]
    {
        let (sender, sent) = body();
        let send = async {
            let piece = Bytes::from(vec![b' '; 1 << 20]);
            let mut octets = 0;
            while sender.send(Ok(piece.clone())).await.is_ok() {
                octets += piece.len();
            }
            octets
        };
        let ((status, problem), octets) = tokio::join!(server.ask_raw(method, &path, sent), send);
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&limit.to_string()), "{problem}");
        assert!(octets <= limit + (3 << 20), "{octets} octets were taken");
    }
    assert_eq!(reservations(&server).await, 0);
}

#[tokio::test]
async fn a_batch_that_never_ends_keeps_nobody_waiting_and_never_was() {
    let server = Server::new();
    let (sender, sent) = body();
    let begun = async {
        sender
            .send(Ok(Bytes::from(format!("{{\"put\": [{{\"mac\": \"{A}\", \"address\": \"10.77.2.60\"}}"))))
            .await
            .unwrap();
        // Taken when there is room for the next.
        sender.send(Ok(Bytes::from_static(b" "))).await.unwrap();
        sender.send(Ok(Bytes::from_static(b" "))).await.unwrap();
        let other = json!({ "put": [{ "mac": B, "address": "10.77.2.61" }] });
        assert_eq!(server.ask("POST", BATCH, Some(other)).await.0, StatusCode::OK, "another batch");
        let put =
            server.ask("PUT", "/v1/reservations/02:00:00:00:00:03", Some(json!({ "address": "10.77.2.62" }))).await;
        assert_eq!(put.0, StatusCode::CREATED, "a single one");
        sender.send(Err("the client has gone")).await.unwrap();
    };
    let ((status, problem), ()) = tokio::join!(server.ask_raw("POST", BATCH, sent), begun);
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("broke off"), "{problem}");
    assert_eq!(server.ask("GET", &format!("/v1/reservations/{A}"), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(reservations(&server).await, 2);
}

#[tokio::test]
async fn bodies_that_wait_for_their_ends_fill_so_much_memory_and_no_more() {
    let server = Arc::new(Server::new());
    let path = format!("/v1/reservations/{A}");
    let mut open = Vec::new();
    for _ in 0..BODIES_BYTES_MAX / BODY_BYTES_MAX {
        let (sender, sent) = body();
        let (server, path) = (Arc::clone(&server), path.clone());
        let asked = tokio::spawn(async move { server.ask_raw("PUT", &path, sent).await });
        sender.send(Ok(Bytes::from(vec![b' '; BODY_BYTES_MAX]))).await.unwrap();
        // This one is taken when the one before it is in memory.
        for _ in 0..2 {
            sender.send(Ok(Bytes::new())).await.unwrap();
        }
        open.push((sender, asked));
    }
    let put = json!({ "address": "10.77.2.60" });
    let (status, problem) = server.ask("PUT", &path, Some(put.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(server.ask("GET", "/v1/scopes", None).await.0, StatusCode::OK, "who sends nothing is served");
    let (sender, asked) = open.pop().unwrap();
    drop(sender);
    assert_eq!(asked.await.unwrap().0, StatusCode::BAD_REQUEST, "spaces are no JSON");
    assert_eq!(server.ask("PUT", &path, Some(put)).await.0, StatusCode::CREATED);
    for (_, asked) in &open {
        asked.abort();
    }
}

//! What becomes of refusals, of silence and of nonsense.

use std::time::Duration;

use reveille_client::{ANSWER_BYTES_MAX, ClientError, Dhcpd, Ironic};
use reveille_config::Endpoint;
use reveille_config::dto::dhcpd::{Approve, ReservationPut};
use serde_json::json;

use crate::fake::{Answer, Fake};

fn status(error: &ClientError) -> (Option<u16>, bool, bool) {
    (error.status(), error.is_not_found(), error.is_transient())
}

#[tokio::test]
async fn a_refusal_is_read_in_dhcpds_words() {
    let fake = Fake::unix();
    let dhcpd = Dhcpd::new(fake.endpoint.clone());
    let problem = json!({ "status": 422, "title": "invalid value", "detail": "10.0.0.1 is outside 10.77.1.0/24", "field": "address" });
    fake.text(422, "application/problem+json", &problem.to_string());
    let error = dhcpd
        .put_reservation("52:54:00:aa:00:01".parse::<reveille_config::MacAddr>().unwrap(), &ReservationPut::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "address: 10.0.0.1 is outside 10.77.1.0/24");
    assert_eq!(status(&error), (Some(422), false, false));
    let ClientError::Refused { problem } = error else { panic!("{error:?}") };
    assert_eq!((problem.title.as_str(), problem.field.as_deref()), ("invalid value", Some("address")));
}

#[tokio::test]
async fn a_refusal_that_is_no_problem_is_told_all_the_same() {
    let long = "x".repeat(2_000);
    let rows: [(u16, &str, &str, (bool, bool)); 6] = [
        (404, "", "404 Not Found", (true, false)),
        (502, "<html>bad gateway</html>\n", "<html>bad gateway</html>", (false, true)),
        (503, "{\"status\": 503}", "{\"status\": 503}", (false, true)),
        (429, "slow down", "slow down", (false, true)),
        (301, "", "301 Moved Permanently", (false, false)),
        (500, &long, &long[..500], (false, false)),
    ];
    let fake = Fake::unix();
    for (code, body, message, (not_found, transient)) in rows {
        fake.text(code, "text/html", body);
        let error = Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(status(&error), (Some(code), not_found, transient), "{code}");
    }
}

#[tokio::test]
async fn ironics_doubly_wrapped_error_is_read_and_so_is_the_newer_form() {
    let inner = json!({ "faultcode": "Client", "faultstring": "Node x could not be found.", "debuginfo": null });
    let rows = [
        (404, json!({ "error_message": inner.to_string() }).to_string(), "Node x could not be found."),
        (404, json!({ "error_message": inner }).to_string(), "Node x could not be found."),
        (406, json!({ "error_message": "plain words" }).to_string(), "plain words"),
        (409, json!({ "something": "else" }).to_string(), "{\"something\":\"else\"}"),
        (400, "not JSON".to_owned(), "not JSON"),
        (500, String::new(), "500 Internal Server Error"),
    ];
    let fake = Fake::unix();
    for (code, body, message) in rows {
        fake.text(code, "application/json", &body);
        let error = Ironic::new(fake.endpoint.clone()).node("x").await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.status()), (message, Some(code)), "{body}");
    }
}

#[tokio::test]
async fn nobody_there_names_the_endpoint_and_the_systems_words() {
    let dir = tempfile::tempdir().unwrap();
    let gone = Endpoint::Unix(dir.path().join("gone.sock"));
    let stale = Endpoint::Unix(dir.path().join("stale.sock"));
    if let Endpoint::Unix(path) = &stale {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    }
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = Endpoint::Tcp(closed.local_addr().unwrap());
    drop(closed);
    for (endpoint, words) in
        [(gone, "No such file or directory"), (stale, "Connection refused"), (port, "Connection refused")]
    {
        let error = Dhcpd::new(endpoint.clone()).scopes().await.unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("cannot reach {endpoint}: {words}")), "{message}");
        assert_eq!(message.matches(words).count(), 1);
        assert!(std::error::Error::source(&error).is_none(), "a reader of the chain would see the cause twice");
        assert_eq!(status(&error), (None, false, true));
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_endpoint_request_and_time() {
    let fake = Fake::unix();
    fake.answer(Answer::Silence).answer(Answer::Silence);
    let dhcpd = Dhcpd::new(fake.endpoint.clone());
    let endpoint = &fake.endpoint;
    let error = dhcpd.scopes().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{endpoint} gave no answer to GET /v1/scopes within 10 s"));
    assert_eq!(status(&error), (None, false, true));
    let error = dhcpd.events(4, Duration::from_secs(30)).await.unwrap_err();
    let expected = format!("{endpoint} gave no answer to GET /v1/events?since=4&wait_secs=30 within 40 s");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let rows = [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\": []}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{\"items\": []}\r\n",
        b"220 mail.example.net ESMTP\r\n",
    ];
    for fake in [Fake::unix(), Fake::tcp().await] {
        for octets in rows {
            fake.answer(Answer::Octets(octets.to_vec()));
            let error = Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, ClientError::Exchange { .. }), "{error:?}");
            assert!(message.starts_with(&format!("{} broke off GET /v1/scopes: ", fake.endpoint)), "{message}");
            assert_eq!(status(&error), (None, false, true));
        }
    }
}

#[tokio::test]
async fn what_is_no_json_or_another_shape_is_told_with_the_place() {
    let fake = Fake::unix();
    for (body, words) in [
        ("", "EOF"),
        ("hello", "line 1 column 1"),
        ("[1, 2]", "line 1 column"),
        ("{\"items\": [{}]}", "missing field `scope`"),
        ("{\"items\": []} and more", "trailing characters"),
    ] {
        fake.text(200, "application/json", body);
        let error = Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("{} answered GET /v1/scopes with something unexpected: ", fake.endpoint)));
        assert!(message.contains(words), "{body}: {message}");
        assert_eq!(status(&error), (None, false, false));
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_and_no_further() {
    let fake = Fake::unix();
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    fake.answer(Answer::Zeros(head(ANSWER_BYTES_MAX), ANSWER_BYTES_MAX));
    let error = Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap_err();
    assert!(matches!(error, ClientError::Answer { .. }), "a full one is read and judged: {error}");
    fake.answer(Answer::Zeros(head(ANSWER_BYTES_MAX + 1), ANSWER_BYTES_MAX + 1));
    let error = Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap_err();
    let expected = format!("{} answered GET /v1/scopes with more than 67108864 octets", fake.endpoint);
    assert_eq!(error.to_string(), expected);
    assert_eq!(status(&error), (None, false, false));
}

#[tokio::test]
async fn a_refusal_counts_although_the_daemon_hung_up_before_it_read_the_request() {
    let fake = Fake::unix();
    let dhcpd = Dhcpd::new(fake.endpoint.clone());
    let approve = Approve { hostname: Some("x".repeat(8 << 20)), ..Approve::default() };
    let body = "too long";
    let head = format!("HTTP/1.1 413 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    fake.answer(Answer::Hasty(head.into_bytes()));
    let error = dhcpd.approve("52:54:00:aa:00:01".parse().unwrap(), &approve).await.unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (Some(413), "too long"), "{error:?}");
}

//! Method, path and body of every call, as the tables in `reveille_config::dto` and Ironic's API have them.

use std::fmt::Debug;
use std::time::Duration;

use reveille_client::{Bootd, ClientError, Dhcpd, Ironic, LeaseQuery, NewNode, NodePatch};
use reveille_config::MacAddr;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::bootd::{BootAction, IntentPut};
use reveille_config::dto::dhcpd::{Approve, LeaseState, Origin, ReservationPut};
use reveille_config::dto::event::sse::Item;
use reveille_config::dto::event::{EventQuery, Since};
use serde_json::{Value, json};

use crate::fake::{Answer, Asked, Fake};

const UUID: &str = "6d4ec1a6-2f0a-4f0d-9f3c-0f6f5b1c2d3e";

fn mac() -> MacAddr {
    "52:54:00:aa:00:01".parse().unwrap()
}

/// What a call gave, after it was seen to ask for `line` with `body` exactly once.
async fn golden<T: Debug>(
    fake: &Fake,
    line: &str,
    body: Value,
    answer: (u16, Value),
    call: impl Future<Output = Result<T, ClientError>>,
) -> T {
    fake.json(answer.0, &answer.1);
    let given = call.await.unwrap_or_else(|error| panic!("{line}: {error}"));
    let asked = fake.asked_once();
    assert_eq!(asked.line, line);
    assert_eq!(asked.json(), body, "{line}");
    let content_type = (!body.is_null()).then_some("application/json");
    assert_eq!(asked.header("content-type"), content_type, "{line}");
    given
}

#[tokio::test]
async fn dhcpd() {
    let fake = Fake::unix();
    let dhcpd = Dhcpd::new(fake.endpoint.clone());
    let reservation = json!({ "mac": mac(), "scope": "bmc", "address": "10.77.1.10", "origin": "api" });
    let lease = json!({ "address": "10.77.2.100", "mac": mac(), "scope": "prov", "state": "bound", "starts_unix": 1,
        "ends_unix": 2, "reserved": false, "sequence": 7 });
    let page = |item: &Value| json!({ "items": [item] });
    let empty = || json!({ "items": [] });

    let put = ReservationPut {
        scope: Some("bmc".into()),
        address: Some([10, 77, 1, 10].into()),
        hostname: Some("bmc-1".into()),
        boot_file: Some("x.efi".into()),
        options: [("routers".to_owned(), json!(["10.77.1.1"]))].into(),
        node: Some(UUID.into()),
        ..ReservationPut::default()
    };
    let body = json!({ "scope": "bmc", "address": "10.77.1.10", "hostname": "bmc-1", "boot_file": "x.efi",
        "options": { "routers": ["10.77.1.1"] }, "node": UUID });
    let line = "PUT /v1/reservations/52:54:00:aa:00:01";
    let given = golden(&fake, line, body, (201, reservation.clone()), dhcpd.put_reservation(mac(), &put)).await;
    assert_eq!((given.origin, given.address), (Origin::Api, [10, 77, 1, 10].into()));
    let least = ReservationPut::default();
    golden(&fake, line, json!({}), (200, reservation.clone()), dhcpd.put_reservation(mac(), &least)).await;

    let line = "GET /v1/reservations/52:54:00:aa:00:01";
    golden(&fake, line, Value::Null, (200, reservation.clone()), dhcpd.reservation(mac(), None)).await;
    let line = "GET /v1/reservations/52:54:00:aa:00:01?scope=a%20b%26c";
    golden(&fake, line, Value::Null, (200, reservation.clone()), dhcpd.reservation(mac(), Some("a b&c"))).await;
    let tagged = dhcpd.if_match("\"0a\"");
    fake.json(200, &reservation);
    tagged.put_reservation(mac(), &least).await.unwrap();
    assert_eq!(fake.asked_once().header("if-match"), Some("\"0a\""));
    let line = "DELETE /v1/reservations/52:54:00:aa:00:01?scope=bmc";
    golden(&fake, line, Value::Null, (200, Value::Null), dhcpd.delete_reservation(mac(), Some("bmc"))).await;
    let line = "GET /v1/reservations?scope=bmc&cursor=a%2Fb";
    let call = dhcpd.reservations(Some("bmc"), Some("a/b"));
    assert_eq!(golden(&fake, line, Value::Null, (200, page(&reservation)), call).await.items.len(), 1);

    let given = golden(&fake, "GET /v1/leases", Value::Null, (200, page(&lease)), dhcpd.leases(None, None)).await;
    assert_eq!((given.items[0].state, given.next), (LeaseState::Bound, None));
    let line = "GET /v1/leases/10.77.2.100";
    golden(&fake, line, Value::Null, (200, lease.clone()), dhcpd.lease("10.77.2.100")).await;
    let line = "GET /v1/leases/..%2Fscopes%3Fx";
    golden(&fake, line, Value::Null, (200, lease), dhcpd.lease("../scopes?x")).await;

    let query = LeaseQuery {
        scope: Some("a b".into()),
        address: Some([10, 77, 2, 100].into()),
        mac: Some(mac()),
        client_id: Some("01ab".into()),
        hostname: Some("n".into()),
        node: Some("x".into()),
        label: Some("a=b".into()),
        state: Some(LeaseState::Expired),
    };
    let line = "GET /v1/leases?scope=a%20b&address=10.77.2.100&mac=52%3A54%3A00%3Aaa%3A00%3A01&client_id=01ab&hostname=n&node=x&label=a%3Db&state=expired&cursor=c";
    golden(&fake, line, Value::Null, (200, empty()), dhcpd.leases_of(&query, Some("c"))).await;
    let line = "DELETE /v1/leases/10.77.2.100?scope=bmc";
    golden(&fake, line, Value::Null, (200, Value::Null), dhcpd.release_lease("10.77.2.100", Some("bmc"))).await;
    let line = "GET /v1/history?mac=52%3A54%3A00%3Aaa%3A00%3A01";
    golden(&fake, line, Value::Null, (200, empty()), dhcpd.history(None, Some(mac()))).await;
    let client: ReservedFor = "circuit:07+remote:0809".parse().unwrap();
    let by_port =
        json!({ "circuit_id": "07", "remote_id": "0809", "scope": "bmc", "address": "10.77.1.10", "origin": "api" });
    let line = "GET /v1/reservations/circuit:07+remote:0809";
    let given = golden(&fake, line, Value::Null, (200, by_port), dhcpd.reservation(client.clone(), None)).await;
    assert_eq!((given.client(), given.identities()), (Some(client.clone()), vec![client]));

    golden(&fake, "GET /v1/sightings", Value::Null, (200, empty()), dhcpd.sightings()).await;
    let line = "POST /v1/sightings/52:54:00:aa:00:01/approve";
    let approve = Approve { address: Some([10, 77, 1, 10].into()), ..Approve::default() };
    golden(&fake, line, json!({ "address": "10.77.1.10" }), (201, reservation), dhcpd.approve(mac(), &approve)).await;
    golden(&fake, "GET /v1/scopes", Value::Null, (200, empty()), dhcpd.scopes()).await;
    let events =
        json!({ "events": [{ "sequence": 8, "at_unix_millis": 5, "kind": "bound", "message": "x" }], "next": 8 });
    let line = "GET /v1/events?since=7&wait_secs=30";
    let given = golden(&fake, line, Value::Null, (200, events), dhcpd.events(7, Duration::from_secs(30))).await;
    assert_eq!((given.events[0].sequence, given.next), (8, 8));
}

#[tokio::test]
async fn bootd() {
    let fake = Fake::tcp().await;
    let bootd = Bootd::new(fake.endpoint.clone());
    let intent =
        json!({ "mac": mac(), "action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "c", "put_unix": 3 });
    let action = BootAction::Kernel { kernel: "k".into(), initrd: "i".into(), cmdline: "c".into() };

    let line = "PUT /v1/intents/52:54:00:aa:00:01";
    let put = IntentPut { node: Some(UUID.into()), ..IntentPut::new(action.clone()) };
    let body = json!({ "action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "c", "node": UUID });
    let given = golden(&fake, line, body, (200, intent.clone()), bootd.put_intent(mac(), &put)).await;
    assert_eq!(given.action, action);
    let put = IntentPut::new(BootAction::Disk);
    let answer = json!({ "mac": mac(), "action": "disk", "put_unix": 3 });
    golden(&fake, line, json!({ "action": "disk" }), (200, answer), bootd.put_intent(mac(), &put)).await;

    let line = "GET /v1/intents/52:54:00:aa:00:01";
    golden(&fake, line, Value::Null, (200, intent.clone()), bootd.intent(mac())).await;
    let line = "DELETE /v1/intents/52:54:00:aa:00:01";
    golden(&fake, line, Value::Null, (200, Value::Null), bootd.delete_intent(mac())).await;
    let page = json!({ "items": [intent], "next": "n" });
    let line = "GET /v1/intents?cursor=m";
    let given = golden(&fake, line, Value::Null, (200, page), bootd.intents(Some("m"))).await;
    assert_eq!(given.next.as_deref(), Some("n"));
    golden(&fake, "GET /v1/transfers", Value::Null, (200, json!({ "items": [] })), bootd.transfers()).await;
    let line = "GET /v1/events?since=0&wait_secs=0";
    golden(&fake, line, Value::Null, (200, json!({ "events": [], "next": 0 })), bootd.events(0, Duration::ZERO)).await;
}

#[tokio::test]
async fn a_stream_that_broke_off_is_taken_up_after_what_was_given_and_names_its_log() {
    let fake = Fake::unix();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let place = |sequence: u64| format!("00000000000000ab-{sequence}");
    let event = |sequence: u64| {
        let data = format!("{{\"sequence\":{sequence},\"at_unix_millis\":5,\"kind\":\"bound\",\"message\":\"x\"}}");
        format!("id: {}\nevent: bound\ndata: {data}\n\n", place(sequence))
    };
    let answer = |text: String| Answer::Octets(format!("{head}{text}").into_bytes());
    // Two at once, of which its reader takes one.
    fake.answer(answer(format!("retry: 1000\nid: {}\n\n{}{}", place(7), event(8), event(9))));
    fake.answer(answer(event(9)));
    fake.answer(Answer::Octets(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()));
    fake.answer(answer("id: 00000000000000cd-0\nevent: lost\ndata: {\"from\":1,\"to\":0}\n\n".into()));
    let query = EventQuery { since: Since::Latest, kinds: vec!["bound".into()], ..EventQuery::default() };
    let mut stream = Dhcpd::new(fake.endpoint.clone()).event_stream(&query).await.expect("a stream");
    assert_eq!(stream.since(), Since::Latest);
    assert!(matches!(stream.next().await.unwrap(), Some(Item::Position(_))));
    assert!(matches!(stream.next().await.unwrap(), Some(Item::Event(event)) if event.sequence == 8));
    stream.resume().await.expect("a stream");
    assert!(matches!(stream.next().await.unwrap(), Some(Item::Event(event)) if event.sequence == 9));
    assert_eq!(stream.next().await.unwrap(), None);
    assert!(stream.resume().await.unwrap_err().is_transient());
    stream.resume().await.expect("where it was, also after a failure");
    assert!(matches!(stream.next().await.unwrap(), Some(Item::Lost(lost)) if lost.from == 1));
    assert_eq!(stream.since().to_string(), "00000000000000cd-0", "of the other log");
    let asked = fake.asked();
    let since = |line: &str| line.split("since=").nth(1).and_then(|rest| rest.split('&').next().map(str::to_owned));
    let since: Vec<_> = asked.iter().filter_map(|asked| since(&asked.line)).collect();
    assert_eq!(since, ["latest".to_owned(), place(8), place(9), place(9)]);
}

#[tokio::test]
async fn a_stream_of_events_is_read_to_its_end_and_its_breaking_told() {
    let query = EventQuery { since: Since::Sequence(7), kinds: vec!["bound".into()], ..EventQuery::default() };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event =
        "id: 8\nevent: bound\ndata: {\"sequence\":8,\"at_unix_millis\":5,\"kind\":\"bound\",\"message\":\"x\"}\n\n";
    let part = format!("{:x}\r\n{event}\r\n", event.len());
    for (rest, ends) in [("5\r\nid: 9\r\n2\r\n\n\n\r\n0\r\n\r\n", true), ("5\r\nid", false)] {
        let fake = Fake::unix();
        fake.answer(Answer::Octets(format!("{head}{part}{rest}").into_bytes()));
        let mut stream = Dhcpd::new(fake.endpoint.clone()).event_stream(&query).await.expect("a stream");
        let Ok(Some(Item::Event(event))) = stream.next().await else { panic!("an event") };
        assert_eq!((event.sequence, &*event.kind), (8, "bound"));
        if ends {
            assert_eq!(stream.next().await.unwrap(), Some(Item::Position(Since::Sequence(9))));
            assert_eq!(stream.next().await.unwrap(), None);
        } else {
            assert!(stream.next().await.unwrap_err().is_transient());
        }
        let asked = fake.asked().remove(0);
        assert_eq!(asked.line, "GET /v1/events?since=7&kind=bound");
        assert_eq!(asked.header("accept"), Some("text/event-stream"));
    }
    let fake = Fake::unix();
    fake.answer(Answer::Octets(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let refused = Dhcpd::new(fake.endpoint.clone()).event_stream(&query).await.unwrap_err();
    assert_eq!(refused.status(), Some(503));
}

#[tokio::test]
async fn ironic() {
    let fake = Fake::unix();
    let ironic = Ironic::new(fake.endpoint.clone());
    let node = json!({ "uuid": UUID, "name": "a/b", "provision_state": "enroll", "driver": "ipmi", "driver_info": {} });

    let new = NewNode {
        name: "a/b".into(),
        driver: "ipmi".into(),
        driver_info: [("ipmi_address".to_owned(), json!("10.77.1.10"))].into_iter().collect(),
    };
    let body = json!({ "name": "a/b", "driver": "ipmi", "driver_info": { "ipmi_address": "10.77.1.10" } });
    golden(&fake, "POST /v1/nodes", body, (201, node.clone()), ironic.create_node(&new)).await;
    let given = golden(&fake, "GET /v1/nodes/a%2Fb", Value::Null, (200, node.clone()), ironic.node("a/b")).await;
    assert_eq!((given.name.as_deref(), given.rest.contains_key("driver_info")), (Some("a/b"), true));

    let add = NodePatch { op: "add", path: "/instance_info/image_source".into(), value: Some(json!("x")) };
    let remove = NodePatch { op: "remove", path: "/extra/y".into(), value: None };
    let body = json!([{ "op": "add", "path": "/instance_info/image_source", "value": "x" },
        { "op": "remove", "path": "/extra/y" }]);
    golden(&fake, "PATCH /v1/nodes/n", body, (200, node), ironic.patch_node("n", &[add, remove])).await;
    golden(&fake, "DELETE /v1/nodes/n", Value::Null, (200, Value::Null), ironic.delete_node("n")).await;

    let port = json!({ "uuid": UUID, "address": mac(), "node_uuid": UUID });
    let body = json!({ "node_uuid": UUID, "address": mac() });
    golden(&fake, "POST /v1/ports", body, (201, port.clone()), ironic.create_port(UUID, mac())).await;
    let line = "GET /v1/ports?node=n&detail=true";
    let given = golden(&fake, line, Value::Null, (200, json!({ "ports": [port] })), ironic.ports("n")).await;
    assert_eq!(given[0].address, mac());

    let line = "PUT /v1/nodes/n/states/provision";
    let call = ironic.set_provision_state("n", "provide");
    golden(&fake, line, json!({ "target": "provide" }), (202, Value::Null), call).await;
    let line = "PUT /v1/nodes/n/states/power";
    let call = ironic.set_power_state("n", "power on");
    golden(&fake, line, json!({ "target": "power on" }), (202, Value::Null), call).await;
    let line = "GET /v1/nodes/n/history?detail=true";
    let given =
        golden(&fake, line, Value::Null, (200, json!({ "history": [{ "event": "x" }] })), ironic.history("n")).await;
    assert_eq!(given[0]["event"], "x");
    let line = "GET /v1/events?since=1&wait_secs=2";
    let answer = (200, json!({ "events": [], "next": 1, "lost": { "from": 2, "to": 9 } }));
    let given = golden(&fake, line, Value::Null, answer, ironic.events(1, Duration::from_secs(2))).await;
    assert_eq!(given.lost.map(|lost| lost.to), Some(9));
}

#[tokio::test]
async fn readiness_is_told_whatever_the_status() {
    let fake = Fake::unix();
    fake.text(503, "text/plain", "no new leases: disk full\n").text(200, "text/plain", "ready\n").text(
        200,
        "text/plain",
        "ready\n",
    );
    let answer = Dhcpd::new(fake.endpoint.clone()).ready().await.unwrap();
    assert_eq!(answer, (503, "no new leases: disk full\n".to_owned()));
    assert_eq!(Bootd::new(fake.endpoint.clone()).ready().await.unwrap(), (200, "ready\n".to_owned()));
    assert_eq!(Ironic::new(fake.endpoint.clone()).ready().await.unwrap().0, 200);
    assert!(fake.asked().iter().all(|asked| asked.line == "GET /readyz"));
}

#[tokio::test]
async fn every_request_names_the_host_and_ironics_its_version() {
    let (unix, tcp) = (Fake::unix(), Fake::tcp().await);
    let empty = json!({ "nodes": [] });
    for (fake, host) in [(&unix, "localhost".to_owned()), (&tcp, tcp.endpoint.to_string())] {
        fake.json(200, &empty).json(200, &json!({ "items": [] }));
        Ironic::new(fake.endpoint.clone()).nodes().await.unwrap();
        Dhcpd::new(fake.endpoint.clone()).scopes().await.unwrap();
        let asked: Vec<Asked> = fake.asked();
        assert_eq!(asked[0].header("host"), Some(&*host));
        assert_eq!(asked[0].header("x-openstack-ironic-api-version"), Some("1.115"));
        assert_eq!(asked[1].header("x-openstack-ironic-api-version"), None);
    }
}

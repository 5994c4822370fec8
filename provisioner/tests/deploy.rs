//! Deployments over real sockets against a simulated machine: the way to `active` and back, failures, lying agents.

mod rig;

use reveille_config::dto::event::{Event, EventPage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use rig::{Lie, MAC, Rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_goes_from_enroll_to_active_and_back() {
    let rig = Rig::start().await;
    rig.machine.state().is_on = true;
    let uuid = rig.make_available().await;
    rig.ask("active").await;
    let node = rig.wait_for("active").await;
    assert_eq!((&node["target_provision_state"], &node["last_error"]), (&Value::Null, &Value::Null));
    assert_eq!(node["power_state"], "power on");
    assert_eq!(node["driver_internal_info"]["agent_url"], Value::Null, "forgotten at power off");
    {
        let state = rig.machine.state();
        assert_eq!(state.intent, Some(json!({ "action": "disk", "node": uuid, "hostname": "n1" })));
        assert_eq!(state.reservation, Some(json!({ "scope": "provisioning", "hostname": "n1", "node": uuid })));
        assert!(state.is_on && !state.boots_network);
        assert_eq!((state.images_written, state.cuts_while_writing), (1, 0));
    }
    rig.ask("deleted").await;
    let node = rig.wait_for("available").await;
    assert_eq!((&node["instance_info"], &node["power_state"]), (&json!({}), &json!("power off")));
    {
        let state = rig.machine.state();
        assert!(!state.is_on && state.intent.is_none() && state.reservation.is_none());
    }
    let events = rig.client.send("GET", "/v1/events?limit=1000", None).await.body;
    let events: EventPage = serde_json::from_value(events).expect("the events' own form");
    let first = events.events[0].clone();
    assert_eq!(streamed(&rig).await, first, "a stream tells the same");
    let states: Vec<&str> = events.events.iter().filter(|e| e.kind == "state").map(|e| e.message.as_str()).collect();
    assert_eq!(states.first(), Some(&"enroll → verifying"));
    assert_eq!(states.last(), Some(&"deleting → available"));
    assert!(events.events.iter().skip(2).all(|event| event.mac == Some(MAC.parse().unwrap())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_driven_in_the_order_and_with_the_words_of_a_real_conductor() {
    let rig = Rig::start().await;
    rig.make_available().await;
    rig.ask("active").await;
    rig.wait_for("active").await;
    let recorded: Value = serde_json::from_str(include_str!("fixtures/conductor-to-agent.json")).unwrap();
    let recorded = recorded.as_array().unwrap();
    let order = |calls: &mut dyn Iterator<Item = (String, Value)>| {
        let mut names: Vec<String> = calls
            .map(|(method, body)| match body["name"].as_str() {
                Some(name) => name.to_owned(),
                // The conductor lists, we ask by id: both are looks.
                None => method,
            })
            .collect();
        names.dedup();
        names
    };
    let ours = rig.machine.state().agent_calls.clone();
    let ours_in_order = order(&mut ours.iter().map(|(method, _, body)| (method.clone(), body.clone())));
    let theirs_in_order = order(&mut recorded.iter().map(|exchange| {
        let request = &exchange["request"];
        (request["method"].as_str().unwrap().to_owned(), request["body"].clone())
    }));
    assert_eq!(ours_in_order, theirs_in_order);

    // What the conductor sends inside `params`, we send too, but for what is only its own.
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    for exchange in recorded {
        let theirs = &exchange["request"]["body"];
        let Some((_, _, ours)) = ours.iter().find(|(_, _, body)| body["name"] == theirs["name"] && !body.is_null())
        else {
            continue;
        };
        for key in keys(&theirs["params"]) {
            assert!(!ours["params"][&key].is_null(), "{}: {key} is missing", theirs["name"]);
        }
        for key in keys(&theirs["params"]["step"]["args"]["image_info"]) {
            // A hash with its algorithm instead of a guess by length; no config drive, no traits.
            if !["checksum", "configdrive", "instance_info"].contains(&key.as_str()) {
                assert!(!ours["params"]["step"]["args"]["image_info"][&key].is_null(), "image_info: {key} is missing");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lie_of_an_agent_ends_in_deploy_failed_with_its_reason() {
    let cases = [
        (Lie::Checksum, "the agent could not write the image: Error verifying image checksum"),
        (Lie::OtherStep, "the agent reports \"inject_files\" of execute_deploy_step as done"),
        (Lie::NoWriteStep, "the agent lists no deploy step write_image"),
        (Lie::HugeBody, "could not tell the agent to list its deploy steps"),
    ];
    for (lie, reason) in cases {
        let rig = Rig::start().await;
        rig.make_available().await;
        rig.machine.state().lie = Some(lie.clone());
        rig.ask("active").await;
        let node = rig.wait_for("deploy failed").await;
        let error = node["last_error"].as_str().unwrap_or_default();
        assert!(error.starts_with(reason), "{lie:?}: {error}");
        assert_eq!(rig.machine.state().intent, None, "{lie:?}: what failed boots no agent");
        assert!(!rig.machine.state().is_on, "{lie:?}");
        // And a way back.
        rig.machine.state().lie = None;
        rig.ask("active").await;
        rig.wait_for("active").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_stays_on_is_switched_off_hard() {
    let rig = Rig::start().await;
    rig.make_available().await;
    rig.machine.state().lie = Some(Lie::StaysOn);
    rig.ask("active").await;
    rig.wait_for("active").await;
    let history = rig.client.send("GET", "/v1/nodes/n1/history", None).await.body;
    assert!(history.to_string().contains("the agent did not power the machine off: switching it off"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bmc_that_does_not_answer_is_named() {
    let rig = Rig::start().await;
    rig.machine.state().bmc_is_deaf = true;
    rig.enroll().await;
    rig.ask("manage").await;
    let node = rig.wait_for("enroll").await;
    let error = node["last_error"].as_str().unwrap_or_default();
    assert!(error.starts_with("could not read the power state: BMC 10.0.0.1:623: "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_lost_in_the_middle_of_the_write_ends_with_a_reason() {
    let rig = Rig::start().await;
    rig.make_available().await;
    rig.machine.state().holds_write = true;
    rig.ask("active").await;
    rig.wait_for_writing().await;
    rig.machine.lose_power();
    let node = rig.wait_for("deploy failed").await;
    let error = node["last_error"].as_str().unwrap_or_default();
    assert!(error.starts_with("could not ask the agent how it gets on: the agent at 127.0.0.1:"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_and_undeploy_lead_out_of_wait_call_back() {
    for (verb, state) in [("abort", "deploy failed"), ("deleted", "available")] {
        let rig = Rig::start().await;
        rig.make_available().await;
        rig.machine.state().lie = Some(Lie::Silent);
        rig.ask("active").await;
        rig.wait_for("wait call-back").await;
        let second = rig.client.send("PUT", "/v1/nodes/n1/states/provision", Some(json!({ "target": "active" }))).await;
        assert_eq!(second.status, 400, "{second:?}");
        rig.ask(verb).await;
        rig.wait_for(state).await;
        assert_eq!(rig.machine.state().intent, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_writes_again() {
    let rig = Rig::start().await;
    rig.make_available().await;
    rig.ask("active").await;
    rig.wait_for("active").await;
    rig.ask("rebuild").await;
    rig.wait_for("active").await;
    let state = rig.machine.state();
    assert_eq!((state.images_written, state.cuts_while_writing), (2, 0));
}

/// The first event of a stream from the beginning.
async fn streamed(rig: &Rig) -> Event {
    let mut stream = TcpStream::connect(rig.api_address()).await.expect("the API");
    let request = "GET /v1/events?since=0 HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut told = String::new();
    let reading = async {
        loop {
            let event = told.split_once("\ndata: ").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((event, _)) = event {
                return serde_json::from_str(event).expect("an event");
            }
            let mut octets = [0; 4_096];
            let read = stream.read(&mut octets).await.expect("more");
            assert!(read > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&octets[..read]));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), reading).await.expect("an event in time")
}

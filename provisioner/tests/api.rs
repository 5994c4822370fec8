//! Ironic's API as its clients meet it: versions, shapes, errors, and what a booted machine may not do.

mod rig;

use serde_json::{Value, json};

use rig::{Answer, Client, Lie, MAC, Rig};

const MULTI: &str = "/v1/nodes/n1/states/provision";

fn recorded(fixture: &str) -> Vec<Value> {
    let exchanges: Value = serde_json::from_str(fixture).expect("JSON");
    exchanges.as_array().expect("a list").clone()
}

/// Every key that `theirs` has, `ours` has with a value of the same kind; `skip` names what is Ironic's own.
fn same_shape(ours: &Value, theirs: &Value, path: &str, skip: &[&str]) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, theirs) in theirs {
                let path = format!("{path}/{key}");
                if skip.iter().any(|own| path.ends_with(own)) {
                    continue;
                }
                let value = ours.get(key).unwrap_or_else(|| panic!("{path} is missing"));
                same_shape(value, theirs, &path, skip);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            if let (Some(ours), Some(theirs)) = (ours.first(), theirs.first()) {
                same_shape(ours, theirs, path, skip);
            }
        }
        // Where one is null, the other may be anything: it depends on the moment.
        (Value::Null, _) | (_, Value::Null) => {}
        _ => assert_eq!(std::mem::discriminant(ours), std::mem::discriminant(theirs), "{path}: {ours} vs. {theirs}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_negotiated_as_clients_expect() {
    let rig = Rig::start().await;
    let cases = [
        (None, 200, Some("1.1")),
        (Some("1.115"), 200, Some("1.115")),
        (Some("latest"), 200, Some("1.115")),
        (Some("1.50"), 200, Some("1.50")),
        (Some("1.116"), 406, None),
        (Some("1.999"), 406, None),
        (Some("2.0"), 406, None),
        (Some("x"), 406, None),
    ];
    for (asked, status, echoed) in cases {
        let answer = rig.client.send_as("GET", "/v1/nodes", None, asked).await;
        assert_eq!(answer.status, status, "{asked:?}: {answer:?}");
        assert_eq!(answer.header("x-openstack-ironic-api-minimum-version"), Some("1.1"));
        assert_eq!(answer.header("x-openstack-ironic-api-maximum-version"), Some("1.115"));
        assert_eq!(answer.header("x-openstack-ironic-api-version"), echoed, "{asked:?}");
        assert_eq!(answer.fault().contains("[1.1, 1.115]"), status == 406 && asked != Some("x"), "{answer:?}");
    }
    // Whoever reads the root is still looking for the versions.
    let root = rig.client.send_as("GET", "/", None, Some("9.9")).await;
    assert_eq!((root.status, &root.body["default_version"]["version"]), (200, &json!("1.115")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_appear_with_their_version() {
    let rig = Rig::start().await;
    rig.enroll().await;
    for (version, has, has_not) in [
        ("1.1", "power_state", "name"),
        ("1.5", "name", "resource_class"),
        ("1.65", "lessee", "shard"),
        ("1.115", "health", ""),
    ] {
        let uuid = rig.node().await["uuid"].as_str().unwrap().to_owned();
        let node = rig.client.send_as("GET", &format!("/v1/nodes/{uuid}"), None, Some(version)).await.body;
        assert!(node.get(has).is_some() && node.get(has_not).is_none(), "{version}: {node:#}");
    }
    let old = rig.client.send_as("GET", "/v1/nodes?fields=name", None, Some("1.7")).await;
    assert_eq!(old.status, 406, "{old:?}");
}

/// The session of a real client with a real Ironic: the same requests get the same statuses and answers of the same shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_session_of_a_real_client_replays() {
    // What belongs to hardware types, traits and allocations that we do not have.
    let theirs_alone = ["/v1/nodes/n1/traits/CUSTOM_X", "/v1/allocations", "/v1/allocations/a1"];
    let skip = ["/drivers", "/traits", "/driver_internal_info", "/image_type"];
    let rig = Rig::start().await;
    let mut uuid = String::new();
    let mut replayed = 0;
    for exchange in recorded(include_str!("fixtures/client-session.json")) {
        let (request, theirs) = (&exchange["request"], &exchange["response"]);
        let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        if theirs_alone.contains(&path) {
            continue;
        }
        let mut body = request["body"].clone();
        if body["driver"] == "fake-hardware" {
            body = json!({ "driver": "ipmi", "name": "n1", "properties": { "cpu_arch": "x86_64" }, "resource_class": "baremetal",
                "boot_interface": "ipxe", "deploy_interface": "direct", "driver_info": { "ipmi_address": "10.0.0.1" } });
        }
        if body.get("node_uuid").is_some() {
            body["node_uuid"] = json!(uuid);
        }
        if let Some(list) = body.as_array_mut() {
            // A checksum is not optional with us.
            list.push(json!({ "op": "add", "path": "/instance_info/image_checksum", "value": rig::SHA256 }));
        }
        if body["target"] == "active" {
            // Built drives are not supported yet; a ready one is.
            body["configdrive"] = json!("H4sI");
        }
        if method == "GET" && path == "/v1/nodes/n1" && theirs["status"] == 200 {
            let state = theirs["body"]["provision_state"].as_str().unwrap();
            if !["cleaning", "deploying", "deleting"].contains(&state) {
                rig.wait_for(state).await;
            }
        }
        if method == "DELETE" || method == "PUT" {
            // The client tries again while the node is locked; we wait instead.
            rig.wait_for_any(&["enroll", "manageable", "available", "active"]).await;
        }
        let query = request["query"].as_str().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
        let full_path = format!("{path}{}", query.unwrap_or_default());
        let ours = rig.client.send(method, &full_path, (!body.is_null()).then_some(body)).await;
        assert_eq!(json!(ours.status), theirs["status"], "{method} {full_path}: {ours:?}");
        same_shape(&ours.body, &theirs["body"], "", &skip);
        assert_eq!(ours.header("location").is_some(), theirs.get("location").is_some(), "{method} {full_path}");
        if path == "/v1/nodes" && method == "POST" {
            uuid = ours.body["uuid"].as_str().unwrap().to_owned();
        }
        replayed += 1;
    }
    assert_eq!(replayed, 32);
}

/// What a real agent sent, to the listener on the provisioning network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_calls_of_a_real_agent_are_answered() {
    let rig = Rig::start().await;
    let uuid = rig.make_available().await;
    rig.machine.state().lie = Some(Lie::Silent);
    rig.ask("active").await;
    rig.wait_for("wait call-back").await;
    let agent = rig.agent_api();
    let mut token = Value::Null;
    for exchange in recorded(include_str!("fixtures/agent-calls.json")) {
        let (request, theirs) = (&exchange["request"], &exchange["response"]);
        let path = request["path"].as_str().unwrap().replace("1be26c0b-03f2-4d2e-ae87-c02d7f33c123", &uuid);
        let query = request["query"].as_str().filter(|q| !q.is_empty()).map(|q| format!("?{q}")).unwrap_or_default();
        let mut body = request["body"].clone();
        if body.is_object() {
            body = json!({ "callback_url": "http://127.0.0.1:9", "agent_token": token, "agent_version": body["agent_version"] });
        }
        let version = exchange["version"].as_str().map(|v| if v == "1.68" { "1.67" } else { v });
        let body = (!body.is_null()).then_some(body);
        let ours = agent.send_as(request["method"].as_str().unwrap(), &format!("{path}{query}"), body, version).await;
        assert_eq!(json!(ours.status), theirs["status"], "{path}: {ours:?}");
        same_shape(&ours.body, &theirs["body"], "", &["/description"]);
        if path == "/v1/lookup" {
            token = ours.body["config"]["agent_token"].clone();
            assert!(token.as_str().unwrap().len() >= 32);
            let again = agent.send_as("GET", &format!("{path}{query}"), None, Some("1.62")).await;
            assert_eq!((again.status, &again.body["config"]["agent_token"]), (200, &json!("******")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_agent_is_refused_with_ironics_status_codes() {
    let rig = Rig::start().await;
    let uuid = rig.make_available().await;
    let agent = rig.agent_api();
    let lookup =
        |query: String| async move { agent.send_as("GET", &format!("/v1/lookup?{query}"), None, Some("1.62")).await };
    let by_mac = format!("addresses={MAC}");
    assert_eq!(lookup(by_mac.clone()).await.status, 404, "nobody waits");
    rig.machine.state().lie = Some(Lie::Silent);
    rig.ask("active").await;
    rig.wait_for("wait call-back").await;
    for (query, status) in [
        ("addresses=52:54:00:00:00:99".to_owned(), 404),
        ("addresses=junk,,".to_owned(), 400),
        (String::new(), 400),
        ("node_uuid=5c3bb27a-5bbd-4aea-baf5-bd28b8b4d508".to_owned(), 404),
        ("node_uuid=n1".to_owned(), 404),
    ] {
        assert_eq!(lookup(query.clone()).await.status, status, "{query}");
    }
    let token = lookup(by_mac).await.body["config"]["agent_token"].as_str().unwrap().to_owned();
    let beat = |node: String, body: Value| async move {
        agent.send_as("POST", &format!("/v1/heartbeat/{node}"), Some(body), Some("1.67")).await
    };
    let url = "http://127.0.0.1:9";
    let cases = [
        (uuid.clone(), json!({ "callback_url": url }), 400),
        (uuid.clone(), json!({ "callback_url": url, "agent_token": "wrong" }), 400),
        (uuid.clone(), json!({ "callback_url": url, "agent_token": "******" }), 400),
        (uuid.clone(), json!({ "callback_url": "http://192.0.2.1:80", "agent_token": token }), 400),
        (uuid.clone(), json!({ "callback_url": "file:///etc/passwd", "agent_token": token }), 400),
        (uuid.clone(), json!({ "callback_url": url, "agent_token": token, "more": 1 }), 400),
        (uuid.clone(), json!([]), 400),
        ("5c3bb27a-5bbd-4aea-baf5-bd28b8b4d508".to_owned(), json!({ "callback_url": url, "agent_token": token }), 404),
    ];
    for (node, body, status) in cases {
        let answer = beat(node, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    assert_eq!(rig.node().await["provision_state"], "wait call-back", "nothing half-done");
    assert_eq!(beat(uuid.clone(), json!({ "callback_url": url, "agent_token": token })).await.status, 202);
    let changed = beat(uuid, json!({ "callback_url": "http://127.0.0.1:10", "agent_token": token })).await;
    assert_eq!(
        (changed.status, changed.fault().as_str()),
        (400, "Detected change in ramdisk provided \"callback_url\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booted_machine_cannot_command_the_fleet() {
    let rig = Rig::start().await;
    let uuid = rig.enroll().await;
    let agent = rig.agent_api();
    for (method, path) in [
        ("GET", "/v1/nodes".to_owned()),
        ("POST", "/v1/nodes".to_owned()),
        ("GET", format!("/v1/nodes/{uuid}")),
        ("PUT", format!("/v1/nodes/{uuid}/states/power")),
        ("PUT", format!("/v1/nodes/{uuid}/states/provision")),
        ("GET", "/v1/ports".to_owned()),
        ("GET", "/v1/drivers".to_owned()),
        ("GET", "/v1/events".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/v1/lookup/../nodes".to_owned()),
        ("GET", "//v1/nodes".to_owned()),
    ] {
        let body = (method != "GET").then(|| json!({ "target": "power on" }));
        assert_eq!(agent.send(method, &path, body).await.status, 404, "{method} {path}");
    }
    assert_eq!(agent.send("GET", "/v1", None).await.status, 200);
    assert_eq!(agent.send("POST", "/v1/lookup", Some(json!({}))).await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_that_deploy_one_wins() {
    let rig = Rig::start().await;
    let uuid = rig.make_available().await;
    // A BMC that takes its time keeps the node in `deploying`.
    {
        let mut state = rig.machine.state();
        state.swallow = Some(state.calls);
    }
    let (client, body) = (rig.client, json!({ "target": "active" }));
    let (one, two) = tokio::join!(client.send("PUT", MULTI, Some(body.clone())), client.send("PUT", MULTI, Some(body)));
    let (won, lost) = if one.status == 202 { (one, two) } else { (two, one) };
    assert_eq!((won.status, lost.status), (202, 409), "{won:?} {lost:?}");
    let words = lost.fault();
    assert!(words.starts_with(&format!("Node {uuid} is locked by host ")), "{words}");
    assert!(words.ends_with(", please retry after the current operation is completed."), "{words}");
    for (method, path, body) in [
        ("PUT", "/v1/nodes/n1/states/power", json!({ "target": "power off" })),
        ("PATCH", "/v1/nodes/n1", json!([{ "op": "add", "path": "/name", "value": "n2" }])),
        ("DELETE", "/v1/nodes/n1", Value::Null),
    ] {
        let answer = rig.client.send(method, path, Some(body)).await;
        assert_eq!(answer.status, 409, "{method} {path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_lacks_is_said_and_nothing_is_half_done() {
    let rig = Rig::start().await;
    let uuid = rig.make_available().await;
    let before = rig.node().await;
    let invalid = |action: &str| {
        format!(
            "The requested action \"{action}\" can not be performed on node \"{uuid}\" while it is in state \"available\"."
        )
    };
    let cases = [
        ("PUT", MULTI, json!({ "target": "provide" }), 400, invalid("provide")),
        ("PUT", MULTI, json!({ "target": "frobnicate" }), 400, invalid("frobnicate")),
        (
            "PUT",
            MULTI,
            json!({ "target": "active", "foo": 1 }),
            400,
            "Schema error for provision state: unknown field `foo`".into(),
        ),
        ("PUT", MULTI, json!({}), 400, "Schema error for provision state: missing field `target`".into()),
        (
            "PUT",
            MULTI,
            json!({ "target": "active", "deploy_steps": [{}] }),
            400,
            "\"deploy_steps\" is not valid".into(),
        ),
        ("PUT", "/v1/nodes/n1/states/power", json!({ "target": "explode" }), 400, invalid("explode")),
        ("PATCH", "/v1/nodes/n1", json!({ "op": "add" }), 400, "Schema error for patch".into()),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "add", "path": "/extra/a", "value": 1 }, { "op": "replace", "path": "/uuid", "value": "x" }]),
            400,
            "'/uuid' is an internal attribute and can not be updated".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "replace", "path": "/provision_state", "value": "active" }]),
            400,
            "'/provision_state' is an internal attribute".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "add", "path": "/foo", "value": 1 }]),
            400,
            "Adding a new attribute (/foo)".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "replace", "path": "/properties", "value": 1 }]),
            400,
            "properties: 1 is not valid".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "replace", "path": "/name", "value": "not a name" }]),
            400,
            "Cannot change name".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "replace", "path": "/driver", "value": "snmp" }]),
            400,
            "No valid host was found".into(),
        ),
        (
            "PATCH",
            "/v1/nodes/n1",
            json!([{ "op": "replace", "path": "/deploy_interface", "value": "ansible" }]),
            400,
            "deploy_interface".into(),
        ),
        (
            "POST",
            "/v1/nodes",
            json!({ "driver": "ipmi", "name": "n1" }),
            409,
            "A node with name n1 already exists.".into(),
        ),
        (
            "POST",
            "/v1/nodes",
            json!({ "driver": "ipmi", "uuid": uuid }),
            409,
            format!("A node with UUID {uuid} already exists."),
        ),
        (
            "POST",
            "/v1/nodes",
            json!({ "name": "x" }),
            400,
            "Schema error for node: 'driver' is a required property".into(),
        ),
        ("POST", "/v1/nodes", json!({ "driver": "ipmi", "foo": 1 }), 400, "('foo' was unexpected)".into()),
        (
            "POST",
            "/v1/nodes",
            json!({ "driver": "ipmi", "power_state": "power on" }),
            400,
            "'/power_state' is an internal".into(),
        ),
        (
            "POST",
            "/v1/ports",
            json!({ "address": MAC, "node_uuid": uuid }),
            409,
            format!("A port with MAC address {MAC} already exists."),
        ),
        (
            "POST",
            "/v1/ports",
            json!({ "address": "52:54:00:99:99:99", "node_uuid": "nosuch" }),
            400,
            "Node nosuch could not be found.".into(),
        ),
        (
            "POST",
            "/v1/ports",
            json!({ "address": "nomac", "node_uuid": uuid }),
            400,
            "Expected a MAC address but received nomac.".into(),
        ),
        ("GET", "/v1/nodes/nosuch", Value::Null, 404, "Node nosuch could not be found.".into()),
        ("GET", "/v1/ports/nosuch", Value::Null, 404, "Port nosuch could not be found.".into()),
        ("GET", "/v1/nosuch", Value::Null, 404, "The resource could not be found.".into()),
        ("GET", "/v1/nodes?limit=x", Value::Null, 400, "Invalid input for limit".into()),
        ("GET", "/v1/nodes?foo=1", Value::Null, 400, "Unexpected argument: \"foo\"".into()),
        ("GET", "/v1/nodes?fields=foo", Value::Null, 400, "Field(s) \"foo\" are not valid".into()),
        ("GET", "/v1/nodes?marker=nosuch", Value::Null, 404, "Node nosuch could not be found.".into()),
        ("GET", "/v1/nodes?sort_dir=up", Value::Null, 400, "Invalid sort direction: up".into()),
        (
            "PUT",
            "/v1/nodes/n1/management/boot_device",
            json!({ "boot_device": "tape" }),
            400,
            "Invalid boot device tape specified.".into(),
        ),
        ("POST", "/v1/drivers", json!({}), 405, "The method is not allowed".into()),
    ];
    for (method, path, body, status, words) in cases {
        let answer: Answer = rig.client.send(method, path, (!body.is_null()).then(|| body.clone())).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        assert!(answer.fault().contains(&words), "{method} {path} {body}: {}", answer.fault());
    }
    for octets in [&b"{\"target\":"[..], b"\xff\xfe", b"nonsense"] {
        let answer = rig.client.send_raw("PUT", MULTI, octets, Some("1.115")).await.unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let huge = vec![b' '; (1 << 20) + 1];
    assert_eq!(rig.client.send_raw("PUT", MULTI, &huge, None).await.unwrap().status, 413);
    assert_eq!(rig.node().await, before);

    // Without a checksum nothing is deployed.
    let patch = json!([{ "op": "remove", "path": "/instance_info/image_os_hash_algo" }]);
    assert_eq!(rig.client.send("PATCH", "/v1/nodes/n1", Some(patch)).await.status, 200);
    let answer = rig.client.send("PUT", MULTI, Some(json!({ "target": "active" }))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.fault().contains("instance_info has no checksum"), "{}", answer.fault());
    let validate = rig.client.send("GET", "/v1/nodes/n1/validate", None).await.body;
    assert_eq!((&validate["deploy"]["result"], &validate["power"]["result"]), (&json!(false), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_kept_and_never_shown() {
    let rig = Rig::start().await;
    rig.make_available().await;
    let patch = json!([{ "op": "add", "path": "/driver_info/ipmi_priv_level", "value": "OPERATOR" }]);
    rig.client.send("PATCH", "/v1/nodes/n1", Some(patch)).await;
    for path in [
        "/v1/nodes/n1",
        "/v1/nodes/detail",
        "/v1/nodes?fields=driver_info",
        "/v1/nodes/n1/history?detail=true",
        "/v1/events",
    ] {
        let answer = rig.client.send("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.to_string().contains("hunter2"), "{path}");
    }
    assert_eq!(rig.node().await["driver_info"]["ipmi_password"], "******");
    // Still the right one: the BMC takes it.
    let on = rig.client.send("PUT", "/v1/nodes/n1/states/power", Some(json!({ "target": "power on" }))).await;
    assert_eq!(on.status, 202);
    rig.wait_for("available").await;
    assert!(rig.machine.state().is_on);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_boot_device_and_maintenance_on_request() {
    let rig = Rig::start().await;
    rig.make_available().await;
    for (target, state) in [("power on", "power on"), ("rebooting", "power on"), ("soft power off", "power off")] {
        let answer = rig.client.send("PUT", "/v1/nodes/n1/states/power", Some(json!({ "target": target }))).await;
        assert_eq!(answer.status, 202, "{target}");
        let node = rig.wait_for("available").await;
        assert_eq!((&node["power_state"], &node["target_power_state"]), (&json!(state), &Value::Null), "{target}");
    }
    let path = "/v1/nodes/n1/management/boot_device";
    let set = rig.client.send("PUT", path, Some(json!({ "boot_device": "pxe", "persistent": true }))).await;
    assert_eq!(set.status, 204, "{set:?}");
    assert!(rig.machine.state().boots_network);
    let read = rig.client.send("GET", path, None).await.body;
    assert_eq!(read, json!({ "boot_device": "pxe", "persistent": true }));
    rig.machine.state().bmc_is_deaf = true;
    let set = rig.client.send("PUT", path, Some(json!({ "boot_device": "disk" }))).await;
    assert_eq!(set.status, 500, "{set:?}");
    assert!(set.fault().contains("BMC 10.0.0.1:623"), "{}", set.fault());
    rig.machine.state().bmc_is_deaf = false;

    assert_eq!(rig.client.send("PUT", "/v1/nodes/n1/maintenance", Some(json!({ "reason": "dust" }))).await.status, 202);
    assert_eq!(rig.node().await["maintenance_reason"], "dust");
    let answer = rig.client.send("PUT", MULTI, Some(json!({ "target": "active" }))).await;
    assert!(answer.status == 400 && answer.fault().contains("because it's in maintenance mode"), "{answer:?}");
    assert_eq!(rig.client.send("DELETE", "/v1/nodes/n1/maintenance", None).await.status, 202);
    assert_eq!(rig.node().await["maintenance"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_are_filtered_paged_and_sorted() {
    let rig = Rig::start().await;
    for (i, class) in ["a", "b", "a", "b", "a"].into_iter().enumerate() {
        let body = json!({ "driver": "ipmi", "name": format!("n{}", 9 - i), "resource_class": class });
        assert_eq!(rig.client.send("POST", "/v1/nodes", Some(body)).await.status, 201);
    }
    let names = |answer: &Answer| -> Vec<String> {
        answer.body["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    };
    let get = |query: &'static str| {
        let client: Client = rig.client;
        async move { client.send("GET", &format!("/v1/nodes{query}"), None).await }
    };
    assert_eq!(names(&get("").await), ["n9", "n8", "n7", "n6", "n5"]);
    assert_eq!(names(&get("?resource_class=b&detail=true").await), ["n8", "n6"]);
    assert_eq!(names(&get("?sort_key=name").await), ["n5", "n6", "n7", "n8", "n9"]);
    assert_eq!(names(&get("?sort_dir=desc&limit=2").await), ["n5", "n6"]);
    assert!(names(&get("?provision_state=active").await).is_empty());
    assert!(names(&get("?maintenance=true").await).is_empty());
    assert_eq!(names(&get("?associated=false&driver=ipmi&conductor_group=").await).len(), 5);
    let mut seen = Vec::new();
    let mut path = "/v1/nodes?limit=2".to_owned();
    loop {
        let page = rig.client.send("GET", &path, None).await;
        seen.extend(names(&page));
        let Some(next) = page.body["next"].as_str() else { break };
        path = next[next.find("/v1/").unwrap()..].to_owned();
    }
    assert_eq!(seen, ["n9", "n8", "n7", "n6", "n5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_follows_ironics_rules() {
    let rig = Rig::start().await;
    rig.make_available().await;
    rig.ask("active").await;
    rig.wait_for("active").await;
    let answer = rig.client.send("DELETE", "/v1/nodes/n1", None).await;
    assert!(answer.status == 409 && answer.fault().contains("while it is in provision state \"active\""), "{answer:?}");
    let ports = rig.client.send("GET", "/v1/ports?node=n1", None).await.body;
    let port = ports["ports"][0]["uuid"].as_str().unwrap();
    assert_eq!(rig.client.send("DELETE", &format!("/v1/ports/{port}"), None).await.status, 409);
    rig.ask("deleted").await;
    rig.wait_for("available").await;
    assert_eq!(rig.client.send("DELETE", "/v1/nodes/n1", None).await.status, 204);
    assert_eq!(rig.client.send("GET", "/v1/nodes/n1", None).await.status, 404);
    assert_eq!(rig.client.send("GET", "/v1/ports", None).await.body["ports"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_survives_a_kill() {
    let mut rig = Rig::start().await;
    let uuid = rig.make_available().await;
    let before = rig.node().await;
    rig.kill().await;
    rig.restart().await;
    assert_eq!(rig.node().await, before);
    let history = rig.client.send("GET", "/v1/nodes/n1/history?detail=true", None).await.body;
    let first = &history["history"][0];
    assert_eq!(first["event"], "made, in state enroll");
    let one =
        rig.client.send("GET", &format!("/v1/nodes/{uuid}/history/{}", first["uuid"].as_str().unwrap()), None).await;
    assert_eq!(one.body, *first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_so_many_ports_and_no_more() {
    let rig = Rig::start().await;
    rig.make_available().await;
    let has = rig.client.send("GET", "/v1/ports", None).await.body["ports"].as_array().map_or(0, Vec::len);
    let most = reveille_config::limit::PORTS_PER_NODE_MAX;
    for at in has..=most {
        let body = json!({ "address": format!("52:54:00:77:00:{at:02x}"), "node_uuid": rig.node().await["uuid"] });
        let answer = rig.client.send("POST", "/v1/ports", Some(body)).await;
        assert_eq!(answer.status, if at < most { 201 } else { 409 }, "port {at}: {answer:?}");
    }
}

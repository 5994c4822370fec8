//! Which driver a node has, through the API: what may be chosen, what is masked, what is forgotten; virtual media.

mod rig;

use std::time::Duration;

use rig::Rig;
use serde_json::{Value, json};

async fn until(rig: &Rig, what: &str, condition: impl Fn(&Rig) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition(rig) {
        assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", rig.machine.state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_chooses_its_driver_and_no_answer_tells_its_password() {
    let rig = Rig::start().await;
    let body = json!({ "name": "n1", "driver": "redfish", "driver_info": { "redfish_address": "https://10.0.0.1",
        "redfish_username": "admin", "redfish_password": "hunter2" } });
    let made = rig.client.send("POST", "/v1/nodes", Some(body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let interfaces = |node: &Value| [node["power_interface"].clone(), node["management_interface"].clone()];
    assert_eq!(interfaces(&made.body), ["redfish", "redfish"]);
    let checked = rig.client.send("GET", "/v1/nodes/n1/validate", None).await;
    assert_eq!(checked.body["power"], json!({ "result": true }), "{checked:?}");
    for path in [
        "/v1/nodes/n1",
        "/v1/nodes/detail",
        "/v1/nodes?fields=driver_info",
        "/v1/nodes/n1/history?detail=true",
        "/v1/events",
    ] {
        let answer = rig.client.send("GET", path, None).await;
        assert!(answer.status == 200 && !answer.body.to_string().contains("hunter2"), "{path}: {answer:?}");
    }
    let driver = rig.client.send("GET", "/v1/drivers/redfish", None).await.body;
    assert_eq!(
        (&driver["default_power_interface"], &driver["enabled_power_interfaces"]),
        (&json!("redfish"), &json!(["redfish"]))
    );
    let replace = |path: &str, value: Value| json!({ "op": "replace", "path": path, "value": value });
    let steps = [
        (json!([replace("/power_interface", json!("ipmitool"))]), "", 400, "does not go with the driver redfish"),
        (json!([replace("/power_interface", json!("telepathy"))]), "", 400, "one of ipmi, ipmitool, redfish"),
        (json!([replace("/driver", json!("ipmi")), replace("/power_interface", json!("ipmitool"))]), "", 200, ""),
        (json!([replace("/driver", json!("redfish"))]), "", 400, "does not go with the driver redfish"),
        (json!([replace("/driver", json!("redfish"))]), "?reset_interfaces=true", 200, ""),
    ];
    for (patch, query, status, words) in steps {
        let answer = rig.client.send("PATCH", &format!("/v1/nodes/n1{query}"), Some(patch.clone())).await;
        assert!(answer.status == status && answer.body.to_string().contains(words), "{patch}: {answer:?}");
    }
    let node = rig.node().await;
    assert_eq!((interfaces(&node), &node["driver"]), ([json!("redfish"), json!("redfish")], &json!("redfish")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_out_about_a_bmc_is_forgotten_when_another_may_be_there() {
    let rig = Rig::start().await;
    rig.make_available().await;
    until(&rig, "a new node's BMC is nobody's acquaintance", |rig| !rig.machine.state().forgotten.is_empty()).await;
    let replace =
        |key: &str, value: &str| json!([{ "op": "replace", "path": format!("/driver_info/{key}"), "value": value }]);
    let cases = [
        ("PATCH", "", replace("ipmi_password", "another"), "10.0.0.1:623"),
        ("PATCH", "", replace("ipmi_address", "10.0.0.2"), "10.0.0.2:623"),
        ("PUT", "/maintenance", json!({ "reason": "a new board" }), "10.0.0.2:623"),
        ("DELETE", "/maintenance", Value::Null, "10.0.0.2:623"),
        (
            "PATCH",
            "",
            json!([{ "op": "replace", "path": "/driver", "value": "redfish" },
            { "op": "add", "path": "/driver_info/redfish_address", "value": "https://10.0.0.3:8443" }]),
            "10.0.0.3:8443",
        ),
    ];
    for (method, path, body, forgotten) in cases {
        rig.machine.state().forgotten.clear();
        let body = (!body.is_null()).then_some(body);
        let answer = rig.client.send(method, &format!("/v1/nodes/n1{path}"), body).await;
        assert!(answer.status < 300, "{answer:?}");
        until(&rig, forgotten, |rig| rig.machine.state().forgotten == [forgotten]).await;
    }
    // What says nothing of the BMC changes nothing.
    rig.machine.state().forgotten.clear();
    for extra in ["a", "b"] {
        let patch = json!([{ "op": "add", "path": "/extra/note", "value": extra }]);
        assert_eq!(rig.client.send("PATCH", "/v1/nodes/n1", Some(patch)).await.status, 200);
    }
    let put = rig.client.send("PUT", "/v1/nodes/n1/maintenance", Some(json!({}))).await;
    assert_eq!(put.status, 202);
    until(&rig, "changes are seen in their order", |rig| rig.machine.state().forgotten == ["10.0.0.3:8443"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_attached_and_detached() {
    let rig = Rig::start().await;
    rig.make_available().await;
    let url = "http://10.0.0.1/rescue.iso";
    let attach = |kind: &str, url: &str| Some(json!({ "device_type": kind, "image_url": url }));
    for (body, status, words) in [
        (attach("cdrom", url), 204, ""),
        (attach("tape", url), 400, "one of cdrom, disk, floppy is expected"),
        (attach("cdrom", "file:///etc/shadow"), 400, "a URL of http or https is expected"),
    ] {
        let answer = rig.client.send("POST", "/v1/nodes/n1/vmedia", body.clone()).await;
        assert!(answer.status == status && answer.body.to_string().contains(words), "{body:?}: {answer:?}");
        assert_eq!(rig.machine.state().image.as_deref(), Some(url));
    }
    let answer = rig.client.send("DELETE", "/v1/nodes/n1/vmedia?device_types=cdrom", None).await;
    assert_eq!((answer.status, rig.machine.state().image.clone()), (204, None), "{answer:?}");
    rig.machine.state().bmc_is_deaf = true;
    let answer = rig.client.send("DELETE", "/v1/nodes/n1/vmedia", None).await;
    assert!(answer.status == 500 && answer.body.to_string().contains("the BMC socket is closed"), "{answer:?}");
}

//! From the API to a BMC and back: a Redfish service and an IPMI BMC that is replaced, each behind a provisioner with its own drivers.

mod redfish_support;
mod rig;

use std::time::Duration;

use redfish_support::{Bmc, PASSWORD, Served, USER};
use reveille_bmc_simulator::{Fleet, Server};
use rig::Rig;
use serde_json::{Value, json};

async fn with_drivers() -> Rig {
    let mut rig = Rig::start().await;
    rig.kill().await;
    rig.restart_with_drivers().await;
    rig
}

async fn make(rig: &Rig, driver: &str, info: Value) {
    let made = rig
        .client
        .send("POST", "/v1/nodes", Some(json!({ "name": "n1", "driver": driver, "driver_info": info })))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    rig.ask("manage").await;
    rig.wait_for("manageable").await;
}

/// Asks for a power and waits until the node is at rest again.
async fn power(rig: &Rig, target: &str) -> Value {
    let asked = rig.client.send("PUT", "/v1/nodes/n1/states/power", Some(json!({ "target": target }))).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let node = rig.node().await;
        if node["reservation"].is_null() {
            return node;
        }
        assert!(tokio::time::Instant::now() < deadline, "{node:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redfish_node_is_driven_through_the_api() {
    let served = Served::start(Bmc { lags: 1, ..Bmc::good() }).await;
    let mut rig = with_drivers().await;
    let info = json!({ "redfish_address": format!("http://{}", served.address), "redfish_username": USER, "redfish_password": PASSWORD });
    make(&rig, "redfish", info).await;
    let node = power(&rig, "power on").await;
    assert_eq!((&node["power_state"], &node["last_error"]), (&json!("power on"), &Value::Null));
    let device = json!({ "boot_device": "uefihttp", "persistent": true });
    let put = rig.client.send("PUT", "/v1/nodes/n1/management/boot_device", Some(device)).await;
    assert_eq!(put.status, 204, "{put:?}");
    assert_eq!(served.bmc().boot["BootSourceOverrideTarget"], "UefiHttp");
    let image = json!({ "device_type": "cdrom", "image_url": "http://10.0.0.1/rescue.iso" });
    let put = rig.client.send("POST", "/v1/nodes/n1/vmedia", Some(image)).await;
    assert_eq!((put.status, served.bmc().image.as_deref()), (204, Some("http://10.0.0.1/rescue.iso")), "{put:?}");
    let history = rig.client.send("GET", "/v1/nodes/n1/history?detail=true", None).await.body.to_string();
    assert!(history.contains("put an image into the virtual drive cdrom") && !history.contains(PASSWORD), "{history}");
    assert_eq!(served.bmc().sessions(), 1, "one session for all of it");
    // Ended as it should be, it leaves none behind.
    rig.running.take().expect("it runs").drain().await;
    assert_eq!(served.bmc().sessions(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bmc_that_was_replaced_is_taken_as_it_is_once_its_node_says_so() {
    let fleet = Fleet::of_this_process(1);
    let address = fleet.address(0);
    let server = Server::start(fleet).unwrap();
    let rig = with_drivers().await;
    let info = json!({ "ipmi_address": address.ip(), "ipmi_port": address.port(), "ipmi_username": "admin", "ipmi_password": "secret" });
    make(&rig, "ipmi", info).await;
    assert_eq!(power(&rig, "power on").await["power_state"], "power on");
    {
        // Another board: another GUID, and it knows nothing of our session.
        let bmc = &mut server.bmcs()[0];
        bmc.guid = [7; 16];
        bmc.restart();
    }
    let node = power(&rig, "power off").await;
    let words = node["last_error"].as_str().unwrap_or_default();
    assert!(words.contains("GUID"), "{node:#}");
    for (method, status) in [("PUT", 202), ("DELETE", 202)] {
        let answer = rig.client.send(method, "/v1/nodes/n1/maintenance", None).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let node = power(&rig, "power off").await;
    assert_eq!((&node["power_state"], &node["last_error"]), (&json!("power off"), &Value::Null));
}

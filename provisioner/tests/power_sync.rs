//! Power in view: what nobody here asked for is reported and left alone; maintenance is left alone; silence is told; a soft power-off ends.

mod rig;

use std::time::Duration;

use rig::Rig;
use serde_json::{Value, json};

/// Texts of the node's history of this kind.
async fn history(rig: &Rig, kind: &str) -> Vec<String> {
    let body = rig.client.send("GET", "/v1/nodes/n1/history?detail=true", None).await.body;
    let of_kind = |entry: &&Value| entry["event_type"] == kind;
    let entries = body["history"].as_array().expect("a list");
    entries.iter().filter(of_kind).map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn until(rig: &Rig, what: &str, condition: impl AsyncFn(&Rig) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition(rig).await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: {:#}", rig.node().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn watched() -> Rig {
    let mut rig = Rig::start().await;
    rig.machine.state().is_on = true;
    rig.make_available().await;
    until(&rig, "it is known to be on", async |rig| rig.node().await["power_state"] == "power on").await;
    rig.kill().await;
    rig.sync_secs = 1;
    rig.restart().await;
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_reported_and_not_undone() {
    let rig = watched().await;
    rig.machine.lose_power();
    until(&rig, "drift is written down", async |rig| !history(rig, "drift").await.is_empty()).await;
    let told = history(&rig, "drift").await;
    let text = "the machine reads power off and was left power on: somebody else did that, or the power failed";
    assert_eq!(told, [text]);
    assert_eq!(rig.node().await["power_state"], "power off");
    // Two more looks change nothing: it is known now, and nobody powers it on.
    let calls = rig.machine.state().calls;
    until(&rig, "it is looked at again", async |rig| rig.machine.state().calls >= calls + 2).await;
    assert_eq!(history(&rig, "drift").await.len(), 1);
    assert!(!rig.machine.state().is_on);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_bmc_reports_is_looked_at_before_its_turn() {
    let mut rig = Rig::start().await;
    rig.machine.state().is_on = true;
    rig.make_available().await;
    let patch = json!([{ "op": "replace", "path": "/driver", "value": "redfish" },
        { "op": "add", "path": "/driver_info/redfish_address", "value": "https://10.0.0.1" }]);
    assert_eq!(rig.client.send("PATCH", "/v1/nodes/n1", Some(patch)).await.status, 200);
    rig.kill().await;
    // Its turn comes once a day.
    rig.sync_secs = 86_400;
    rig.restart().await;
    until(&rig, "its reports are listened to", async |rig| rig.machine.state().watchers > 0).await;
    rig.machine.lose_power();
    rig.machine.report();
    until(&rig, "drift is written down", async |rig| !history(rig, "drift").await.is_empty()).await;
    let events = rig.client.send("GET", "/v1/events", None).await.body;
    assert!(events.to_string().contains("the machine reads power off and was left power on"), "{events:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_maintenance_is_left_alone_and_silence_is_told_once() {
    let rig = watched().await;
    let put = rig.client.send("PUT", "/v1/nodes/n1/maintenance", Some(json!({ "reason": "new fans" }))).await;
    assert_eq!(put.status, 202, "{put:?}");
    rig.machine.lose_power();
    let calls = rig.machine.state().calls;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // One look may have been under way; in that time two more would have come.
    let looks = rig.machine.state().calls - calls;
    assert!(looks <= 1, "{looks} looks at a node in maintenance");
    assert_eq!(history(&rig, "drift").await.len(), 0);

    rig.machine.state().bmc_is_deaf = true;
    let delete = rig.client.send("DELETE", "/v1/nodes/n1/maintenance", None).await;
    assert_eq!(delete.status, 202, "{delete:?}");
    until(&rig, "silence is written down", async |rig| !history(rig, "unreachable").await.is_empty()).await;
    rig.machine.state().bmc_is_deaf = false;
    until(&rig, "so is its end", async |rig| !history(rig, "reachable").await.is_empty()).await;
    assert_eq!(history(&rig, "unreachable").await.len(), 1);
    assert_eq!(history(&rig, "drift").await.len(), 1, "what happened meanwhile is seen at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_power_off_that_does_not_come_ends_in_a_hard_one() {
    let mut rig = Rig::start().await;
    rig.machine.state().is_on = true;
    rig.make_available().await;
    rig.machine.state().ignores_soft = true;
    let asked = json!({ "target": "soft power off" });
    let asked = rig.client.send("PUT", "/v1/nodes/n1/states/power", Some(asked)).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    until(&rig, "it is switched off", async |rig| rig.node().await["power_state"] == "power off").await;
    assert!(!rig.machine.state().is_on);
    assert_eq!(rig.node().await["last_error"], Value::Null);
    rig.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_power_off_that_does_not_come_is_an_error_where_nobody_wants_more() {
    let mut rig = Rig::start().await;
    rig.machine.state().is_on = true;
    rig.make_available().await;
    rig.kill().await;
    rig.soft_off_then_off = false;
    rig.restart().await;
    rig.machine.state().ignores_soft = true;
    let asked = json!({ "target": "soft power off" });
    let asked = rig.client.send("PUT", "/v1/nodes/n1/states/power", Some(asked)).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    until(&rig, "it is given up", async |rig| !rig.node().await["last_error"].is_null()).await;
    let node = rig.node().await;
    let words = node["last_error"].as_str().unwrap_or_default();
    assert!(words.contains("soft power off was not done within 5 s: it still reads power on"), "{words}");
    assert_eq!((&node["target_power_state"], &node["power_state"]), (&Value::Null, &json!("error")));
    assert!(rig.machine.state().is_on, "nobody wanted it to be cut off");
}

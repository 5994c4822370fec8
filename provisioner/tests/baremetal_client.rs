//! The stock `baremetal` client against our API: what people type.

mod rig;

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use rig::{MAC, Rig};

struct Baremetal {
    program: PathBuf,
    endpoint: String,
}

impl Baremetal {
    async fn output(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(["--os-auth-type", "none", "--os-endpoint", &self.endpoint])
            .args(arguments)
            .output()
            .await
            .expect("the client runs")
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "baremetal {arguments:?}: {stdout}{stderr}");
        stdout.into_owned()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["-f", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_takes_a_node_through_its_life() {
    let program = tokio::task::spawn_blocking(reveille_lab::packages::ensure_baremetal_client).await.unwrap();
    let program = program.expect("the stock client can be installed (python3-venv and pip's package index are needed)");
    let rig = Rig::start().await;
    let baremetal = Baremetal { program, endpoint: format!("http://{}", rig.api_address()) };

    let made = baremetal
        .json(&[
            "node",
            "create",
            "--driver",
            "ipmi",
            "--name",
            "n1",
            "--driver-info",
            "ipmi_address=10.0.0.1",
            "--driver-info",
            "ipmi_username=admin",
            "--driver-info",
            "ipmi_password=hunter2",
            "--resource-class",
            "baremetal",
        ])
        .await;
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    assert_eq!(made["driver_info"]["ipmi_password"], "******");
    baremetal.run(&["port", "create", MAC, "--node", &uuid]).await;
    let ports = baremetal.json(&["port", "list", "--node", "n1"]).await;
    assert!(ports.to_string().contains(MAC) && ports.as_array().is_some_and(|ports| ports.len() == 1), "{ports}");
    baremetal
        .run(&[
            "node",
            "set",
            "n1",
            "--instance-info",
            "image_source=http://127.0.0.1:8080/os.raw",
            "--instance-info",
            &format!("image_checksum={}", rig::SHA256),
            "--property",
            "cpu_arch=x86_64",
        ])
        .await;
    baremetal.run(&["node", "manage", "n1", "--wait", "60"]).await;
    baremetal.run(&["node", "provide", "n1", "--wait", "60"]).await;
    let list = baremetal.json(&["node", "list"]).await;
    assert_eq!((&list[0]["name"], &list[0]["provision_state"]), (&json!("n1"), &json!("available")), "{list}");
    baremetal.run(&["node", "deploy", "n1", "--wait", "60"]).await;
    let shown = baremetal.json(&["node", "show", "n1"]).await;
    assert_eq!((&shown["provision_state"], &shown["power_state"]), (&json!("active"), &json!("power on")));
    let refused = baremetal.output(&["node", "provide", "n1"]).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("can not be performed on node"), "{words}");
    baremetal.run(&["node", "power", "off", "n1", "--power-timeout", "60"]).await;
    rig.wait_for("active").await;
    assert!(!rig.machine.state().is_on);
    baremetal.run(&["node", "power", "on", "n1"]).await;
    rig.wait_for("active").await;
    baremetal.run(&["node", "undeploy", "n1", "--wait", "60"]).await;
    let history = baremetal.json(&["node", "history", "list", "n1"]).await;
    assert!(history.as_array().is_some_and(|entries| entries.len() > 10), "{history}");
    baremetal.run(&["node", "maintenance", "set", "n1", "--reason", "dust"]).await;
    baremetal.run(&["node", "maintenance", "unset", "n1"]).await;
    baremetal.run(&["node", "validate", "n1"]).await;
    baremetal.run(&["node", "boot", "device", "set", "n1", "pxe"]).await;
    baremetal.run(&["driver", "list"]).await;
    baremetal.run(&["driver", "show", "ipmi"]).await;
    baremetal.run(&["conductor", "list"]).await;
    baremetal.run(&["node", "unset", "n1", "--name"]).await;
    baremetal.run(&["node", "delete", &uuid]).await;
    assert_eq!(baremetal.json(&["node", "list"]).await, json!([]));
}

//! A machine, its BMC, its agent, a bootd and a dhcpd, all simulated; and a provisioner over real sockets between them.
//!
//! The simulation shares nothing with the provisioner but the wire and the BMC trait. The agent answers with what a real
//! ironic-python-agent 13 answered (`fixtures/agent-deploy.json`).

#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod agent;
mod daemons;
mod http;
mod machine;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reveille_config::Config;
use reveille_config::environment::Imagined;
use reveille_config::provisioner::Provisioner;
use reveille_provisioner::Running;
use reveille_provisioner::io::bmc::{BmcLimits, BmcSocket};
use reveille_provisioner::io::driver::Drivers;
use reveille_provisioner::proto::node::Settings;
use serde_json::{Value, json};

pub use agent::Lie;
pub use http::{Answer, Client};
pub use machine::Machine;

pub const SHA256: &str = "469720333862e78ef9fcdf223162cebd2d0ca33eb371231958bfd9ce4113e75b";
pub const MAC: &str = "52:54:00:12:34:56";

/// Everything around a provisioner, and the provisioner.
pub struct Rig {
    pub machine: Machine,
    pub running: Option<Running>,
    pub client: Client,
    /// Seconds between two looks at the power; 0 unless a test is about that. In force at the next restart.
    pub sync_secs: u32,
    /// What becomes of a soft power-off that does not come. In force at the next restart.
    pub soft_off_then_off: bool,
    dir: tempfile::TempDir,
    api: SocketAddr,
    agent_api: SocketAddr,
}

impl Rig {
    /// Starts everything; the provisioner knows no node yet.
    pub async fn start() -> Self {
        let machine = Machine::start().await;
        let dir = tempfile::tempdir().expect("a directory for the state");
        let mut rig = Self {
            machine,
            running: None,
            sync_secs: 0,
            soft_off_then_off: true,
            client: Client::new("127.0.0.1:0".parse().unwrap()),
            dir,
            api: "127.0.0.1:0".parse().unwrap(),
            agent_api: own_address(),
        };
        rig.api = own_address();
        rig.client = Client::new(rig.api);
        rig.restart().await;
        rig
    }

    /// Starts the provisioner on the state that is there.
    pub async fn restart(&mut self) {
        let config = self.config();
        let running = reveille_provisioner::start_with(
            config.clone(),
            settings(&config),
            self.machine.bmc(),
            Arc::new(String::new),
        );
        self.running = Some(running.await.expect("the provisioner starts"));
    }

    /// The same with the drivers of real BMCs, in place of that of the machine.
    pub async fn restart_with_drivers(&mut self) {
        let config = self.config();
        let socket = BmcSocket::start(None, BmcLimits::default()).expect("a socket");
        let drivers = Drivers::new(socket, Duration::from_secs(30), None);
        let running =
            reveille_provisioner::start_with(config.clone(), settings(&config), drivers, Arc::new(String::new));
        self.running = Some(running.await.expect("the provisioner starts"));
    }

    /// Ends the provisioner as `kill -9` would: nothing is finished, nothing is flushed.
    pub async fn kill(&mut self) {
        drop(self.running.take());
        // The file's lock goes with the writer thread, which may be in the middle of a commit.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            match reveille_provisioner::store::Store::open(self.dir.path()) {
                Ok((store, closed)) => {
                    drop(store);
                    closed.wait().await;
                    return;
                }
                Err(error) if tokio::time::Instant::now() > deadline => panic!("the file is still locked: {error}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    pub fn config(&self) -> Arc<Provisioner> {
        let text = format!(
            r#"
            [provisioner]
            state_dir = "{}"
            api = ["{}"]
            agent_api = ["{}"]
            agent_api_url = "http://{}"
            dhcpd = "{}"
            bootd = "{}"
            boot_url = "http://127.0.0.1:8080"
            agent_networks = ["127.0.0.0/8"]
            [provisioner.deploy]
            kernel = "agent/vmlinuz"
            ramdisk = "agent/initrd.zst"
            kernel_append = "console=ttyS0"
            [provisioner.timeouts]
            heartbeat_secs = 10
            deploy_callback_secs = 60
            agent_step_secs = 60
            power_secs = 5
            bmc_secs = 2
            [provisioner.power]
            sync_secs = {}
            soft_off_then_off = {}
            "#,
            self.dir.path().display(),
            self.api,
            self.agent_api,
            self.agent_api,
            self.machine.dhcpd(),
            self.machine.bootd(),
            self.sync_secs,
            self.soft_off_then_off,
        );
        let config = Config::parse(&text, Path::new("rig.toml"), &Imagined::with_all_directories());
        let config = config.unwrap_or_else(|mistakes| panic!("{}", mistakes[0].render(false)));
        Arc::new(config.provisioner.expect("the table is there"))
    }

    pub fn agent_api(&self) -> Client {
        Client::new(self.agent_api)
    }

    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Makes the node `n1` with its port, in state `available`, ready for a deployment.
    pub async fn make_available(&self) -> String {
        let uuid = self.enroll().await;
        self.ask("manage").await;
        self.wait_for("manageable").await;
        self.ask("provide").await;
        self.wait_for("available").await;
        uuid
    }

    /// Makes the node `n1` with its port.
    pub async fn enroll(&self) -> String {
        let body = json!({
            "name": "n1", "driver": "ipmi",
            "driver_info": { "ipmi_address": "10.0.0.1", "ipmi_username": "admin", "ipmi_password": "hunter2" },
            "instance_info": { "image_source": "http://127.0.0.1:8080/images/mbr.raw", "image_os_hash_algo": "sha256",
                "image_os_hash_value": SHA256 },
        });
        let node = self.client.send("POST", "/v1/nodes", Some(body)).await;
        assert_eq!(node.status, 201, "{node:?}");
        let uuid = node.body["uuid"].as_str().unwrap().to_owned();
        let port = self.client.send("POST", "/v1/ports", Some(json!({ "address": MAC, "node_uuid": uuid }))).await;
        assert_eq!(port.status, 201, "{port:?}");
        uuid
    }

    pub async fn ask(&self, target: &str) {
        let answer = self.client.send("PUT", "/v1/nodes/n1/states/provision", Some(json!({ "target": target }))).await;
        assert_eq!((answer.status, &answer.body), (202, &Value::Null), "{answer:?}");
    }

    pub async fn node(&self) -> Value {
        self.client.send("GET", "/v1/nodes/n1", None).await.body
    }

    /// Waits until the agent writes, and the provisioner knows.
    pub async fn wait_for_writing(&self) {
        self.wait_for("wait call-back").await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !(self.machine.state().is_writing && self.node().await["deploy_step"]["step"] == "write_image") {
            assert!(tokio::time::Instant::now() < deadline, "never writes: {:#}", self.node().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the node has come to rest in `state`; panics with its story when it does not.
    pub async fn wait_for(&self, state: &str) -> Value {
        self.wait_for_any(&[state]).await
    }

    /// The same for any of several states.
    pub async fn wait_for_any(&self, states: &[&str]) -> Value {
        // Longer than the deadlines of a deployment together: one that a kill has cost ends by them, and is to be told as that.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(150);
        let mut since = 0;
        loop {
            let node = self.node().await;
            let state = node["provision_state"].as_str().unwrap_or_default();
            if states.contains(&state) && node["reservation"].is_null() {
                return node;
            }
            if tokio::time::Instant::now() > deadline {
                let events = self.client.send("GET", "/v1/events", None).await.body;
                panic!("not in {states:?} but {state}: {node:#}\n{events:#}\n{:?}", self.machine.state());
            }
            // Returns as soon as anything happens.
            let page = self.client.send("GET", &format!("/v1/events?since={since}&wait_secs=1"), None).await.body;
            since = page["next"].as_u64().unwrap_or(since);
        }
    }
}

/// The configuration's settings, with the pauses made short.
fn settings(config: &Provisioner) -> Settings {
    Settings { off_check_millis: 20, poll_millis: 300, retry_millis: 20, ..Settings::from(config) }
}

/// A loopback address that no other test process uses, with a port that no other test of this process uses: what listens there is
/// stopped and started again, and nobody takes its place meanwhile.
fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(30_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // A process' number has 22 bits at most.
    let ip = Ipv4Addr::new(127, 64 | high & 0x3f, middle, low);
    (ip, PORT.fetch_add(1, Ordering::Relaxed)).into()
}

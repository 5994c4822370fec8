//! The steps of a machine's life, as an operator takes them over the daemons' APIs.
//!
//! Shared by the demo, which shows them one by one, and by the end-to-end tests.

use reveille_client::{NewNode, Node, NodePatch};
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::{Approve, Lease, Sighting};
use serde_json::{Map, json};

use crate::bmc::Bmc;
use crate::error::LabError;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::net::PROVISIONING_HOST;
use crate::wait::Deadline;

/// A whole-disk image as it is asked for: its name below bootd's root and the checksum of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskImage {
    /// Below bootd's root, e.g. `images/os.img`.
    pub name: String,
    /// Hexadecimal.
    pub sha256: String,
}

impl DiskImage {
    /// Where machines fetch it.
    pub fn url(&self) -> String {
        format!("http://{PROVISIONING_HOST}:8080/{}", self.name)
    }
}

impl Lab {
    /// Waits until dhcpd has seen an unknown machine ask on the BMC network.
    ///
    /// # Errors
    /// [`LabError::Late`].
    pub fn wait_sighting(&self, mac: MacAddr, deadline: Deadline) -> Result<Sighting, LabError> {
        let dhcpd = self.dhcpd();
        let awaited = format!("dhcpd to see the unknown machine {mac}");
        self.ask_until(
            &awaited,
            deadline,
            async || dhcpd.sightings().await,
            |page| page.items.into_iter().find(|sighting| sighting.mac == mac),
        )
    }

    /// Approves a machine that was seen.
    ///
    /// # Errors
    /// When dhcpd refuses.
    pub fn approve(&self, mac: MacAddr) -> Result<(), LabError> {
        let approved = self.ask(self.dhcpd().approve(mac, &Approve::default()));
        approved.map(drop).map_err(|error| answer(format!("approve {mac}"), error))
    }

    /// Waits until `mac` has a lease.
    ///
    /// # Errors
    /// [`LabError::Late`].
    pub fn wait_lease(&self, mac: MacAddr, deadline: Deadline) -> Result<Lease, LabError> {
        let dhcpd = self.dhcpd();
        let awaited = format!("a lease of {mac}");
        self.ask_until(
            &awaited,
            deadline,
            async || dhcpd.leases(None, None).await,
            |page| page.items.into_iter().find(|lease| lease.mac == mac),
        )
    }

    /// Adds a node for `machine`, whose BMC is `bmc`, in state `enroll`, and gives its UUID.
    ///
    /// # Errors
    /// When the BMC has no address or the provisioner refuses.
    pub fn enrol(&self, name: &str, bmc: &Bmc, machine: &Machine) -> Result<String, LabError> {
        let address = bmc.wait_ready(Deadline::secs(60))?;
        let mut driver_info = Map::new();
        driver_info.insert("ipmi_address".into(), json!(address));
        driver_info.insert("ipmi_username".into(), json!(bmc.spec().user));
        driver_info.insert("ipmi_password".into(), json!(bmc.spec().password));
        let node = NewNode { name: name.to_owned(), driver: "ipmi".to_owned(), driver_info };
        let ironic = self.ironic();
        self.ask(async {
            let node = ironic.create_node(&node).await?;
            ironic.create_port(&node.uuid, machine.spec().mac).await?;
            Ok(node.uuid)
        })
        .map_err(|error: reveille_client::ClientError| answer(format!("add the node {name}"), error))
    }

    /// Asks for a provision state: `manage`, `provide`, `active`, `deleted`.
    ///
    /// # Errors
    /// When the provisioner refuses.
    pub fn ask_for(&self, node: &str, target: &str) -> Result<(), LabError> {
        let asked = self.ask(self.ironic().set_provision_state(node, target));
        asked.map_err(|error| answer(format!("ask for {target} of the node {node}"), error))
    }

    /// Takes a node from `enroll` to `available`.
    ///
    /// # Errors
    /// When the provisioner refuses or the node fails.
    pub fn make_available(&self, node: &str, deadline: Deadline) -> Result<(), LabError> {
        for (target, state) in [("manage", "manageable"), ("provide", "available")] {
            self.ask_for(node, target)?;
            self.wait_state(node, state, deadline)?;
        }
        Ok(())
    }

    /// Names the image for a node and asks for its deployment.
    ///
    /// # Errors
    /// When the provisioner refuses.
    pub fn start_deploy(&self, node: &str, image: &DiskImage) -> Result<(), LabError> {
        let set = |field: &str, value: String| {
            let path = format!("/instance_info/{field}");
            NodePatch { op: "add", path, value: Some(value.into()) }
        };
        let patch = [
            set("image_source", image.url()),
            set("image_os_hash_algo", "sha256".to_owned()),
            set("image_os_hash_value", image.sha256.clone()),
            set("image_disk_format", "raw".to_owned()),
        ];
        let named = self.ask(self.ironic().patch_node(node, &patch));
        named.map_err(|error| answer(format!("name the image of the node {node}"), error))?;
        self.ask_for(node, "active")
    }

    /// The node as the provisioner shows it now.
    ///
    /// # Errors
    /// When the provisioner refuses or cannot be reached.
    pub fn node(&self, node: &str) -> Result<Node, LabError> {
        self.ask(self.ironic().node(node)).map_err(|error| answer(format!("show the node {node}"), error))
    }

    /// Waits until a node has reached `wanted` and goes nowhere else. A provisioner that is being restarted is waited for.
    ///
    /// # Errors
    /// When the node fails (with its own reason) or the deadline passes.
    pub fn wait_state(&self, node: &str, wanted: &str, deadline: Deadline) -> Result<Node, LabError> {
        let ironic = self.ironic();
        let awaited = format!("the node {node} to be {wanted}");
        let settled = self.ask_until(
            &awaited,
            deadline,
            async || ironic.node(node).await,
            |node| {
                let state = node.provision_state.clone().unwrap_or_default();
                let there = state == wanted && node.target_provision_state.is_none();
                // A failed state keeps its target, as in Ironic: it says what was not reached.
                (there || has_failed(&node)).then_some(node)
            },
        )?;
        if settled.provision_state.as_deref() == Some(wanted) {
            return Ok(settled);
        }
        Err(LabError::Answer { tried: awaited, answer: failure(&settled) })
    }
}

/// Whether a node is in a state that it leaves only on request, because something went wrong.
pub fn has_failed(node: &Node) -> bool {
    let state = node.provision_state.as_deref().unwrap_or_default();
    let settled = node.target_provision_state.is_none();
    state.ends_with("failed") || state == "error" || (settled && state == "enroll" && node.last_error.is_some())
}

/// A node's state and its reason, for messages.
pub fn failure(node: &Node) -> String {
    let state = node.provision_state.as_deref().unwrap_or("without a state");
    format!("it is {state}: {}", node.last_error.as_deref().unwrap_or("no reason given"))
}

fn answer(tried: String, error: reveille_client::ClientError) -> LabError {
    let chain: Vec<String> = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    LabError::Answer { tried, answer: chain.join(": ") }
}

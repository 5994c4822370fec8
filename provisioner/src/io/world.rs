//! [`World`]: which driver carries out which effect.

use std::sync::{Arc, Mutex};

use metrics::counter;

use super::agent::AgentClient;
use super::boot::BootServices;
use super::driver::Driver;
use super::power;
use crate::proto::inrush::InRush;
use crate::proto::node::{Effect, Failure, Node, Outcome, Port, Settings};

/// A node as it was when an effect became its turn.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The node.
    pub node: Arc<Node>,
    /// Its interfaces.
    pub ports: Vec<Port>,
    /// The configuration.
    pub settings: Arc<Settings>,
}

/// The drivers.
#[derive(Debug)]
pub struct World<P> {
    /// BMCs.
    pub bmc: P,
    /// bootd and dhcpd.
    pub boot: BootServices,
    /// Agents.
    pub agent: AgentClient,
    /// Machines that are being powered on.
    pub inrush: Mutex<InRush>,
}

impl<P: Driver + Sync> World<P> {
    /// Carries out an effect. Every driver bounds its own time.
    pub async fn carry_out(&self, subject: &Subject, effect: &Effect) -> Result<Outcome, Failure> {
        let (name, result) = match effect {
            Effect::ReadPower => ("read_power", power::read(&self.bmc, subject).await),
            Effect::EnsurePower { power, soft } => {
                ("ensure_power", power::ensure(&self.bmc, &self.inrush, subject, *power, *soft).await)
            }
            Effect::SetBootDevice { device, persistent, firmware } => {
                ("set_boot_device", power::set_boot_device(&self.bmc, subject, *device, *persistent, *firmware).await)
            }
            Effect::SetMedia { kind, image } => {
                ("set_media", power::set_media(&self.bmc, subject, *kind, image.as_deref()).await)
            }
            Effect::PutIntent { macs, boot } => ("put_intent", self.boot.put_intent(subject, macs, boot).await),
            Effect::DeleteIntent { macs } => ("delete_intent", self.boot.delete_intent(macs).await),
            Effect::PutReservation { macs, hostname } => {
                ("put_reservation", self.boot.put_reservation(subject, macs, hostname.as_deref()).await)
            }
            Effect::DeleteReservation { macs } => {
                ("delete_reservation", self.boot.delete_reservation(subject, macs).await)
            }
            Effect::Agent(command) => ("agent_command", self.agent.command(subject, command).await),
            Effect::Poll { id } => ("agent_poll", self.agent.poll(subject, id).await),
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(failure) if failure.is_transient => "passing",
            Err(_) => "failed",
        };
        counter!("reveille_provisioner_effects_total", "effect" => name, "outcome" => outcome).increment(1);
        result
    }
}

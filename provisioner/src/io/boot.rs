//! bootd and dhcpd, through their HTTP APIs, as any other conductor would reach them.

use reveille_client::{Bootd, ClientError, Dhcpd};
use reveille_config::dto::bootd::{BootAction, IntentPut};
use reveille_config::dto::dhcpd::ReservationPut;
use reveille_config::{Endpoint, MacAddr};

use super::world::Subject;
use crate::proto::node::{Boot, Failure, Outcome};

/// Clients of the two daemons that a machine boots from.
#[derive(Debug)]
pub struct BootServices {
    dhcpd: Dhcpd,
    bootd: Bootd,
}

impl BootServices {
    /// The dhcpd and the bootd at these endpoints.
    pub fn new(dhcpd: Endpoint, bootd: Endpoint) -> Self {
        Self { dhcpd: Dhcpd::new(dhcpd), bootd: Bootd::new(bootd) }
    }

    /// Tells bootd what these interfaces shall boot.
    pub async fn put_intent(&self, subject: &Subject, macs: &[MacAddr], boot: &Boot) -> Result<Outcome, Failure> {
        for mac in macs {
            let action = match boot {
                Boot::Agent { kernel, ramdisk, cmdline } => BootAction::Kernel {
                    kernel: kernel.clone(),
                    initrd: ramdisk.clone(),
                    cmdline: format!("BOOTIF={mac} {cmdline}"),
                },
                Boot::Disk => BootAction::Disk,
            };
            let put = IntentPut { action, node: Some(subject.node.uuid.to_string()) };
            self.bootd.put_intent(*mac, &put).await.map_err(|error| failure("bootd", error))?;
        }
        Ok(Outcome::Done)
    }

    /// Makes bootd forget these interfaces.
    pub async fn delete_intent(&self, macs: &[MacAddr]) -> Result<Outcome, Failure> {
        for mac in macs {
            self.bootd.delete_intent(*mac).await.map_err(|error| failure("bootd", error))?;
        }
        Ok(Outcome::Done)
    }

    /// Asks dhcpd to keep an address for the first of these interfaces, and to name it.
    pub async fn put_reservation(
        &self,
        subject: &Subject,
        macs: &[MacAddr],
        hostname: Option<&str>,
    ) -> Result<Outcome, Failure> {
        let Some(mac) = macs.first() else { return Ok(Outcome::Done) };
        let Some(scope) = self.scope(subject, *mac).await? else {
            return Ok(Outcome::Skipped(
                "which of dhcpd's dynamic scopes serves it is not clear: set the port's physical_network to its name"
                    .into(),
            ));
        };
        let put = ReservationPut {
            scope: Some(scope),
            hostname: hostname.map(str::to_owned),
            node: Some(subject.node.uuid.to_string()),
            ..ReservationPut::default()
        };
        self.dhcpd.put_reservation(*mac, &put).await.map_err(|error| failure("dhcpd", error))?;
        Ok(Outcome::Done)
    }

    /// Gives these addresses back.
    pub async fn delete_reservation(&self, subject: &Subject, macs: &[MacAddr]) -> Result<Outcome, Failure> {
        for mac in macs {
            let scope = self.scope(subject, *mac).await?;
            self.dhcpd.delete_reservation(*mac, scope.as_deref()).await.map_err(|error| failure("dhcpd", error))?;
        }
        Ok(Outcome::Done)
    }

    /// The dynamic scope that serves an interface: the one its port names, else the only one there is.
    async fn scope(&self, subject: &Subject, mac: MacAddr) -> Result<Option<String>, Failure> {
        let scopes = self.dhcpd.scopes().await.map_err(|error| failure("dhcpd", error))?;
        let mut dynamic = scopes.items.into_iter().filter(|scope| scope.kind == "dynamic").map(|scope| scope.scope);
        let port = subject.ports.iter().find(|port| port.address == mac);
        if let Some(network) = port.and_then(|port| port.physical_network.as_ref()) {
            return Ok(dynamic.find(|scope| scope == network));
        }
        let only = dynamic.next();
        Ok(if dynamic.next().is_some() { None } else { only })
    }
}

fn failure(daemon: &str, error: ClientError) -> Failure {
    Failure { is_transient: error.is_transient(), reason: format!("{daemon}: {error}") }
}

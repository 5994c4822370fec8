//! bootd and dhcpd, through their HTTP APIs, as any other conductor would reach them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use reveille_client::{Access, AccessError, Bootd, ClientError, Dhcpd};
use reveille_config::dto::bootd::{BootAction, IntentPut};
use reveille_config::dto::dhcpd::ReservationPut;
use reveille_config::provisioner::Provisioner;
use reveille_config::{Endpoint, MacAddr};

use super::world::Subject;
use crate::proto::node::{Boot, Failure, Outcome};

/// Clients of the two daemons that a machine boots from; its clones are one.
#[derive(Debug, Clone)]
pub struct BootServices {
    /// How to reach dhcpd, as the configuration says it now.
    dhcpd: Arc<ArcSwap<DhcpdClient>>,
    bootd: Bootd,
}

/// A client of dhcpd, and how what it is shown may be set right.
#[derive(Debug)]
struct DhcpdClient {
    http: Dhcpd,
    shown: Shown,
}

/// What dhcpd is shown, in the words of the configuration.
#[derive(Debug)]
struct Shown {
    token: Option<String>,
    is_elsewhere: bool,
}

impl BootServices {
    /// Clients of the dhcpd and the bootd of the configuration.
    ///
    /// # Errors
    /// What is to be shown to dhcpd, or whom to trust there, cannot be used.
    pub fn new(config: &Provisioner) -> Result<Self, AccessError> {
        let dhcpd = Arc::new(ArcSwap::from_pointee(DhcpdClient::new(config)?));
        Ok(Self { dhcpd, bootd: Bootd::new(config.bootd.clone()) })
    }

    /// From now on reaches dhcpd as this configuration says; its files are read again.
    ///
    /// # Errors
    /// As of [`Self::new`]; nothing has changed.
    pub fn put_in_force(&self, config: &Provisioner) -> Result<(), AccessError> {
        self.dhcpd.store(Arc::new(DhcpdClient::new(config)?));
        Ok(())
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
            let put = IntentPut {
                node: Some(subject.node.uuid.to_string()),
                hostname: subject.node.name.clone(),
                ..IntentPut::new(action)
            };
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
        let dhcpd = self.dhcpd.load_full();
        dhcpd.http.put_reservation(*mac, &put).await.map_err(|error| dhcpd.failure(error))?;
        Ok(Outcome::Done)
    }

    /// Gives these addresses back.
    pub async fn delete_reservation(&self, subject: &Subject, macs: &[MacAddr]) -> Result<Outcome, Failure> {
        let dhcpd = self.dhcpd.load_full();
        for mac in macs {
            let scope = self.scope(subject, *mac).await?;
            dhcpd.http.delete_reservation(*mac, scope.as_deref()).await.map_err(|error| dhcpd.failure(error))?;
        }
        Ok(Outcome::Done)
    }

    /// The dynamic scope that serves an interface: the one its port names, else the only one there is.
    async fn scope(&self, subject: &Subject, mac: MacAddr) -> Result<Option<String>, Failure> {
        let dhcpd = self.dhcpd.load_full();
        let scopes = dhcpd.http.scopes().await.map_err(|error| dhcpd.failure(error))?;
        let mut dynamic = scopes.items.into_iter().filter(|scope| scope.kind == "dynamic").map(|scope| scope.scope);
        let port = subject.ports.iter().find(|port| port.address == mac);
        if let Some(network) = port.and_then(|port| port.physical_network.as_ref()) {
            return Ok(dynamic.find(|scope| scope == network));
        }
        let only = dynamic.next();
        Ok(if dynamic.next().is_some() { None } else { only })
    }
}

impl DhcpdClient {
    fn new(config: &Provisioner) -> Result<Self, AccessError> {
        let own = &config.dhcpd_access;
        let mut access = Access::default();
        if let Some(token) = &own.token {
            access = access.with_token(token.expose())?;
        }
        if let Some(ca) = &own.ca {
            access = access.with_roots(ca)?;
        }
        if let Some((certificate, key)) = &own.certificate {
            access = access.with_certificate(certificate, key)?;
        }
        let token = own.token.as_ref().map(|token| token.reference().to_string());
        let shown = Shown { token, is_elsewhere: matches!(config.dhcpd, Endpoint::Https(_)) };
        Ok(Self { http: Dhcpd::new(config.dhcpd.clone()).with_access(access), shown })
    }

    fn failure(&self, error: ClientError) -> Failure {
        let instead = self.shown.instead(&error);
        let mut failure = failure("dhcpd", error);
        if let Some(instead) = instead {
            failure.reason = format!("{}: {instead}", failure.reason);
        }
        failure
    }
}

impl Shown {
    /// What would mend an error that is about who we are, or about whom we trust.
    fn instead(&self, error: &ClientError) -> Option<String> {
        match (error, error.status(), &self.token) {
            (_, Some(401 | 403), Some(token)) => Some(format!(
                "make a token on dhcpd's host (`reveille token create provisioner --role write`), \
                 put it into {token} and reload the provisioner"
            )),
            (_, Some(401 | 403), None) if self.is_elsewhere => {
                Some("give the certificate's name the role write in dhcpd's [dhcpd.api.client_certificates]".into())
            }
            (_, Some(401 | 403), None) => Some("give the provisioner a token, in [provisioner.dhcpd]".into()),
            (ClientError::Connect { cause, .. }, ..) if cause.kind() == std::io::ErrorKind::InvalidData => {
                Some("see `ca` and the host's name in `url` of [provisioner.dhcpd]".into())
            }
            _ => None,
        }
    }
}

fn failure(daemon: &str, error: ClientError) -> Failure {
    Failure { is_transient: error.is_transient(), reason: format!("{daemon}: {error}") }
}

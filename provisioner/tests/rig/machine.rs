//! The machine: power, boot device, and what the network tells it to boot. Its BMC is the trait that the provisioner drives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use reveille_provisioner::io::bmc::{BmcError, PowerAction, PowerState};
use reveille_provisioner::io::driver::{Driver, DriverError};
use reveille_provisioner::proto::access::Access;
use reveille_provisioner::proto::node::{BootDevice, Firmware};
use reveille_provisioner::proto::redfish::MediaKind;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::agent::{self, Lie};
use super::daemons;

/// What can be seen of the machine from outside.
#[derive(Debug, Default)]
pub struct MachineState {
    pub is_on: bool,
    pub boots_network: bool,
    pub intent: Option<Value>,
    pub reservation: Option<Value>,
    pub images_written: u32,
    pub cuts_while_writing: u32,
    pub is_writing: bool,
    /// Method, path without ids, and command name of each call to the agent.
    pub agent_calls: Vec<(String, String, Value)>,
    /// How the agent misbehaves.
    pub lie: Option<Lie>,
    /// The BMC does not answer.
    pub bmc_is_deaf: bool,
    /// The operating system does not shut down when it is asked to.
    pub ignores_soft: bool,
    /// Nothing is written until this is set back.
    pub holds_write: bool,
    /// How often its BMC was asked to report changes by itself.
    pub watchers: usize,
    /// The image in its virtual drive.
    pub image: Option<String>,
    /// Addresses of BMCs of which what was found out was forgotten.
    pub forgotten: Vec<String>,
    /// Calls that changed something, or asked.
    pub calls: usize,
    /// The call (by number) whose answer never comes.
    pub swallow: Option<usize>,
}

/// The machine and everything that serves it.
#[derive(Clone)]
pub struct Machine {
    pub(super) inner: Arc<Inner>,
    bootd: SocketAddr,
    dhcpd: SocketAddr,
}

pub(super) struct Inner {
    state: Mutex<MachineState>,
    /// Counts boots; an agent of an earlier boot ends.
    boots: watch::Sender<u64>,
    /// A call's answer was swallowed.
    pub swallowed: Notify,
    /// The BMC reports a change.
    pub reports: Notify,
}

impl Machine {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            boots: watch::Sender::new(0),
            swallowed: Notify::new(),
            reports: Notify::new(),
        });
        let bootd = daemons::start_bootd(Arc::clone(&inner)).await;
        let dhcpd = daemons::start_dhcpd(Arc::clone(&inner)).await;
        Self { inner, bootd, dhcpd }
    }

    pub fn state(&self) -> MutexGuard<'_, MachineState> {
        self.inner.state()
    }

    pub fn bmc(&self) -> Bmc {
        Bmc(Arc::clone(&self.inner))
    }

    pub fn bootd(&self) -> SocketAddr {
        self.bootd
    }

    pub fn dhcpd(&self) -> SocketAddr {
        self.dhcpd
    }

    /// Returns once a call's answer was swallowed.
    pub async fn swallowed(&self) {
        self.inner.swallowed.notified().await;
    }

    /// The BMC reports that something has changed.
    pub fn report(&self) {
        self.inner.reports.notify_one();
    }

    /// Power goes, nobody asked for it.
    pub fn lose_power(&self) {
        self.inner.set_power(false);
        // Not our doing.
        self.state().cuts_while_writing = 0;
    }
}

impl Inner {
    pub fn state(&self) -> MutexGuard<'_, MachineState> {
        self.state.lock().expect("no test panics while it holds the machine")
    }

    /// Counts a call; where its answer is to be swallowed, never returns.
    pub async fn answer(&self) {
        let is_swallowed = {
            let mut state = self.state();
            state.calls += 1;
            let is_it = state.swallow == Some(state.calls - 1);
            if is_it {
                state.swallow = None;
            }
            is_it
        };
        if is_swallowed {
            self.swallowed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub fn boots(&self) -> watch::Receiver<u64> {
        self.boots.subscribe()
    }

    pub fn set_power(&self, on: bool) {
        let mut state = self.state();
        if state.is_on == on {
            return;
        }
        state.is_on = on;
        if !on {
            state.cuts_while_writing += u32::from(state.is_writing);
            state.is_writing = false;
        }
        drop(state);
        self.boots.send_modify(|boots| *boots += 1);
    }

    /// What the firmware does once there is power.
    pub fn boot(self: &Arc<Self>) {
        let intent = {
            let state = self.state();
            state.boots_network.then(|| state.intent.clone()).flatten()
        };
        let Some(intent) = intent.filter(|intent| intent["action"] == "kernel") else { return };
        tokio::spawn(agent::run(Arc::clone(self), intent["cmdline"].as_str().unwrap_or_default().to_owned()));
    }
}

/// The machine's BMC.
#[derive(Clone)]
pub struct Bmc(Arc<Inner>);

impl Bmc {
    fn check(&self) -> Result<(), DriverError> {
        let address = "10.0.0.1:623".parse().expect("an address");
        // The one error that can be made from outside.
        if self.0.state().bmc_is_deaf { Err(BmcError::Closed { address }.into()) } else { Ok(()) }
    }
}

impl Driver for Bmc {
    async fn power_state(&self, _access: &Access) -> Result<PowerState, DriverError> {
        self.check()?;
        let is_on = self.0.state().is_on;
        self.0.answer().await;
        Ok(if is_on { PowerState::On } else { PowerState::Off })
    }

    async fn set_power(&self, _access: &Access, action: PowerAction) -> Result<(), DriverError> {
        self.check()?;
        match action {
            PowerAction::On => {
                let was_on = self.0.state().is_on;
                self.0.set_power(true);
                if !was_on {
                    self.0.boot();
                }
            }
            PowerAction::Soft if self.0.state().ignores_soft => {}
            _ => self.0.set_power(false),
        }
        self.0.answer().await;
        Ok(())
    }

    async fn set_boot_device(
        &self,
        _access: &Access,
        device: BootDevice,
        _persistent: bool,
        _firmware: Firmware,
    ) -> Result<(), DriverError> {
        self.check()?;
        self.0.state().boots_network = device == BootDevice::Pxe;
        self.0.answer().await;
        Ok(())
    }

    async fn set_media(
        &self,
        _access: &Access,
        _kind: Option<MediaKind>,
        image: Option<&str>,
    ) -> Result<(), DriverError> {
        self.check()?;
        self.0.state().image = image.map(str::to_owned);
        self.0.answer().await;
        Ok(())
    }

    async fn watch(&self, _access: &Access, told: &(dyn Fn() + Send + Sync)) -> Result<bool, DriverError> {
        self.0.state().watchers += 1;
        self.0.reports.notified().await;
        told();
        Ok(true)
    }

    async fn forget(&self, access: &Access) {
        self.0.state().forgotten.push(access.to_string());
    }

    async fn close(&self) {}
}

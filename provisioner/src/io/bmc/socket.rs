//! [`BmcSocket`]: what the rest of the provisioner calls.
//!
//! It holds no state but the way to the driver task, so clones are cheap and all speak through the same socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use metrics::counter;
use reveille_config::limit;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::driver::{Driver, Job, Order};
use super::{BmcError, BmcTarget, BootDevice, BootFlags, DeviceId, Firmware, PowerAction, PowerState, Timing};
use crate::proto::ipmi::command::{
    ChassisControl, Command, GetBootFlags, GetChassisStatus, GetDeviceId, SetBootFlagClearing, SetBootFlags,
    SetBootInfoAcknowledge,
};
use crate::proto::ipmi::{Cause, Failure, Route, Step};

/// Octets asked of the system for datagrams that wait: answers of a whole fleet may come at once.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// How many BMCs and commands, and how long to wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BmcLimits {
    /// BMCs talked to at a time; a command for one more is refused.
    pub sessions_max: usize,
    /// Commands that wait for the same BMC; one more is refused.
    pub queue_max: usize,
    /// BMCs that a command is under way to at a time; the next one begins when one ends, or when one is so long silent that it is
    /// asked again: a dead BMC takes no one's place.
    pub busy_max: usize,
    /// Waits and tries.
    pub timing: Timing,
}

impl Default for BmcLimits {
    fn default() -> Self {
        Self {
            sessions_max: limit::BMC_SESSIONS_MAX,
            queue_max: limit::BMC_QUEUE_MAX,
            busy_max: limit::BMC_BUSY_MAX,
            timing: Timing::default(),
        }
    }
}

/// One UDP socket for all BMCs, with its driver task. When the last clone is dropped, open sessions are given back
/// and the task ends.
#[derive(Debug, Clone)]
pub struct BmcSocket {
    orders: mpsc::Sender<Order>,
}

impl BmcSocket {
    /// Opens the socket on a port of the system's choice and starts its task. `local` is the address to speak from;
    /// without one the routing table chooses, and both IPv4 and IPv6 are spoken where the system has them.
    ///
    /// # Errors
    /// What the system says to opening or binding the socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(local: Option<IpAddr>, limits: BmcLimits) -> io::Result<Self> {
        let socket = match local {
            Some(local) => open(local)?,
            None => open(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).or_else(|_| open(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))?,
        };
        let (orders, receiver) = mpsc::channel(limit::BMC_COMMANDS_MAX);
        tokio::spawn(Driver::new(socket, receiver, limits)?.run());
        Ok(Self { orders })
    }

    /// Carries out one command, opening a session first if none is open.
    ///
    /// # Errors
    /// [`BmcError`] says which BMC, which step and how long it was waited for.
    pub async fn execute<C: Command>(&self, target: &BmcTarget, command: C) -> Result<C::Answer, BmcError> {
        self.execute_via(target, command, target.route).await
    }

    /// The same on a controller behind the BMC, or another logical unit of it.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn execute_via<C: Command>(
        &self,
        target: &BmcTarget,
        command: C,
        route: Route,
    ) -> Result<C::Answer, BmcError> {
        let result = self.execute_uncounted(target, command, route).await;
        let outcome = result.as_ref().map_or_else(BmcError::label, |_| "ok");
        counter!("reveille_bmc_commands_total", "command" => C::NAME, "outcome" => outcome).increment(1);
        result
    }

    async fn execute_uncounted<C: Command>(
        &self,
        target: &BmcTarget,
        command: C,
        route: Route,
    ) -> Result<C::Answer, BmcError> {
        let address = target.address;
        let closed = BmcError::Closed { address };
        let (answer, answered) = oneshot::channel();
        let begun = tokio::time::Instant::now();
        let request = command.request().via(route);
        let job = Job { address, credentials: target.credentials.clone(), request, answer };
        self.orders.send(Order::Do(job)).await.map_err(|_| closed.clone())?;
        let data = answered.await.map_err(|_| closed)??;
        C::decode(&data).map_err(|_| {
            let failure = Failure { step: Step::Command(C::NAME), cause: Cause::Nonsense, waited: begun.elapsed() };
            BmcError::Failed { address, failure }
        })
    }

    /// Gives all open sessions back; returns when the BMCs have been told. Commands at hand go on.
    pub async fn close_sessions(&self) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::CloseAll(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Forgets what is known of a BMC beyond its session: another GUID, or other suites, are taken as they come. For when an
    /// operator says that another machine is there now.
    pub async fn forget(&self, address: SocketAddr) {
        let _ = self.orders.send(Order::Forget(address)).await;
    }

    /// Asks whether the machine has power.
    pub async fn power_state(&self, target: &BmcTarget) -> Result<PowerState, BmcError> {
        Ok(self.execute(target, GetChassisStatus).await?.power)
    }

    /// Tells the BMC what to do with the machine's power. `Ok` means that the BMC has begun.
    pub async fn set_power(&self, target: &BmcTarget, action: PowerAction) -> Result<(), BmcError> {
        self.execute(target, ChassisControl(action)).await
    }

    /// Says what to boot from; the flags stay until the machine boots, however long that takes. [`BootDevice::None`]
    /// takes an override back.
    pub async fn set_boot_device(
        &self,
        target: &BmcTarget,
        device: BootDevice,
        persistent: bool,
        firmware: Firmware,
    ) -> Result<(), BmcError> {
        optional(self.execute(target, SetBootFlagClearing).await, "flag_clearing")?;
        optional(self.execute(target, SetBootInfoAcknowledge).await, "info_acknowledge")?;
        let valid = device != BootDevice::None;
        let flags = BootFlags { valid, persistent: persistent && valid, firmware, device };
        self.execute(target, SetBootFlags(flags)).await
    }

    /// Reads back what the machine is to boot from.
    pub async fn boot_device(&self, target: &BmcTarget) -> Result<BootFlags, BmcError> {
        self.execute(target, GetBootFlags).await
    }

    /// Asks which controller it is and which firmware it runs.
    pub async fn device_id(&self, target: &BmcTarget) -> Result<DeviceId, BmcError> {
        self.execute(target, GetDeviceId).await
    }
}

/// Not every BMC knows these parameters, and the boot flags work without them: a refusal is counted, silence is an error.
fn optional(result: Result<(), BmcError>, parameter: &'static str) -> Result<(), BmcError> {
    match result {
        Err(error) if matches!(error.cause(), Some(Cause::Completion { .. })) => {
            counter!("reveille_bmc_boot_option_refused_total", "parameter" => parameter).increment(1);
            tracing::debug!(%error, parameter, "the BMC goes without this boot option");
            Ok(())
        }
        result => result,
    }
}

fn open(local: IpAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(local, 0)), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The system may grant less, and that is good enough: what is lost is sent again.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(local, 0).into())?;
    UdpSocket::from_std(socket.into())
}

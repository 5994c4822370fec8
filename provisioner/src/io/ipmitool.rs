//! [`Ipmitool`]: the program ipmitool, for BMCs that only it gets along with.
//!
//! It is a way for commands and nothing else: each command of [`crate::proto::ipmi::command`] is handed to `ipmitool raw`, and its answer is
//! read as our own client reads it. User, password and K_g: the last two go through the environment, so that no list of processes shows them.
//! The program is bounded in time, output and number, and ended by its own handle.
//!
//! Metrics: `reveille_ipmitool_commands_total{command,outcome}`.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use metrics::counter;
use reveille_config::limit;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command as Program;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::turns::Turns;
use crate::proto::access::{IpmitoolAccess, Protocol};
use crate::proto::ipmi::command::{
    BootDevice, BootFlags, ChassisControl, Command, Firmware, GetBootFlags, GetChassisStatus, PowerAction, PowerState,
    SetBootFlagClearing, SetBootFlags, SetBootInfoAcknowledge,
};
use crate::proto::ipmi::{CompletionCode, Privilege, ipmitool};

/// Octets of what the program says that are read; no answer is longer.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Why the program did not do it.
#[derive(Debug, thiserror::Error)]
#[error("BMC {address}: {step} by ipmitool: {cause}")]
pub struct IpmitoolError {
    /// Which BMC.
    pub address: SocketAddr,
    /// The command.
    pub step: &'static str,
    /// Why.
    #[source]
    pub cause: IpmitoolCause,
}

/// Why the program did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpmitoolCause {
    /// It is not installed.
    #[error(
        "the program is not installed: install ipmitool, or set the node's power_interface and management_interface to ipmi"
    )]
    Missing,
    /// It does not start.
    #[error("the program does not start: {0}")]
    Start(io::Error),
    /// K_g has octets that an environment variable cannot hold.
    #[error("its K_g is no text, which is all that the program takes without showing it to everybody on this host")]
    KeyIsNoText,
    /// No end in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It says more than any answer has.
    #[error("it says more than {OUTPUT_BYTES_MAX} octets")]
    TooMuch,
    /// The BMC refused.
    #[error("refused with completion code {:#04x}, {words}", code.0)]
    Refused {
        /// The code.
        code: CompletionCode,
        /// Its meaning.
        words: &'static str,
    },
    /// The program failed.
    #[error("it ended with {status}: {words}")]
    Failed {
        /// As it ended.
        status: ExitStatus,
        /// The last that it said.
        words: String,
    },
    /// The BMC's answer is none to this command.
    #[error("the answer is none to this command")]
    Nonsense,
}

impl IpmitoolError {
    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self.cause {
            IpmitoolCause::Missing | IpmitoolCause::KeyIsNoText => false,
            IpmitoolCause::Start(_) | IpmitoolCause::Timeout(_) | IpmitoolCause::TooMuch => true,
            IpmitoolCause::Refused { .. } | IpmitoolCause::Failed { .. } | IpmitoolCause::Nonsense => true,
        }
    }

    fn label(&self) -> &'static str {
        match self.cause {
            IpmitoolCause::Missing => "missing",
            IpmitoolCause::Start(_) => "start",
            IpmitoolCause::KeyIsNoText => "key",
            IpmitoolCause::Timeout(_) => "timeout",
            IpmitoolCause::TooMuch => "too_much",
            IpmitoolCause::Refused { .. } => "refused",
            IpmitoolCause::Failed { .. } => "failed",
            IpmitoolCause::Nonsense => "nonsense",
        }
    }
}

/// The program, and whose turn it is.
#[derive(Debug)]
pub struct Ipmitool {
    program: PathBuf,
    command_max: Duration,
    turns: Turns<SocketAddr>,
}

impl Ipmitool {
    /// `ipmitool` of the search path; a command ends after `command_max`, the wait for its turn included.
    pub fn new(command_max: Duration) -> Self {
        Self::of("ipmitool".into(), command_max)
    }

    /// Another program that takes ipmitool's arguments.
    pub fn of(program: PathBuf, command_max: Duration) -> Self {
        Self { program, command_max, turns: Turns::new(limit::IPMITOOL_PROCESSES_MAX) }
    }

    /// Asks whether the machine has power.
    pub async fn power_state(&self, access: &IpmitoolAccess) -> Result<PowerState, IpmitoolError> {
        Ok(self.execute(access, GetChassisStatus).await?.power)
    }

    /// Tells the BMC what to do with the machine's power. `Ok` means that the BMC has begun.
    pub async fn set_power(&self, access: &IpmitoolAccess, action: PowerAction) -> Result<(), IpmitoolError> {
        self.execute(access, ChassisControl(action)).await
    }

    /// Says what to boot from, in the order that [`super::bmc::BmcSocket::set_boot_device`] keeps.
    pub async fn set_boot_device(
        &self,
        access: &IpmitoolAccess,
        device: BootDevice,
        persistent: bool,
        firmware: Firmware,
    ) -> Result<(), IpmitoolError> {
        optional(self.execute(access, SetBootFlagClearing).await)?;
        optional(self.execute(access, SetBootInfoAcknowledge).await)?;
        let valid = device != BootDevice::None;
        let flags = BootFlags { valid, persistent: persistent && valid, firmware, device };
        self.execute(access, SetBootFlags(flags)).await
    }

    /// Reads back what the machine is to boot from.
    pub async fn boot_device(&self, access: &IpmitoolAccess) -> Result<BootFlags, IpmitoolError> {
        self.execute(access, GetBootFlags).await
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// [`IpmitoolError`] says which BMC, which command and why.
    pub async fn execute<C: Command>(&self, access: &IpmitoolAccess, command: C) -> Result<C::Answer, IpmitoolError> {
        let result = self.carry_out(access, command).await;
        let result = result.map_err(|cause| IpmitoolError { address: access.address, step: C::NAME, cause });
        let outcome = result.as_ref().map_or_else(IpmitoolError::label, |_| "ok");
        counter!("reveille_ipmitool_commands_total", "command" => C::NAME, "outcome" => outcome).increment(1);
        result
    }

    async fn carry_out<C: Command>(&self, access: &IpmitoolAccess, command: C) -> Result<C::Answer, IpmitoolCause> {
        let deadline = Instant::now() + self.command_max;
        let late = |_| IpmitoolCause::Timeout(self.command_max);
        let _turn = timeout_at(deadline, self.turns.take(access.address)).await.map_err(late)?;
        let mut program = self.program(access)?;
        // On this host the arguments of a program are everybody's to read; a new password for a BMC does not go this way.
        program
            .arg("raw")
            .args([C::NETFN, C::COMMAND].iter().chain(&command.encode()).map(|octet| format!("{octet:#04x}")));
        let mut child = program.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => IpmitoolCause::Missing,
            _ => IpmitoolCause::Start(error),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = timeout_at(deadline, async {
            let (said, complained) = tokio::try_join!(read(stdout), read(stderr))?;
            Ok((said, complained, child.wait().await.map_err(IpmitoolCause::Start)?))
        });
        // Dropped unfinished, the child is killed by its handle.
        let (said, complained, status) = ended.await.map_err(late)??;
        if let Some(code) = ipmitool::completion_code(&complained) {
            return Err(IpmitoolCause::Refused { code, words: code.describe(C::NETFN, C::COMMAND) });
        }
        if !status.success() {
            let words = ipmitool::complaint(&complained, &access.credentials);
            return Err(IpmitoolCause::Failed { status, words });
        }
        let answer = ipmitool::octets(&said).ok_or(IpmitoolCause::Nonsense)?;
        C::decode(&answer).map_err(|_| IpmitoolCause::Nonsense)
    }

    /// The program with what all its commands share, and nothing of our own environment but where programs are.
    fn program(&self, access: &IpmitoolAccess) -> Result<Program, IpmitoolCause> {
        let mut program = Program::new(&self.program);
        program.env_clear().env("LC_ALL", "C").env("HOME", "/nonexistent");
        program
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin")));
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        program.args(["-I", if access.protocol == Protocol::V2_0 { "lanplus" } else { "lan" }]);
        program.args(["-H", &access.address.ip().to_string(), "-p", &access.address.port().to_string()]);
        program.args(["-L", privilege(access.credentials.privilege), "-N", "3", "-R", "3"]);
        if !access.credentials.user.as_bytes().is_empty() {
            program.args(["-U", &access.credentials.user.to_string()]);
        }
        if let Some(suite) = access.suite {
            program.args(["-C", &suite.to_string()]);
        }
        program.args(ipmitool::route(&access.route));
        let text = |octets: &[u8; 20]| {
            let len = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
            let text = std::str::from_utf8(&octets[..len]).ok().filter(|text| !text.contains('\0'));
            text.map(|text| Zeroizing::new(text.to_owned())).ok_or(IpmitoolCause::KeyIsNoText)
        };
        // Releases before 1.8.19 know the second name only.
        let password = text(access.credentials.password.key())?;
        program.arg("-E").env("IPMITOOL_PASSWORD", &*password).env("IPMI_PASSWORD", &*password);
        if let Some(key) = &access.credentials.kg {
            program.arg("-K").env("IPMI_KGKEY", &*text(key.key())?);
        }
        Ok(program)
    }
}

/// Not every BMC knows these parameters, and the boot flags work without them.
fn optional(result: Result<(), IpmitoolError>) -> Result<(), IpmitoolError> {
    match result {
        Err(IpmitoolError { cause: IpmitoolCause::Refused { .. }, .. }) => Ok(()),
        result => result,
    }
}

const fn privilege(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::User => "USER",
        Privilege::Operator => "OPERATOR",
        Privilege::Administrator => "ADMINISTRATOR",
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<String, IpmitoolCause> {
    let mut octets = Vec::new();
    if let Some(stream) = stream {
        let read = stream.take(OUTPUT_BYTES_MAX as u64 + 1).read_to_end(&mut octets).await;
        read.map_err(IpmitoolCause::Start)?;
    }
    if octets.len() > OUTPUT_BYTES_MAX {
        return Err(IpmitoolCause::TooMuch);
    }
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

//! Who we are to the BMCs: arguments that never hold a secret.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use reveille_provisioner::io::bmc::{
    BmcLimits, BmcTarget, CipherSuite, Credentials, Idle, Kg, Password, Privilege, Route, Suites, Timing, User,
};

/// The variable that ipmitool reads the password from, too.
const PASSWORD_VARIABLE: &str = "IPMI_PASSWORD";
const KG_VARIABLE: &str = "IPMI_KGKEY";

/// `--user` and what goes with it.
#[derive(clap::Args)]
pub struct Access {
    /// The user on the BMCs
    #[arg(long, short, default_value = "admin", global = true)]
    user: String,
    /// A file whose first line is the password (`-`: standard input) [default: the variable IPMI_PASSWORD]
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// A file whose first line is the BMCs' key K_g [default: the variable IPMI_KGKEY, if it is set]
    #[arg(long, value_name = "FILE", global = true)]
    kg_file: Option<PathBuf>,
    /// The privilege to ask for
    #[arg(long, value_enum, default_value_t = Level::Administrator, global = true)]
    privilege: Level,
    /// Speak only this cipher suite: 3 or 17 [default: the best that each BMC offers]
    #[arg(long, value_name = "NUMBER", global = true)]
    cipher_suite: Option<u8>,
    /// Speak cipher suite 0, no authentication at all, where a BMC offers nothing better
    #[arg(long, global = true)]
    allow_cipher_suite_0: bool,
    /// Seconds that one command may take, repetitions included
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600), global = true)]
    timeout: u64,
    /// BMCs that are talked to at a time
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=16_384), global = true)]
    parallel: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Level {
    User,
    Operator,
    Administrator,
}

impl Access {
    /// The BMCs at these addresses, and we to each of them.
    ///
    /// # Errors
    /// A secret is missing, or something has a length that IPMI does not allow.
    pub fn targets(&self, addresses: &[SocketAddr]) -> anyhow::Result<Vec<BmcTarget>> {
        let credentials = self.credentials()?;
        Ok(addresses
            .iter()
            .map(|address| BmcTarget { address: *address, credentials: credentials.clone(), route: Route::BMC })
            .collect())
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let password = secret(self.password_file.as_deref(), PASSWORD_VARIABLE)?
            .with_context(|| format!("no password: say --password-file FILE or set {PASSWORD_VARIABLE}"))?;
        let privilege = match self.privilege {
            Level::User => Privilege::User,
            Level::Operator => Privilege::Operator,
            Level::Administrator => Privilege::Administrator,
        };
        let kg = secret(self.kg_file.as_deref(), KG_VARIABLE)?.map(Kg::new).transpose()?;
        let suites = match (self.cipher_suite, self.allow_cipher_suite_0) {
            (None, false) => Suites::default(),
            (None, true) => Suites::allowing_zero(false),
            (Some(0), true) => Suites::allowing_zero(true),
            (Some(0), false) => bail!("cipher suite 0 is no authentication at all: say --allow-cipher-suite-0 as well"),
            (Some(id), _) => CipherSuite::from_id(id)
                .and_then(Suites::only)
                .with_context(|| format!("cipher suite {id} is not spoken here: 3 and 17 are"))?,
        };
        let user = User::new(self.user.as_str())?;
        Ok(Credentials { kg, suites, ..Credentials::new(user, Password::new(password.as_bytes())?, privilege) })
    }

    /// Limits of the socket for one command over `hosts` BMCs: sessions are given back at the end.
    pub fn limits(&self, hosts: usize) -> BmcLimits {
        let command_max = Duration::from_secs(self.timeout);
        let timing = Timing { command_max, idle: Idle::CloseAfter(Duration::from_secs(30)), ..Timing::default() };
        BmcLimits { sessions_max: hosts.max(1), busy_max: self.parallel as usize, timing, ..BmcLimits::default() }
    }
}

/// The first line of the file, or what the variable holds.
fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<zeroize::Zeroizing<String>>> {
    let Some(file) = file else { return Ok(std::env::var(variable).ok().map(Into::into)) };
    let mut text = zeroize::Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        *text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(Some(text.lines().next().unwrap_or_default().to_owned().into()))
}

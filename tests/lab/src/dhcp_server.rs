//! [`DhcpServer`]: a DHCP server alone in the host's namespace, ours or a peer, from the same description of what it serves.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use reveille_client::{ClientError, Dhcpd};
use reveille_config::Endpoint;

use crate::ask::Ask;
use crate::error::LabError;
use crate::net::Namespace;
use crate::process::{Process, find};
use crate::run::Run;
use crate::served::Served;
use crate::wait::Deadline;

/// Whose server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Product {
    /// Ours, from this binary.
    Reveille(PathBuf),
    /// ISC's Kea (package kea-dhcp4-server).
    Kea,
}

/// A server that may be killed and started again; its state stays.
#[derive(Debug)]
pub struct DhcpServer {
    process: Option<Process>,
    ask: Ask,
    run: Run,
    host: Namespace,
    product: Product,
    config: PathBuf,
}

impl DhcpServer {
    /// Writes its configuration, starts it and waits until it serves.
    ///
    /// # Errors
    /// When it does not start; its own words are quoted.
    pub fn start(run: &Run, host: &Namespace, product: Product, served: &Served) -> Result<Self, LabError> {
        let config = match &product {
            Product::Reveille(_) => run.write("dhcpd.toml", served.toml(run.dir()))?,
            Product::Kea => run.write("kea.json", served.kea(run.dir()).to_string())?,
        };
        let (run, host, ask) = (run.clone(), host.clone(), Ask::start()?);
        let mut server = Self { process: None, ask, run, host, product, config };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it after [`Self::kill`].
    ///
    /// # Errors
    /// When it does not start; its own words are quoted.
    pub fn start_again(&mut self) -> Result<(), LabError> {
        let (program, ready) = match &self.product {
            Product::Reveille(binary) => {
                let program = self.host.program(binary.display().to_string()).args(["dhcpd", "--config"]);
                (program.arg(&self.config).args(["--log", "info"]), "ready")
            }
            Product::Kea => {
                let program = self.host.program(find("kea-dhcp4")?.display().to_string()).arg("-c").arg(&self.config);
                let dir = self.run.dir();
                (program.env("KEA_PIDFILE_DIR", dir).env("KEA_LOCKFILE_DIR", "none"), "DHCP4_STARTED")
            }
        };
        let log = crate::log::Log::at(self.run.path("log/dhcp-server.log")).from_here();
        let mut process = program.start("dhcp-server")?;
        let awaited = "the DHCP server to serve";
        Deadline::secs(60).until(awaited, || {
            process.still_runs(awaited)?;
            log.find(ready)
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Whose it is.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// Ends it with SIGKILL: nothing is written on the way out.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.process.take().map_or(Ok(()), |mut process| process.kill().map(drop))
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self) -> Result<(), LabError> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(Duration::from_secs(20)).map(drop))
    }

    /// The end of what it has logged, for messages.
    pub fn log_tail(&self) -> String {
        self.process.as_ref().map(|process| process.log().tail()).unwrap_or_default()
    }

    /// A client of Reveille's API.
    pub fn api(&self) -> Dhcpd {
        Dhcpd::new(Endpoint::Unix(self.run.dir().join("dhcpd.sock")))
    }

    /// Waits for the API's answer: `server.ask(server.api().sightings())`.
    pub fn ask<T>(&self, future: impl Future<Output = T>) -> T {
        self.ask.ask(future)
    }

    /// Asks until the API's answer gives a value.
    ///
    /// # Errors
    /// Like [`Ask::ask_until`].
    pub fn ask_until<T, A>(
        &self,
        awaited: &str,
        deadline: Deadline,
        ask: impl AsyncFn() -> Result<A, ClientError>,
        judge: impl Fn(A) -> Option<T>,
    ) -> Result<T, LabError> {
        self.ask.ask_until(awaited, deadline, ask, judge)
    }
}

//! Programs of a run: started with their output in files, waited for with a deadline, ended by pid.
//!
//! A [`Process`] is killed and reaped when dropped. Every process bears the run's mark in its environment, so that the
//! clean-up finds it and whatever it starts.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::error::LabError;
use crate::log::Log;
use crate::run::{MARK, Run};
use crate::wait::Deadline;

/// The PATH of every program of a run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where `program` is: in PATH or in one of the directories of root's programs.
///
/// # Errors
/// [`LabError::Missing`] when it is in none of them.
pub fn find(program: &str) -> Result<PathBuf, LabError> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| LabError::Missing { program: program.to_owned() })
}

/// A program about to be started in a run.
#[derive(Debug, Clone)]
pub struct Program {
    run: Run,
    namespace: Option<String>,
    program: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<PathBuf>,
}

impl Program {
    /// `program` of `run`, in the namespace of that name or else in none of the run's.
    pub(crate) fn new(run: &Run, namespace: Option<&str>, program: impl Into<String>) -> Self {
        Self {
            run: run.clone(),
            namespace: namespace.map(str::to_owned),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an environment variable: the way for secrets, which arguments would show to everybody.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Reads standard input from a file; without this it is empty.
    #[must_use]
    pub fn stdin(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Some(path.into());
        self
    }

    /// Starts it. Its output and errors go to `log/<name>.log` of the run, appended.
    ///
    /// # Errors
    /// When the program is not installed or cannot be started.
    pub fn start(self, name: &str) -> Result<Process, LabError> {
        let path = self.run.path(format!("log/{name}.log"));
        let log = append(&path)?;
        let errors = log.try_clone().map_err(LabError::io("share the log"))?;
        let child = self.spawn(log, errors)?;
        Ok(Process { name: name.to_owned(), child, log: Log::at(path) })
    }

    /// Runs it to its end and gives what it wrote to standard output, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started or has not ended by the deadline (it is killed then).
    pub fn output(self, deadline: Deadline) -> Result<Output, LabError> {
        let tried = self.to_string();
        let (out, err) = (capture()?, capture()?);
        let clone = |file: &File| file.try_clone().map_err(LabError::io("share a file for output"));
        let child = self.spawn(clone(&out)?, clone(&err)?)?;
        let mut process = Process { name: tried.clone(), child, log: Log::at("") };
        let status = process.wait(deadline)?;
        Ok(Output { tried, status, stdout: text(&out)?, stderr: text(&err)? })
    }

    /// Runs it to its end, which must be a success, and gives what it wrote to standard output.
    ///
    /// # Errors
    /// Like [`Self::output`], and when its exit status is not 0.
    pub fn succeed(self, deadline: Deadline) -> Result<String, LabError> {
        self.output(deadline)?.success()
    }

    fn spawn(self, out: File, err: File) -> Result<Child, LabError> {
        let program = find(&self.program)?;
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new(find("ip")?);
                // `ip netns exec` becomes the program: the child's pid is the program's.
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let stdin = match &self.stdin {
            Some(path) => File::open(path).map_err(LabError::io(format!("open {}", path.display())))?.into(),
            None => Stdio::null(),
        };
        // The caller's environment stays outside: a proxy, a locale or a library path would change what a test sees.
        command.args(&self.args).env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", self.run.dir());
        command.env(MARK, self.run.prefix()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(out).stderr(err).current_dir(self.run.dir());
        command.spawn().map_err(LabError::io(format!("start {self}")))
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Output {
    tried: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the exit status is 0.
    ///
    /// # Errors
    /// [`LabError::Failed`] otherwise.
    pub fn success(self) -> Result<String, LabError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let output = format!("{}{}", self.stdout, self.stderr).trim().to_owned();
        Err(LabError::Failed { tried: self.tried, status: self.status.to_string(), output })
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Log,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its output.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child.try_wait().map_err(LabError::io(format!("ask after {}", self.name)))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`LabError::Late`] when it still runs at the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let tried = || format!("wait for {}", self.name);
        let handle = pidfd_open(self.rustix_pid(), PidfdFlags::empty()).map_err(|e| LabError::io(tried())(e.into()))?;
        loop {
            let left =
                Timespec { tv_sec: deadline.left().as_secs() as i64, tv_nsec: deadline.left().subsec_nanos().into() };
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(deadline.late(format!("the end of {}", self.name))),
                Ok(_) => return self.child.wait().map_err(LabError::io(tried())),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LabError::io(tried())(error.into())),
            }
        }
    }

    /// Waits until its log holds a line with `text`; fails at once when the program ends before.
    ///
    /// # Errors
    /// [`LabError::Ended`] or [`LabError::Late`].
    pub fn wait_for_line(&mut self, text: &str, deadline: Deadline) -> Result<String, LabError> {
        let log = self.log.clone();
        let found = deadline.until(text, || {
            if let Some(line) = log.find(text)? {
                return Ok(Some(line));
            }
            self.still_runs(&format!("{text:?}"))?;
            Ok(None)
        });
        found.map_err(|error| match error {
            LabError::Late { .. } => {
                deadline.late_seeing(format!("{text:?} in the log of {}", self.name), self.log.tail())
            }
            other => other,
        })
    }

    /// Fails when the program has ended, quoting its log.
    ///
    /// # Errors
    /// [`LabError::Ended`].
    pub fn still_runs(&mut self, awaited: &str) -> Result<(), LabError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(LabError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                awaited: awaited.to_owned(),
                log: self.log.path().to_owned(),
                tail: self.log.tail(),
            }),
        }
    }

    /// Sends a signal, if it still runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), LabError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // The child is not reaped yet, so its pid is nobody else's.
        kill_process(self.rustix_pid(), signal).map_err(|e| LabError::io(format!("signal {}", self.name))(e.into()))
    }

    /// Asks it to end (SIGTERM) and waits up to `grace`; then kills it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus, LabError> {
        self.signal(Signal::TERM)?;
        match self.wait(Deadline::after(grace)) {
            Err(LabError::Late { .. }) => self.kill(),
            ended => ended,
        }
    }

    /// Kills it (SIGKILL) and waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus, LabError> {
        self.signal(Signal::KILL)?;
        self.child.wait().map_err(LabError::io(format!("wait for {}", self.name)))
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn append(path: &Path) -> Result<File, LabError> {
    let tried = format!("open the log {}", path.display());
    File::options().create(true).append(true).open(path).map_err(LabError::io(tried))
}

fn capture() -> Result<File, LabError> {
    tempfile::tempfile().map_err(LabError::io("make a file for output"))
}

fn text(file: &File) -> Result<String, LabError> {
    let len = file.metadata().map_err(LabError::io("read output"))?.len();
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).map_err(LabError::io("read output"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_installs_it() {
        let error = find("no-such-program-anywhere").unwrap_err().to_string();
        assert!(error.contains("no-such-program-anywhere") && error.contains("install-packages.sh"), "{error}");
    }
}

//! [`Run`]: one run of the lab, and its clean-up on every way to end.
//!
//! The clean-up is done by another process, `reaper.sh`, which holds a pipe from this one. Dropping the run closes the
//! pipe and waits; a panic drops it; Ctrl-C, SIGTERM and even SIGKILL close it too, because the kernel does. There is
//! no list to keep up to date: what belongs to a run is recognised by its prefix, its directory or its mark.
//!
//! It does not stop daemons gently: whoever wants a drained shutdown stops its [`Process`](crate::Process) first.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::LabError;

/// The environment variable that marks every process of a run; its value is the run's prefix.
pub const MARK: &str = "REVEILLE_LAB_RUN";

/// The script that takes a run down.
const REAPER: &str = include_str!("reaper.sh");

/// Runs of this process so far, so that each has a prefix of its own.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// One run of the lab. Clones share it; the last one dropped takes it down.
#[derive(Clone)]
pub struct Run {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    dir: PathBuf,
    reaper: Mutex<Option<Reaper>>,
}

struct Reaper {
    child: Child,
    pipe: ChildStdin,
}

impl Run {
    /// Starts a run: a directory of its own and the process that will clean up.
    ///
    /// # Errors
    /// When this is not root, `ip` is missing, or the directory cannot be made.
    pub fn start() -> Result<Self, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        crate::process::find("ip")?;
        let prefix = loop {
            let prefix = format!("rv{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
            if namespaces(&prefix).is_empty() {
                break prefix;
            }
        };
        let dir = tempfile::Builder::new()
            .prefix(&format!("{prefix}-"))
            .tempdir()
            .map_err(LabError::io("make the run's directory"))?
            .keep();
        let reaper = Reaper::start(&prefix, &dir).inspect_err(|_| {
            let _ = fs::remove_dir_all(&dir);
        })?;
        fs::create_dir(dir.join("log")).map_err(LabError::io("make the directory of the logs"))?;
        Ok(Self { inner: Arc::new(Inner { prefix, dir, reaper: Mutex::new(Some(reaper)) }) })
    }

    /// What the names of this run's namespaces start with: `rv<pid>-<number>`.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// The run's directory, removed with it.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// A file below the run's directory; its parent directories are made.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.inner.dir.join(relative);
        if let Some(parent) = path.parent() {
            let _ = fs::create_dir_all(parent);
        }
        path
    }

    /// Writes a file below the run's directory, readable by root alone, and gives its path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<PathBuf, LabError> {
        let path = self.path(relative);
        fs::write(&path, content).map_err(LabError::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Like [`Self::write`], for a program: the file can be executed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_program(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<PathBuf, LabError> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(relative, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(LabError::io(format!("make {} a program", path.display())))?;
        Ok(path)
    }

    /// A program to be started outside the run's namespaces: for what needs no network.
    pub fn program(&self, program: impl Into<String>) -> crate::process::Program {
        crate::process::Program::new(self, None, program)
    }

    /// Takes the run down now, waiting until that is done.
    ///
    /// # Errors
    /// [`LabError::LeftBehind`] with what could not be removed.
    pub fn end(&self) -> Result<(), LabError> {
        self.inner.end()
    }

    /// Ends the process in good order on Ctrl-C, SIGTERM and SIGHUP: takes the run down, then exits with 128 + the
    /// signal's number, or with what was settled meanwhile. Without this the clean-up happens as well, but the prompt
    /// comes back before it is done.
    pub fn end_on_signals(&self) -> ExitStatus {
        let status = ExitStatus::default();
        let settled = status.clone();
        let inner = Arc::downgrade(&self.inner);
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            let signal = runtime.block_on(first_signal());
            if let (Some(signal), Some(inner)) = (signal, inner.upgrade()) {
                eprintln!("\nsignal {signal}: taking the lab down");
                if let Err(error) = inner.end() {
                    eprintln!("{error}");
                }
                std::process::exit(settled.0.get().copied().unwrap_or(128 + signal));
            }
        });
        status
    }
}

/// With what a process exits that [`Run::end_on_signals`].
#[derive(Debug, Clone, Default)]
pub struct ExitStatus(Arc<OnceLock<i32>>);

impl ExitStatus {
    /// From now on a signal ends the process with this status; the first settled stays.
    pub fn settle(&self, status: i32) {
        let _ = self.0.set(status);
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({} in {})", self.inner.prefix, self.inner.dir.display())
    }
}

impl Inner {
    fn end(&self) -> Result<(), LabError> {
        // Held until the clean-up is done: a second caller waits for the first.
        let mut held = self.reaper.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reaper) = held.take() else { return Ok(()) };
        let what = reaper.finish()?;
        if what.is_empty() { Ok(()) } else { Err(LabError::LeftBehind { prefix: self.prefix.clone(), what }) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("lab: {error}");
        }
    }
}

impl Reaper {
    fn start(prefix: &str, dir: &Path) -> Result<Self, LabError> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", REAPER, "reaper.sh", prefix])
            .arg(dir)
            .arg(format!("{MARK}={prefix}"))
            .env_remove(MARK)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(LabError::io("start /bin/sh for the clean-up"))?;
        let pipe = child.stdin.take().expect("stdin was piped");
        Ok(Self { child, pipe })
    }

    /// Closes the pipe, waits for the clean-up and returns what it could not remove.
    fn finish(mut self) -> Result<Vec<String>, LabError> {
        let _ = self.pipe.flush();
        drop(self.pipe);
        let mut report = String::new();
        let mut output = self.child.stdout.take().expect("stdout was piped");
        output.read_to_string(&mut report).map_err(LabError::io("read the clean-up's report"))?;
        self.child.wait().map_err(LabError::io("wait for the clean-up"))?;
        Ok(report.lines().map(str::to_owned).collect())
    }
}

/// The number of the first of SIGINT, SIGTERM and SIGHUP to come.
async fn first_signal() -> Option<i32> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut int = signal(SignalKind::interrupt()).ok()?;
    let mut term = signal(SignalKind::terminate()).ok()?;
    let mut hup = signal(SignalKind::hangup()).ok()?;
    Some(tokio::select! {
        _ = int.recv() => SignalKind::interrupt().as_raw_value(),
        _ = term.recv() => SignalKind::terminate().as_raw_value(),
        _ = hup.recv() => SignalKind::hangup().as_raw_value(),
    })
}

/// The namespaces of the run `prefix`.
fn namespaces(prefix: &str) -> Vec<String> {
    let start = format!("{prefix}-");
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(&start)).collect()
}

/// What is left of the run `prefix` with the directory `dir`: processes, namespaces, mounts, loop devices, interfaces
/// outside namespaces, the directory. Empty when the clean-up has done its work.
///
/// It looks by itself and shares nothing with the clean-up, so that a test may believe it.
pub fn leftovers(prefix: &str, dir: &Path) -> Vec<String> {
    let mut left: Vec<String> = namespaces(prefix).into_iter().map(|name| format!("namespace {name}")).collect();
    let mark = format!("{MARK}={prefix}");
    let dir_text = dir.display().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.parse::<u32>().is_err() {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let marked = read("environ").split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let own = name == std::process::id().to_string();
        if !own && (marked || command.contains(&format!("{dir_text}/"))) {
            left.push(format!("process {name} ({})", command.trim()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(mounts.lines().filter(|line| line.contains(&dir_text)).map(|line| format!("mount {line}")));
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if backing.starts_with(&dir_text) {
            left.push(format!("loop device {}", entry.file_name().to_string_lossy()));
        }
    }
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!("{prefix}-")) {
            left.push(format!("interface {name}"));
        }
    }
    if dir.exists() {
        left.push(format!("directory {dir_text}"));
    }
    left
}

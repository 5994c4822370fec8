//! The cache of images: made once under a lock, moved into place whole, found again by key.
//!
//! Layout below the cache's `images` directory: `NAME-KEY/` is a finished image, `NAME.lock` the lock of its builds,
//! `.building-NAME-…/` a build under way. Invariant: a directory without the leading dot is complete, for it got its name
//! by one rename after the script had succeeded and all its products were there.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::Progress;
use super::recipe::Recipe;
use crate::packages::cache_dir;

/// How long a build may take: many times what it takes on a slow machine with a slow line.
const BUILD_MAX: Duration = Duration::from_secs(45 * 60);

/// How many images of one name are kept, the newest ones: another checkout may be using another key.
const KEPT_MAX: usize = 2;

/// How often progress is told while nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// How much of a failed build's log an error quotes, lines.
const TAIL_LINES: usize = 25;

/// An image that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The build sets up a Debian below a directory.
    #[error("building the {image} image installs Debian packages below a directory, which only root may do")]
    NotRoot {
        /// The image.
        image: &'static str,
    },
    /// The script failed.
    #[error("the build of the {image} image failed ({status}); the end of its log:\n{tail}")]
    Build {
        /// The image.
        image: &'static str,
        /// How the script ended.
        status: String,
        /// The last lines of what it wrote.
        tail: String,
    },
    /// The script was killed at its deadline.
    #[error("the build of the {image} image was ended after {} minutes; the end of its log:\n{tail}", waited.as_secs() / 60)]
    Late {
        /// The image.
        image: &'static str,
        /// How long it had run.
        waited: Duration,
        /// The last lines of what it wrote.
        tail: String,
    },
    /// A system call failed.
    #[error("cannot {tried}")]
    Io {
        /// What was tried, with the path.
        tried: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// Says of an I/O error what was tried.
    pub(super) fn io(tried: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let tried = tried.into();
        move |source| Self::Io { tried, source }
    }
}

/// The directory of the recipe's image, made if the cache has none.
pub(super) fn ensure(recipe: &Recipe, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, ImageError> {
    ensure_in(&cache_dir().join("images"), recipe, progress)
}

fn ensure_in(cache: &Path, recipe: &Recipe, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, ImageError> {
    let image = recipe.name;
    let finished = cache.join(format!("{image}-{}", recipe.key()));
    let mut tell = |phase: &str, fraction| progress(Progress { image, phase: phase.to_owned(), fraction });
    if !finished.is_dir() {
        fs::create_dir_all(cache).map_err(ImageError::io(format!("make the cache directory {}", cache.display())))?;
        // The lock goes with the file handle, so that no dead process holds it.
        let _lock = lock(&cache.join(format!("{image}.lock")), &mut tell)?;
        if !finished.is_dir() {
            remove_all(cache, |name| name.starts_with(&format!(".building-{image}-")))?;
            build(cache, recipe, &finished, &mut tell)?;
            prune(cache, image, &finished)?;
        }
    }
    tell("ready", 1.0);
    Ok(finished)
}

fn lock(path: &Path, tell: &mut dyn FnMut(&str, f64)) -> Result<File, ImageError> {
    let tried = || format!("lock {}", path.display());
    let file = File::create(path).map_err(ImageError::io(tried()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => tell("waiting for another build of the same image", 0.0),
        Err(TryLockError::Error(error)) => return Err(ImageError::io(tried())(error)),
    }
    file.lock().map_err(ImageError::io(tried()))?;
    Ok(file)
}

fn build(cache: &Path, recipe: &Recipe, finished: &Path, tell: &mut dyn FnMut(&str, f64)) -> Result<(), ImageError> {
    let image = recipe.name;
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NotRoot { image });
    }
    let scratch = tempfile::Builder::new().prefix(&format!(".building-{image}-")).tempdir_in(cache);
    let scratch = scratch.map_err(ImageError::io(format!("make a directory in {}", cache.display())))?;
    let io = |tried: &str| ImageError::io(format!("{tried} in {}", scratch.path().display()));
    let (files, work, out) = (scratch.path().join("files"), scratch.path().join("work"), scratch.path().join("out"));
    recipe.unpack(&files).map_err(io("write the recipe"))?;
    fs::create_dir(&work).and_then(|()| fs::create_dir(&out)).map_err(io("make directories"))?;
    let log = scratch.path().join("build.log");

    // Mounts and processes of the build die with it: its mounts are its own namespace's, its first process is killed
    // when this one goes, and takes all others with it as the first process of their namespace.
    let mut script = Command::new("setpriv");
    script.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
    ]);
    script.arg(files.join(recipe.script)).arg(&out).current_dir(&work).stdin(Stdio::null()).stdout(Stdio::piped());
    script.stderr(File::create(&log).map_err(io("make the log"))?);
    let started = Instant::now();
    let mut child = script.spawn().map_err(io("start the build"))?;
    let lines = lines_of(&mut child);
    let on_time = follow(&lines, started, tell);
    if !on_time {
        child.kill().map_err(io("end the build"))?;
    }
    let status = child.wait().map_err(io("wait for the build"))?;
    if !on_time {
        return Err(ImageError::Late { image, waited: started.elapsed(), tail: tail(&log) });
    }
    if !status.success() {
        return Err(ImageError::Build { image, status: status.to_string(), tail: tail(&log) });
    }
    if let Some(missing) = recipe.products.iter().find(|name| !out.join(name).is_file()) {
        let status = format!("it has made no {missing}");
        return Err(ImageError::Build { image, status, tail: tail(&log) });
    }
    fs::rename(&log, out.join("build.log")).map_err(io("keep the log"))?;
    rustix::fs::syncfs(File::open(&out).map_err(io("open the image"))?)
        .map_err(|error| io("write back")(error.into()))?;
    fs::rename(&out, finished).map_err(io("move the image into place, from"))
}

/// The lines of the child's standard output, as they come; the channel closes with it.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(16);
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).count()
        });
    }
    receiver
}

/// Tells the progress until the script ends; false when its time is over first.
fn follow(lines: &Receiver<String>, started: Instant, tell: &mut dyn FnMut(&str, f64)) -> bool {
    let mut phase = Phase::parse("0 0.01 1 starting").unwrap_or_default();
    let mut since = Instant::now();
    loop {
        tell(&phase.text, phase.fraction(since.elapsed()));
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                if let Some(next) = Phase::parse(&line) {
                    (phase, since) = (next, Instant::now());
                }
            }
            Err(RecvTimeoutError::Timeout) if started.elapsed() > BUILD_MAX => return false,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

/// A line that a script writes at the start of a phase: `FROM TO SECONDS TEXT`.
#[derive(Debug, Default, PartialEq)]
struct Phase {
    from: f64,
    to: f64,
    usual_secs: f64,
    text: String,
}

impl Phase {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let mut number = || words.next()?.parse::<f64>().ok();
        let (from, to, usual_secs) = (number()?, number()?, number()?);
        let sane = (0.0..=1.0).contains(&from) && (from..=1.0).contains(&to) && usual_secs > 0.0;
        sane.then_some(Self { from, to, usual_secs, text: words.next()?.to_owned() })
    }

    /// How much of the whole is done after that time in this phase: near `to` when it has lasted as long as usual, but
    /// never there before the script says so.
    fn fraction(&self, elapsed: Duration) -> f64 {
        let share = 1.0 - (-2.0 * elapsed.as_secs_f64() / self.usual_secs).exp();
        self.from + (self.to - self.from) * share
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Progress of dpkg and pip rewrites its line; only the last state of it matters.
    let lines: Vec<&str> = text.lines().map(|line| line.rsplit('\r').next().unwrap_or_default()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Removes the oldest images of that name beyond [`KEPT_MAX`].
fn prune(cache: &Path, image: &str, newest: &Path) -> Result<(), ImageError> {
    let of_name = |name: &str| name.strip_prefix(image).is_some_and(|rest| rest.starts_with('-'));
    let mut others: Vec<(SystemTime, String)> = names(cache)?
        .filter(|name| of_name(name) && cache.join(name) != newest)
        .map(|name| (fs::metadata(cache.join(&name)).and_then(|meta| meta.modified()), name))
        .map(|(modified, name)| (modified.unwrap_or(SystemTime::UNIX_EPOCH), name))
        .collect();
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(KEPT_MAX);
    let surplus: Vec<String> = others.into_iter().take(surplus).map(|(_, name)| name).collect();
    remove_all(cache, |name| surplus.iter().any(|old| old == name))
}

/// Removes every directory of the cache whose name is chosen.
fn remove_all(cache: &Path, chosen: impl Fn(&str) -> bool) -> Result<(), ImageError> {
    for name in names(cache)?.filter(|name| chosen(name)) {
        let path = cache.join(name);
        fs::remove_dir_all(&path).map_err(ImageError::io(format!("remove {}", path.display())))?;
    }
    Ok(())
}

fn names(cache: &Path) -> Result<impl Iterator<Item = String>, ImageError> {
    let entries = fs::read_dir(cache).map_err(ImageError::io(format!("list {}", cache.display())))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Recipe = Recipe {
        name: "toy",
        script: "build.sh",
        files: &[("build.sh", "echo '0.5 1 1 making a toy'\necho wood >&2\nsleep 0.3\necho toy > \"$1/toy\"\n")],
        products: &["toy"],
    };

    fn ensure(cache: &Path, recipe: &Recipe) -> (Result<PathBuf, ImageError>, Vec<Progress>) {
        assert!(rustix::process::geteuid().is_root(), "this test builds toy images in namespaces: it needs root");
        let mut told = Vec::new();
        let result = ensure_in(cache, recipe, &mut |progress| told.push(progress));
        (result, told)
    }

    fn listing(cache: &Path) -> Vec<String> {
        let mut all: Vec<String> = names(cache).expect("a cache").collect();
        all.sort();
        all
    }

    #[test]
    fn an_image_is_built_once_with_rising_progress() {
        let cache = tempfile::tempdir().expect("a directory");
        let (first, told) = ensure(cache.path(), &GOOD);
        let first = first.expect("a toy");
        assert_eq!(fs::read_to_string(first.join("toy")).expect("the product"), "toy\n");
        assert_eq!(fs::read_to_string(first.join("build.log")).expect("the log"), "wood\n");
        assert!(told.is_sorted_by(|a, b| a.fraction <= b.fraction), "{told:?}");
        assert!(told.iter().any(|progress| progress.phase == "making a toy" && progress.fraction >= 0.5), "{told:?}");
        let (second, told) = ensure(cache.path(), &GOOD);
        assert_eq!(second.expect("the same toy"), first);
        assert_eq!(told, [Progress { image: "toy", phase: "ready".into(), fraction: 1.0 }]);
        let name = format!("toy-{}", GOOD.key());
        assert_eq!(listing(cache.path()), [name.as_str(), "toy.lock"]);
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_says_why() {
        let table = [
            ("echo no more wood >&2; exit 3", "exit status: 3", "no more wood"),
            ("echo all is well >&2", "it has made no toy", "all is well"),
            ("mount -t tmpfs tmpfs \"$1\"; echo toy > \"$1/toy\"; echo lost >&2", "it has made no toy", "lost"),
        ];
        for (script, status, tail) in table {
            let cache = tempfile::tempdir().expect("a directory");
            let files: &'static [(&str, &str)] = Box::leak(Box::new([("build.sh", script)]));
            let (result, _) = ensure(cache.path(), &Recipe { files, ..GOOD });
            let said = result.expect_err(script).to_string();
            assert!(said.contains(status) && said.contains(tail), "{script}: {said}");
            assert_eq!(listing(cache.path()), ["toy.lock"], "{script}");
        }
    }

    #[test]
    fn a_build_that_was_killed_is_cleared_away_and_old_images_are_pruned() {
        let cache = tempfile::tempdir().expect("a directory");
        let others = [".building-toy-dead", "toy-1", "toy-2", "toys-1"];
        for (age, name) in others.iter().enumerate() {
            fs::create_dir(cache.path().join(name)).expect("a directory");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age as u64);
            File::open(cache.path().join(name)).and_then(|dir| dir.set_modified(time)).expect("a time");
        }
        ensure(cache.path(), &GOOD).0.expect("a toy");
        let mut left = [format!("toy-{}", GOOD.key()), "toy-2".into(), "toys-1".into(), "toy.lock".into()];
        left.sort();
        assert_eq!(listing(cache.path()), left);
    }

    #[test]
    fn two_who_want_the_same_image_build_it_once() {
        let cache = tempfile::tempdir().expect("a directory");
        let marks = cache.path().join("marks");
        let script = format!("echo built >> {}; sleep 0.5; echo toy > \"$1/toy\"", marks.display());
        let files: &'static [(&str, &str)] = Box::leak(Box::new([("build.sh", &*script.leak())]));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| ensure(cache.path(), &Recipe { files, ..GOOD }).0.expect("a toy"));
            }
        });
        assert_eq!(fs::read_to_string(marks).expect("marks"), "built\n");
    }

    #[test]
    fn progress_lines_are_read_or_ignored() {
        let phase = Phase::parse("0.25 0.75 10 fetching the kernel").expect("a phase");
        assert_eq!(phase.text, "fetching the kernel");
        assert_eq!(phase.fraction(Duration::ZERO), 0.25);
        assert!((0.65..0.75).contains(&phase.fraction(Duration::from_secs(10))));
        assert!(phase.fraction(Duration::from_secs(10_000)) <= 0.75);
        for line in ["", "hello", "0.5", "0.5 0.4 1 back", "0 2 1 beyond", "0 1 0 timeless", "NaN 1 1 x", "0 1 1"] {
            assert_eq!(Phase::parse(line), None, "{line}");
        }
    }
}

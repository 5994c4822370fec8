//! Nothing of a run is left behind, whichever way it ends.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use reveille_lab::{Deadline, Run, TwoNetworks, leftovers};
use rustix::process::{Pid, Signal, kill_process};

/// A process that holds a lab with networks, a BMC, a machine that is on, and a mount.
struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
    prefix: String,
    dir: PathBuf,
}

impl Holder {
    fn start(how: &str) -> Self {
        // Whoever runs the tests may ignore signals (a shell's background job does), which a child would inherit.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_lab-hold")]);
        let mut child =
            command.arg(how).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["ready", prefix, dir] = words[..] else {
            let output = child.wait_with_output().unwrap();
            panic!("the lab did not start: {line:?} {}", String::from_utf8_lossy(&output.stderr));
        };
        Self { prefix: prefix.to_owned(), dir: PathBuf::from(dir), child, stdin }
    }

    fn left(&self) -> Vec<String> {
        leftovers(&self.prefix, &self.dir)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn assert_gone(&self, deadline: Deadline) {
        let gone = deadline.until("the clean-up", || Ok(self.left().is_empty().then_some(())));
        assert!(gone.is_ok(), "{}: left behind: {:#?}", self.prefix, self.left());
    }
}

#[test]
fn a_held_lab_has_something_to_clean_up_and_the_check_sees_it() {
    let mut holder = Holder::start("");
    let left = holder.left().join("\n");
    for kind in ["namespace rv", "-host", "-bmc1", "qemu-system", "udhcpc", "mount ", "directory "] {
        assert!(left.contains(kind), "no {kind:?} in:\n{left}");
    }
    drop(holder.stdin.take());
    assert!(holder.end().success());
    assert_eq!(holder.left(), [""; 0], "the end of main drops the run, which waits for its clean-up");
}

#[test]
fn after_a_panic() {
    let mut holder = Holder::start("panic");
    assert_eq!(holder.end().code(), Some(101));
    assert_eq!(holder.left(), [""; 0], "unwinding drops the run, which waits for its clean-up");
}

#[test]
fn after_signals_that_are_handled() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut holder = Holder::start("signals");
        holder.signal(signal);
        assert_eq!(holder.end().code(), Some(status), "{signal:?}");
        assert_eq!(holder.left(), [""; 0], "{signal:?}: the handler waits for the clean-up");
    }
}

#[test]
fn after_signals_that_nobody_handles() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut holder = Holder::start("");
        holder.signal(signal);
        assert_eq!(holder.end().code(), None, "{signal:?}");
        holder.assert_gone(Deadline::secs(60));
    }
}

#[test]
fn after_a_drop_and_only_of_its_own_run() {
    let other = Run::start().expect("a lab");
    TwoNetworks::create(&other).expect("two networks");
    let (prefix, dir) = {
        let run = Run::start().expect("a lab");
        TwoNetworks::create(&run).expect("two networks");
        // One more that no handle knows of any more.
        std::mem::forget(run.program("sleep").arg("300").start("forgotten").unwrap());
        // The kernel shows a new process before it shows what the process runs.
        let runs = || leftovers(run.prefix(), run.dir()).join("\n").contains("sleep 300");
        Deadline::secs(60).until("the forgotten program", || Ok(runs().then_some(()))).expect("it runs");
        (run.prefix().to_owned(), run.dir().to_owned())
    };
    assert_eq!(leftovers(&prefix, &dir), [""; 0]);
    let others = leftovers(other.prefix(), other.dir()).join("\n");
    assert!(others.contains("-host"), "the other run must still be there: {others}");
    other.end().expect("a clean end");
    assert_eq!(leftovers(other.prefix(), other.dir()), [""; 0]);
}

//! [`LabError`]: what the lab tried, what came of it, and what would help.
//!
//! One enum for the whole library: nobody handles these errors one by one, a person reads them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Something the lab could not do.
#[derive(thiserror::Error)]
pub enum LabError {
    /// Namespaces and taps need root.
    #[error("the lab makes network namespaces and taps, which only root may do: run it as root (sudo -E make …)")]
    NotRoot,

    /// A program that the lab drives is not installed.
    #[error("{program} is not installed: tests/lab/install-packages.sh installs what the lab needs, and says why")]
    Missing {
        /// The program looked for in PATH and the sbin directories.
        program: String,
    },

    /// A command ended with a failure.
    #[error("{tried} failed ({status}): {output}")]
    Failed {
        /// The command line.
        tried: String,
        /// How it ended: an exit status or a signal.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// A program that should still run has ended.
    #[error("{name} ended ({status}) while the lab waited for {awaited}; the end of its log {}:\n{tail}", log.display())]
    Ended {
        /// The name the lab gave the program.
        name: String,
        /// How it ended.
        status: String,
        /// What the lab was waiting for.
        awaited: String,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },

    /// A condition did not come true in time.
    #[error("waited {:.1} s for {awaited}, in vain{seen}", waited.as_secs_f64())]
    Late {
        /// What was waited for.
        awaited: String,
        /// For how long.
        waited: Duration,
        /// What there was instead: empty, or `; …`.
        seen: String,
    },

    /// A system call failed.
    #[error("{tried}: {source}")]
    Io {
        /// What was tried, with the path or the peer.
        tried: String,
        /// The system's answer.
        source: io::Error,
    },

    /// A peer answered something the lab does not understand.
    #[error("{tried}: cannot make sense of the answer: {answer}")]
    Answer {
        /// What was asked, of whom.
        tried: String,
        /// The answer, or its end.
        answer: String,
    },

    /// The clean-up could not remove something.
    #[error("the run {prefix} has left behind: {}", what.join(", "))]
    LeftBehind {
        /// The run's prefix.
        prefix: String,
        /// What is left.
        what: Vec<String>,
    },
}

impl std::fmt::Debug for LabError {
    /// The message as a person reads it: `expect` and a test's `?` print this form.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl LabError {
    /// Names what was tried for a system call's error: `.map_err(LabError::io("read the lease"))`.
    pub(crate) fn io(tried: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let tried = tried.into();
        move |source| Self::Io { tried, source }
    }
}

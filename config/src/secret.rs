//! [`Secret`]: a password that the configuration refers to and never contains.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::environment::{Environment, Kind};
use crate::print::quoted;

/// Where a secret is kept: `{ file = "/etc/reveille/bmc-password" }` or `{ env = "BMC_PASSWORD" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// An absolute path; one line end at the end of the file does not count.
    File(PathBuf),
    /// An environment variable of the daemon.
    Env(String),
}

impl fmt::Display for SecretRef {
    /// As it is written in the configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{{ file = {} }}", quoted(path.display())),
            Self::Env(name) => write!(f, "{{ env = {} }}", quoted(name)),
        }
    }
}

/// A secret in memory: wiped when dropped, and shown by nothing but [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: Zeroizing<String>,
    from: SecretRef,
}

/// Why a secret could not be had; names the place, never the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or cannot be read.
    #[error("cannot read the file `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The path leads to a directory, a socket …
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Everybody on this host can read the file.
    #[error("everybody on this host can read the file `{}` (mode {mode:04o})", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The variable is not set, or not UTF-8.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// Nothing is in it.
    #[error("{0} holds an empty secret")]
    Empty(SecretRef),
}

impl SecretError {
    /// What would be right.
    pub(crate) fn instead(&self) -> String {
        match self {
            Self::File { path, source } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("the daemon's user must be able to read it: chgrp and chmod 0640 {}", path.display())
            }
            Self::File { path, .. } | Self::NotAFile(path) => {
                format!("put the secret into a file that only the daemon can read: {}", path.display())
            }
            Self::Readable { path, .. } => format!("chmod o= {}", path.display()),
            Self::Unset(name) => {
                format!("set {name} in the daemon's environment, or refer to a file: {{ file = \"/path\" }}")
            }
            Self::Empty(_) => "put the secret there, on one line".into(),
        }
    }
}

impl Secret {
    /// Fetches what `from` refers to. One line end at its end is dropped.
    pub(crate) fn resolve(from: SecretRef, environment: &dyn Environment) -> Result<Self, SecretError> {
        let mut value = match &from {
            SecretRef::File(path) => read_file(path, environment)?,
            SecretRef::Env(name) => environment.variable(name).ok_or_else(|| SecretError::Unset(name.clone()))?,
        };
        let kept = value.strip_suffix('\n').map_or(value.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
        value.truncate(kept);
        if value.is_empty() { Err(SecretError::Empty(from)) } else { Ok(Self { value, from }) }
    }

    /// The secret itself. Hand it to what needs it; do not format or store it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Where it came from.
    pub fn reference(&self) -> &SecretRef {
        &self.from
    }
}

fn read_file(path: &Path, environment: &dyn Environment) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::File { path: path.into(), source };
    match environment.kind(path).map_err(failed)? {
        Kind::File { mode } if mode & 0o004 != 0 => Err(SecretError::Readable { path: path.into(), mode }),
        Kind::File { .. } => environment.secret_file(path).map_err(failed),
        _ => Err(SecretError::NotAFile(path.into())),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"******\"")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("******")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Imagined;

    fn world() -> Imagined {
        Imagined::default()
            .directory("/etc")
            .file("/etc/good", 0o640, "hunter2\n")
            .file("/etc/inner", 0o600, " a b \n\n")
            .file("/etc/open", 0o644, "hunter2")
            .file("/etc/empty", 0o600, "\n")
            .variable("GOOD", "hunter2")
    }

    #[test]
    fn resolves_files_and_variables() {
        for (from, value) in [
            (SecretRef::File("/etc/good".into()), "hunter2"),
            (SecretRef::File("/etc/inner".into()), " a b \n"),
            (SecretRef::Env("GOOD".into()), "hunter2"),
        ] {
            assert_eq!(Secret::resolve(from, &world()).unwrap().expose(), value);
        }
    }

    #[test]
    fn says_which_file_or_variable_is_at_fault() {
        for (from, message) in [
            (SecretRef::File("/etc/gone".into()), "cannot read the file `/etc/gone`: entity not found"),
            (SecretRef::File("/etc".into()), "`/etc` is not a file"),
            (SecretRef::File("/etc/open".into()), "everybody on this host can read the file `/etc/open` (mode 0644)"),
            (SecretRef::File("/etc/empty".into()), "{ file = \"/etc/empty\" } holds an empty secret"),
            (SecretRef::Env("GONE".into()), "the environment variable `GONE` is not set"),
        ] {
            assert_eq!(Secret::resolve(from, &world()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn is_never_shown() {
        let secret = Secret::resolve(SecretRef::Env("GOOD".into()), &world()).unwrap();
        assert_eq!(format!("{secret:?}"), "\"******\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"******\"");
        assert_eq!(secret.reference().to_string(), "{ env = \"GOOD\" }");
    }
}

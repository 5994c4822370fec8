//! [`raise_descriptors`]: as many open files as the system lets this process have.

use reveille_config::limit::{HTTP_CONNECTIONS_MAX, TFTP_TRANSFERS_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Each HTTP connection has a socket and at most one file, each TFTP transfer a file; some more for all else.
const WANTED: u64 = 2 * HTTP_CONNECTIONS_MAX as u64 + TFTP_TRANSFERS_MAX as u64 + 1_024;

/// Raises the soft limit of open files to what bootd can need, as far as the hard limit allows (the usual soft limit of 1,024 is from the
/// days of `select`). Below it, downloads at the limit fail with a clear error and the rest goes on.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < WANTED) else { return };
    let new = limit.maximum.map_or(WANTED, |hard| hard.min(WANTED));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(new), maximum: limit.maximum }) {
        tracing::warn!(%error, soft, "cannot raise the limit of open files");
    } else if new < WANTED {
        tracing::warn!(limit = new, wanted = WANTED, "few open files are allowed; raise LimitNOFILE for a large hall");
    }
}

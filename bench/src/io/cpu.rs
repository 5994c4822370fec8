//! What processes cost: CPU time and memory, as proc(5) tells.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};

/// CPU time of all threads of a process so far, to the nanosecond. Threads that have ended are not in it.
///
/// # Errors
/// The process is gone.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the server is gone")? {
        // A thread may end between the listing and the look at it.
        let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += schedstat.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    ensure!(nanos > 0, "the kernel does not account CPU time (CONFIG_SCHED_INFO)");
    Ok(Duration::from_nanos(nanos))
}

/// Anonymous memory of a process that is resident: its heap and stacks, not its program or mapped files. Octets.
///
/// # Errors
/// The process is gone.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

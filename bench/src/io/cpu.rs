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

/// CPU time of a process, of its living children and of those that it has waited for.
///
/// # Errors
/// The process is gone.
pub fn family_cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).context("the server is gone")?;
    let mut all = cpu_time(pid)?;
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        // It may end meanwhile.
        all += cpu_time(child).unwrap_or_default();
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may have spaces: fields 3 and on; 16 and 17 are cutime and cstime, in ticks of 10 ms.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(all + Duration::from_millis(ticks * 10))
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

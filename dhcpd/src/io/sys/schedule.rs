//! `sched_setscheduler(2)`: real-time scheduling of one thread.

use std::io;

/// The lowest real-time priority: above every ordinary thread, below whatever an operator has made more urgent.
const PRIORITY: libc::c_int = 1;

/// Has the calling thread run before all ordinary threads whenever it can run (SCHED_FIFO). Threads that it starts do not inherit that.
///
/// # Errors
/// Not permitted: without CAP_SYS_NICE or RLIMIT_RTPRIO, or where the control group has no real-time share.
pub fn run_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: `parameters` is a whole structure that outlives the call; 0 names the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

//! `sched_setscheduler(2)` and `sched_setattr(2)`: when one thread runs before others.

use std::io;

/// The lowest real-time priority: above every ordinary thread, below whatever an operator has made more urgent.
const PRIORITY: libc::c_int = 1;

/// The shortest turn that the kernel knows, nanoseconds.
const TURN_NANOS: u64 = 100_000;

/// `struct sched_attr` as it was first (`SCHED_ATTR_SIZE_VER0`).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Has the calling thread take short turns: when it wakes it interrupts ordinary threads that take long ones, of which it would otherwise wait for the end, milliseconds.
/// Its share of the core stays the same. Linux before 6.12 takes the wish and does nothing with it.
///
/// # Errors
/// The kernel refuses, or the thread is no ordinary one.
pub fn take_short_turns() -> io::Result<()> {
    let nice = rustix::process::getpriority_process(Some(rustix::thread::gettid()))?;
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr {
        size,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime: TURN_NANOS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: `attr` is a whole structure of the size it names, which the kernel only reads; 0 names the calling thread.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_turns_leave_the_nice_value_as_it_is() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        std::thread::spawn(move || {
            let before = nice();
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), before + 1).unwrap();
            take_short_turns().unwrap();
            assert_eq!(nice(), before + 1);
        })
        .join()
        .unwrap();
    }
}

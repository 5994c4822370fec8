//! [`be_nicer`]: threads that take what others leave of a core.

/// Raises the calling thread's nice value by so much, which everybody may: each step is a fifth less of a core that others want too. It cannot be taken back, so it is for
/// threads that do nothing else.
pub fn be_nicer(steps: i32) {
    // On Linux the nice value belongs to the thread whose id is given.
    let thread = Some(rustix::thread::gettid());
    let nicer = |nice: i32| rustix::process::setpriority_process(thread, nice + steps);
    if let Err(errno) = rustix::process::getpriority_process(thread).and_then(nicer) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::debug!(%errno, thread = name, "a thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_calling_thread_that_becomes_nicer() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = nice();
        let there = std::thread::spawn(move || {
            be_nicer(2);
            nice()
        });
        // 19 is the highest.
        assert_eq!((there.join().unwrap(), nice()), ((before + 2).min(19), before));
    }
}

//! [`Bulk`]: a thread for what is long and can wait, such as the pieces of a listing. It gets what other threads leave of the core, so that whoever lists a million leases does not
//! keep the workers from a packet.

use std::panic::AssertUnwindSafe;

use crossbeam::channel::{Sender, bounded};
use reveille_config::limit::EXPORTS_MAX;
use tokio::sync::oneshot;

use crate::store::nice::be_nicer;

/// So much above the process's own nice value: a third of what a worker that computes as well gets of their core. With 10 a listing takes twice as long and costs packets no less.
const NICER: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread, which ends with it.
pub struct Bulk(Option<Sender<Job>>);

impl Bulk {
    /// Starts it. Where the system gives no thread, its jobs are done among all others.
    pub fn start() -> Self {
        // Whoever waits for a job asks for no other.
        let (sender, jobs) = bounded::<Job>(EXPORTS_MAX);
        let started = std::thread::Builder::new().name("dhcpd-bulk".into()).spawn(move || {
            be_nicer(NICER);
            for job in jobs {
                // The one who waits for it sees that it broke off.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
            }
        });
        Self(started.is_ok().then_some(sender))
    }

    /// Has a job done; `None` where it broke off.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || _ = answer.send(job()));
        let refused = match &self.0 {
            Some(jobs) => jobs.try_send(job).err().map(|error| error.into_inner()),
            None => Some(job),
        };
        if let Some(job) = refused {
            tokio::task::spawn_blocking(job);
        }
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_breaks_off_takes_no_other_with_it() {
        for bulk in [Bulk::start(), Bulk(None)] {
            assert_eq!(bulk.run(|| 1).await, Some(1));
            assert_eq!(bulk.run(|| -> u8 { panic!("on purpose") }).await, None);
            assert_eq!(bulk.run(|| 2).await, Some(2));
        }
    }
}

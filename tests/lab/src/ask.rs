//! [`Ask`]: waits for the daemons' APIs from code that is not asynchronous.

use std::future::Future;
use std::time::Duration;

use reveille_client::ClientError;

use crate::error::LabError;
use crate::wait::Deadline;

/// Between two questions to a daemon.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A runtime for the clients of the daemons' APIs.
#[derive(Debug)]
pub struct Ask {
    runtime: tokio::runtime::Runtime,
}

impl Ask {
    /// A runtime of one thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> Result<Self, LabError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Self { runtime: runtime.map_err(LabError::io("start a runtime for the clients"))? })
    }

    /// Waits for a client's answer.
    pub fn ask<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks until a client's answer gives a value. An error of the transport counts as "not yet", a refusal as an error.
    ///
    /// # Errors
    /// A refusal, or [`LabError::Late`] with the last error.
    pub fn ask_until<T, A>(
        &self,
        awaited: &str,
        deadline: Deadline,
        ask: impl AsyncFn() -> Result<A, ClientError>,
        judge: impl Fn(A) -> Option<T>,
    ) -> Result<T, LabError> {
        let mut last = None;
        let found = deadline.every(ASK_EVERY).until(awaited, || match self.ask(ask()) {
            Ok(answer) => Ok(judge(answer)),
            Err(error) if error.is_transient() => {
                last = Some(error.to_string());
                Ok(None)
            }
            Err(error) => Err(LabError::Answer { tried: awaited.to_owned(), answer: error.to_string() }),
        });
        match (found, last) {
            (Err(LabError::Late { .. }), Some(last)) => Err(deadline.late_seeing(awaited, last)),
            (found, _) => found,
        }
    }
}

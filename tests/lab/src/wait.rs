//! Waiting for a condition, with a deadline.
//!
//! The lab's only place that sleeps: a condition is asked for now and then until it holds or the deadline passes.

use std::time::{Duration, Instant};

use crate::error::LabError;

/// How often a condition is asked for unless said otherwise: short beside everything a lab waits for, long beside the
/// cost of looking at a file or a process.
const TICK: Duration = Duration::from_millis(20);

/// A moment until which something is waited for, which remembers how long that was.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
    tick: Duration,
}

impl Deadline {
    /// The moment `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self { started: Instant::now(), limit, tick: TICK }
    }

    /// The moment `secs` seconds from now.
    pub fn secs(secs: u64) -> Self {
        Self::after(Duration::from_secs(secs))
    }

    /// The same moment, with conditions asked for at another interval: where asking costs the asked one something.
    #[must_use]
    pub fn every(self, tick: Duration) -> Self {
        Self { tick, ..self }
    }

    /// What is left; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// The error that says so.
    pub fn late(&self, awaited: impl Into<String>) -> LabError {
        LabError::Late { awaited: awaited.into(), waited: self.started.elapsed(), seen: String::new() }
    }

    /// Like [`Self::late`], with what there was instead.
    pub fn late_seeing(&self, awaited: impl Into<String>, seen: impl std::fmt::Display) -> LabError {
        LabError::Late { awaited: awaited.into(), waited: self.started.elapsed(), seen: format!("; {seen}") }
    }

    /// Asks `condition` until it gives a value, fails, or the deadline passes. It is asked at least once.
    pub fn until<T>(
        &self,
        awaited: &str,
        mut condition: impl FnMut() -> Result<Option<T>, LabError>,
    ) -> Result<T, LabError> {
        loop {
            if let Some(value) = condition()? {
                return Ok(value);
            }
            if self.passed() {
                return Err(self.late(awaited));
            }
            std::thread::sleep(self.tick.min(self.left()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_even_when_no_time_is_left_and_says_what_was_missed() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.until("a thing", || Ok(Some(7))).unwrap(), 7);
        let error = deadline.until::<()>("a thing", || Ok(None)).unwrap_err().to_string();
        assert!(error.contains("for a thing, in vain"), "{error}");
    }

    #[test]
    fn stops_asking_when_the_condition_holds() {
        let mut asked = 0;
        let got = Deadline::secs(5).until("the third time", || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(got.unwrap(), 3);
    }
}

//! [`Delivery`]: one hook: what is next, until it is delivered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use reveille_config::dto::event::{EventPage, EventQuery};
use reveille_config::webhook::Webhook;
use tokio::sync::watch;
use tokio::time::Instant;

use super::message::Message;
use super::pace::Pace;
use super::place::Place;
use super::post::{Failure, Poster};
use crate::{Log, PAUSE};

/// A hook at work.
pub(super) struct Delivery<L> {
    daemon: &'static str,
    log: Arc<L>,
    hook: Webhook,
    query: EventQuery,
    directory: PathBuf,
    pace: Pace,
    poster: Option<Poster>,
    /// How often the same message has failed, and the last cause, which is logged once.
    failures: u32,
    cause: Option<&'static str>,
}

/// The hook is to end, or its receiver is gone.
struct Ended;

impl<L: Log> Delivery<L> {
    pub(super) fn new(daemon: &'static str, log: Arc<L>, hook: Webhook, directory: &Path, pace: Pace) -> Self {
        let query = EventQuery {
            limit: hook.batch,
            kinds: hook.kinds.clone(),
            scopes: hook.scopes.clone(),
            macs: hook.macs.clone(),
            ..EventQuery::default()
        };
        let directory = directory.to_owned();
        Self { daemon, log, hook, query, directory, pace, poster: None, failures: 0, cause: None }
    }

    /// Delivers until `stop` turns true or the receiver is gone.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        let Ok(mut place) = self.open(&stop).await else { return };
        // Either end is the same: how far it has come is on disk.
        let Err(Ended) = self.deliver(&mut place, &stop).await;
        self.save(&place).await;
    }

    /// Its place; tried again while the disk refuses.
    async fn open(&mut self, stop: &watch::Receiver<bool>) -> Result<Place, Ended> {
        loop {
            let (directory, name) = (self.directory.clone(), self.hook.name.clone());
            let (epoch, latest) = (self.log.epoch(), self.log.last());
            let opening = tokio::task::spawn_blocking(move || Place::open(&directory, &name, epoch, latest));
            match opening.await {
                Ok(Ok(place)) => return Ok(place),
                Ok(Err(error)) => self.tell("disk", &format!("its place cannot be read or written: {error}")),
                Err(_) => return Err(Ended),
            }
            pause(self.pace.most.min(Duration::from_secs(10)), stop).await?;
        }
    }

    async fn deliver(
        &mut self,
        place: &mut Place,
        stop: &watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut saved = (place.since, Instant::now());
        loop {
            if *stop.borrow() {
                return Err(Ended);
            }
            if place.since != saved.0 && saved.1.elapsed() >= self.pace.save_every {
                self.save(place).await;
                saved = (place.since, Instant::now());
            }
            let page = self.log.page_now(place.since, &self.query);
            if page.events.is_empty() && page.lost.is_none() {
                place.since = page.next;
                self.measure(place.since, None);
                if page.next < self.log.last() {
                    tokio::task::yield_now().await;
                    continue;
                }
                tokio::select! {
                    () = self.log.grown(place.since) => pause(PAUSE, stop).await?,
                    () = tokio::time::sleep(self.pace.save_every), if place.since != saved.0 => {}
                    () = stopped(stop) => return Err(Ended),
                }
                continue;
            }
            self.until_delivered(place, &page, stop).await?;
            place.since = page.next;
            counter!(self.metric("events_total"), "webhook" => self.hook.name.clone())
                .increment(page.events.len() as u64);
        }
    }

    /// Sends the same message until it is taken.
    async fn until_delivered(
        &mut self,
        place: &Place,
        page: &EventPage,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let message = Message::of_page(self.daemon, &self.hook, &place.stream, place.since, page);
        loop {
            self.measure(place.since, page.events.first().map(|event| event.at_unix_millis));
            let outcome = tokio::select! {
                outcome = self.post(&message) => outcome,
                () = stopped(stop) => return Err(Ended),
            };
            let Err(failure) = outcome else {
                if self.cause.take().is_some() {
                    tracing::info!(webhook = self.hook.name, failures = self.failures, "a web hook takes events again");
                }
                self.failures = 0;
                return Ok(());
            };
            self.failures = self.failures.saturating_add(1);
            let labels = [("webhook", self.hook.name.clone()), ("reason", failure.as_str().to_owned())];
            counter!(self.metric("failures_total"), &labels).increment(1);
            self.tell(failure.as_str(), &failure.to_string());
            if matches!(failure, Failure::Gone) {
                return Err(Ended);
            }
            let chance = getrandom::u32().unwrap_or_default();
            pause(self.pace.pause(self.failures, failure.retry_after(), chance), stop).await?;
        }
    }

    async fn post(&mut self, message: &Message) -> Result<(), Failure> {
        if self.poster.is_none() {
            self.poster = Some(Poster::new(&self.hook)?);
        }
        match &self.poster {
            Some(poster) => poster.post(&self.hook, message).await.map(drop),
            None => Ok(()),
        }
    }

    /// Logs a cause once, until it is another.
    fn tell(&mut self, cause: &'static str, why: &str) {
        if self.cause.replace(cause) != Some(cause) {
            tracing::warn!(
                webhook = self.hook.name,
                why,
                "a web hook fails; it is tried again and nothing is left out"
            );
        }
    }

    async fn save(&mut self, place: &Place) {
        let (place, directory, name) = (place.clone(), self.directory.clone(), self.hook.name.clone());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || place.save(&directory, &name)).await {
            self.tell("disk", &format!("how far it has come cannot be written down: {error}"));
        }
    }

    fn metric(&self, what: &str) -> String {
        format!("reveille_{}_webhook_{what}", self.daemon)
    }

    /// How far it is behind: in sequences, and in seconds since its oldest event.
    fn measure(&self, since: u64, oldest_unix_millis: Option<u64>) {
        let behind = self.log.last().saturating_sub(since);
        gauge!(self.metric("lag_sequences"), "webhook" => self.hook.name.clone()).set(behind as f64);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = oldest_unix_millis.map(|at| now.saturating_sub(Duration::from_millis(at)).as_secs_f64());
        gauge!(self.metric("lag_seconds"), "webhook" => self.hook.name.clone()).set(age.unwrap_or_default());
    }
}

/// Resolves when the hook is to end.
async fn stopped(stop: &watch::Receiver<bool>) {
    // An error means that nobody is left who wants it.
    let _ = stop.clone().wait_for(|stop| *stop).await;
}

/// Waits, or not any more where the hook is to end.
async fn pause(time: Duration, stop: &watch::Receiver<bool>) -> Result<(), Ended> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = stopped(stop) => Err(Ended),
    }
}

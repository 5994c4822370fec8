//! [`Puller`]: has files of the upstream for machines: copies at once, others while they arrive.
//!
//! One fetch, however many ask; it goes on from where it broke off, or where an earlier run of the daemon ended, if the upstream still has the same version. A copy is served as it is, whether the upstream
//! answers or not, and compared with the upstream's file behind the machine's back: the next one gets the new version.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use metrics::counter;
use reveille_config::bootd::Upstream;
use reveille_config::temp_url::{Algorithm, Grant, encode_path};
use tokio::task::JoinSet;

use super::fetch::{FetchError, Fetched, Fetcher, Known};
use super::said::{Cause, is_due};
use crate::proto::path::SafePath;
use crate::store::copies::{Arriving, Copies, Found, PullFailure, Version};
use crate::store::{OpenFile, Store};

/// Attempts in a row that bring nothing; then the fetch is given up.
const ATTEMPTS_MAX: u32 = 5;
/// Before the first repetition; doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a signature for the upstream holds.
const SIGNATURE_SECS: u64 = 1_200;

/// The upstream.
#[derive(Debug, Clone)]
pub struct Puller {
    store: Arc<Store>,
    upstream: Arc<Upstream>,
    fetcher: Fetcher,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// What there is for a machine.
#[derive(Debug)]
pub enum Pulled {
    /// A copy.
    Copy(OpenFile),
    /// A file on its way, of which is known what it is.
    Arriving(Arc<Arriving>, Version),
}

impl Puller {
    /// Files of `upstream` by way of the copies of `store`.
    pub fn new(store: Arc<Store>, upstream: Upstream) -> Self {
        Self { store, upstream: Arc::new(upstream), fetcher: Fetcher::new(), tasks: Arc::default() }
    }

    /// The file that a path stands for; `None` where it is none of the upstream's.
    pub async fn get(&self, path: &SafePath) -> Option<Result<Pulled, PullFailure>> {
        let rest = path.as_str().strip_prefix(&*self.upstream.path)?.strip_prefix('/')?;
        let copies = self.store.copies.as_ref()?;
        let key = rest.to_owned();
        // Opening and, once in a while, making room: short, but of the disk.
        let found = tokio::task::block_in_place(|| copies.find(&key));
        let arriving = match found {
            Found::Copy(file, due) => {
                if due {
                    let own = self.clone();
                    self.spawn(async move { own.compare(&key).await });
                }
                return Some(Ok(Pulled::Copy(file)));
            }
            Found::Arriving(arriving) => arriving,
            Found::Fetch(arriving) => {
                self.start(key, arriving.clone());
                arriving
            }
            Found::Busy => return Some(Err(PullFailure::Upstream("too many files are being fetched".into()))),
        };
        Some(arriving.version().await.map(|version| Pulled::Arriving(arriving, version)))
    }

    /// Breaks off what is under way; it goes on where it was after the next start.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    /// As many as fetches and comparisons are under way.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The file's URL; signed where a key is configured.
    fn url(&self, key: &str) -> String {
        let (host, base) = match self.upstream.url.split_once("://") {
            Some((scheme, rest)) => {
                let at = scheme.len() + 3 + rest.find('/').unwrap_or(rest.len());
                self.upstream.url.split_at(at)
            }
            None => (&*self.upstream.url, ""),
        };
        let path = format!("{}/{key}", base.trim_end_matches('/'));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires_unix = now + SIGNATURE_SECS;
        let grant = Grant { method: "GET", expires_unix, path: &path, prefix: None, ip_range: None };
        match &self.upstream.temp_url_key {
            Some(secret) => format!("{host}{}", grant.signed_path(Algorithm::Sha256, secret.expose().as_bytes())),
            None => format!("{host}{}", encode_path(&path)),
        }
    }

    fn start(&self, key: String, arriving: Arc<Arriving>) {
        let own = self.clone();
        self.spawn(async move {
            let Some(copies) = own.store.copies.as_ref() else { return };
            let mut outcome = own.fetch(copies, &key, &arriving).await;
            if outcome.is_ok() {
                let finished = tokio::task::block_in_place(|| copies.finish(&key, &arriving));
                outcome = finished.map_err(|error| PullFailure::Disk(error.to_string()));
            }
            counter!("reveille_bootd_upstream_fetches_total", "outcome" => label(&outcome)).increment(1);
            if let Err(why) = outcome {
                if is_due(Cause::Upstream) {
                    tracing::warn!(path = key, %why, "a file of the upstream was not fetched");
                }
                tokio::task::block_in_place(|| copies.give_up(&key, &arriving));
                arriving.fail(why);
            }
        });
    }

    /// Fetches all of a file, as often as it breaks off.
    async fn fetch(&self, copies: &Copies, key: &str, arriving: &Arriving) -> Result<(), PullFailure> {
        let (mut version, mut come, mut attempts) = (None::<Version>, 0, 0);
        loop {
            // What an earlier run left, until the first answer says whether it is of use.
            let left = if version.is_none() { copies.unfinished(key) } else { None };
            let (begun, bytes) = left.as_ref().map_or((version.as_ref(), come), |(left, bytes)| (Some(left), *bytes));
            let known = match begun.and_then(|version| version.validator.as_deref()) {
                Some(validator) if bytes > 0 => Known::Some(bytes, validator),
                _ => Known::Nothing,
            };
            let before = come;
            let broke = match (self.fetcher.get(&self.url(key), known).await, left) {
                (Ok(Some(fetched)), Some((left, bytes))) if fetched.offset > 0 => {
                    if accept(&fetched, Some(&left), bytes).is_err() {
                        tokio::task::block_in_place(|| copies.discard(key));
                        continue;
                    }
                    tokio::task::block_in_place(|| copies.resume(key, arriving, left.clone(), bytes))?;
                    tracing::info!(
                        path = key,
                        come = bytes,
                        "the fetch of a file of the upstream goes on where it ended"
                    );
                    counter!("reveille_bootd_upstream_resumes_total").increment(1);
                    (version, come) = (Some(left), bytes);
                    receive(fetched, arriving, &mut come).await?
                }
                (Err(FetchError::Status(StatusCode::RANGE_NOT_SATISFIABLE)), Some(_)) => {
                    tokio::task::block_in_place(|| copies.discard(key));
                    continue;
                }
                (Ok(Some(fetched)), _) => {
                    let found = accept(&fetched, version.as_ref(), come)?;
                    if version.is_none() {
                        tokio::task::block_in_place(|| copies.begin(key, arriving, found.clone()))?;
                    }
                    version = Some(found);
                    receive(fetched, arriving, &mut come).await?
                }
                // Nothing was known, so nothing can be the same.
                (Ok(None), _) => FetchError::Broken("it answers that nothing has changed".into()),
                (Err(error), _) => error,
            };
            match (&version, &broke) {
                (Some(version), _) if come == version.bytes => return Ok(()),
                (_, FetchError::Status(status)) if status.as_u16() == 404 || status.as_u16() == 410 => {
                    tokio::task::block_in_place(|| copies.discard(key));
                    return Err(PullFailure::Absent);
                }
                (_, FetchError::Status(status)) if status.is_client_error() => {
                    return Err(PullFailure::Upstream(broke.to_string()));
                }
                _ => {}
            }
            attempts = if come > before { 0 } else { attempts + 1 };
            if attempts == ATTEMPTS_MAX {
                return Err(PullFailure::Upstream(broke.to_string()));
            }
            if is_due(Cause::UpstreamBroke) {
                tracing::info!(path = key, come, %broke, "a file of the upstream broke off; it is asked for again");
            }
            counter!("reveille_bootd_upstream_resumes_total").increment(1);
            tokio::time::sleep(PAUSE * 2_u32.pow(attempts)).await;
        }
    }

    /// Asks whether a copy is of the present version, and fetches that if not.
    async fn compare(&self, key: &str) {
        let Some(copies) = self.store.copies.as_ref() else { return };
        let version = copies.version(key);
        let known = version.as_ref().and_then(|version| version.validator.as_deref());
        match self.fetcher.get(&self.url(key), known.map_or(Known::Nothing, Known::All)).await {
            Ok(None) => {}
            // What it sends is let go; who fetches asks again, as everybody does.
            Ok(Some(_)) => {
                if let Found::Fetch(arriving) = copies.renew(key) {
                    self.start(key.to_owned(), arriving);
                }
            }
            Err(FetchError::Status(status)) if status.as_u16() == 404 || status.as_u16() == 410 => {
                tokio::task::block_in_place(|| copies.forget(key));
            }
            Err(error) if is_due(Cause::UpstreamGone) => {
                tracing::info!(path = key, %error, "the upstream cannot be asked; its copy is served");
            }
            Err(_) => {}
        }
    }
}

/// Which version this is: the one that has begun, or a new one at the beginning.
fn accept(fetched: &Fetched, version: Option<&Version>, come: u64) -> Result<Version, PullFailure> {
    let Some(bytes) = fetched.bytes_total else {
        return Err(PullFailure::Upstream("it does not say how long the file is".into()));
    };
    let Some(version) = version else {
        let began_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        return Ok(Version { validator: fetched.validator.clone(), bytes, began_unix });
    };
    let same = fetched.offset == come && bytes == version.bytes && fetched.validator == version.validator;
    match same && (come == 0 || version.validator.is_some()) {
        true => Ok(version.clone()),
        // Octets of two versions in one file would be worse than none.
        false => Err(PullFailure::Upstream("the file has changed while it was fetched".into())),
    }
}

/// Takes what comes, until it ends; says how.
async fn receive(mut fetched: Fetched, arriving: &Arriving, come: &mut u64) -> Result<FetchError, PullFailure> {
    loop {
        match fetched.next().await {
            Ok(Some(octets)) => {
                if fetched.bytes_total.is_some_and(|total| *come + octets.len() as u64 > total) {
                    return Err(PullFailure::Upstream("it sends more than it said".into()));
                }
                let appended = tokio::task::block_in_place(|| arriving.append(&octets, *come));
                appended.map_err(|error| PullFailure::Disk(error.to_string()))?;
                *come += octets.len() as u64;
            }
            Ok(None) => return Ok(FetchError::Broken("it ended too early".into())),
            Err(error) => return Ok(error),
        }
    }
}

fn label(outcome: &Result<(), PullFailure>) -> &'static str {
    match outcome {
        Ok(()) => "complete",
        Err(PullFailure::Absent) => "absent",
        Err(PullFailure::Upstream(_)) => "upstream",
        Err(PullFailure::NoRoom) => "no-room",
        Err(PullFailure::Disk(_)) => "disk",
    }
}

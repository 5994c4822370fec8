//! [`Redfish`]: BMCs by their Redfish services.
//!
//! What resources mean is decided in [`crate::proto::redfish`]; here are HTTP, sessions, and what is remembered of a service.
//!
//! | file | holds |
//! |---|---|
//! | `exchange` | one HTTP exchange, bounded; whom to trust |
//! | `known` | what is remembered of services: session, system, abilities |
//! | `talk` | a conversation: who we are, a session that has ended, tasks, one deadline over all |
//! | `error` | [`RedfishError`] |
//!
//! Metrics: `reveille_redfish_operations_total{operation,outcome}`, `reveille_redfish_sessions_opened_total`, `reveille_redfish_events_total`.

mod error;
mod exchange;
mod known;
mod talk;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use metrics::counter;
use reveille_config::limit;
use serde_json::json;

use super::turns::Turns;
use crate::proto::access::RedfishAccess;
use crate::proto::ipmi::command::{PowerAction, PowerState};
use crate::proto::redfish::{BootOverride, EventCount, Media, MediaKind, linked, path};

pub use error::{RedfishCause, RedfishError};
use exchange::Clients;
use known::{Known, Service};
use talk::Talk;

/// Virtual drives that are looked at.
const DRIVES_MAX: usize = 16;
/// A stream of events that is silent for so long is opened anew.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(600);

/// The client. Clones are the same client.
#[derive(Debug, Clone)]
pub struct Redfish {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clients: Clients,
    known: Known,
    turns: Turns<Service>,
    patience: Duration,
    /// `None`: sessions are held until they end, or we do.
    given_back_after: Option<Duration>,
}

impl Redfish {
    /// An operation ends after `patience`, the wait for its turn included. Sessions are given back when they were not used for
    /// `given_back_after`; without it they are held.
    pub fn new(patience: Duration, given_back_after: Option<Duration>) -> Self {
        let turns = Turns::new(limit::REDFISH_BUSY_MAX);
        Self {
            inner: Arc::new(Inner {
                clients: Clients::default(),
                known: Known::default(),
                turns,
                patience,
                given_back_after,
            }),
        }
    }

    /// Asks whether the machine has power.
    ///
    /// # Errors
    /// [`RedfishError`], here and below.
    pub async fn power_state(&self, access: &RedfishAccess) -> Result<PowerState, RedfishError> {
        self.operate("power_state", access, async |talk| {
            let system = talk.system().await?;
            system.power.ok_or_else(|| talk.error(RedfishCause::Missing("the PowerState, or says one that is none")))
        })
        .await
    }

    /// Tells the service what to do with the machine's power. `Ok` means that it has begun: many show the old state for a while.
    pub async fn set_power(&self, access: &RedfishAccess, action: PowerAction) -> Result<(), RedfishError> {
        self.operate("set_power", access, async |talk| {
            let mut reset = talk.system().await?.reset;
            if let (None, Some(info)) = (&reset.allowed, reset.info.clone()) {
                // Where this is not to be had either, the usual values are tried.
                if let Ok(said) = talk.get(&info).await {
                    reset.read_info(&said.body);
                }
            }
            let name = reset.of(action).map_err(|words| talk.error(RedfishCause::Cannot(words)))?;
            let said = talk.ask(Method::POST, &reset.target, Some(&json!({ "ResetType": name })), None).await?;
            match talk.follow(said).await {
                // It has begun; the caller reads the power back.
                Err(RedfishError { cause: RedfishCause::Timeout(_), .. }) => Ok(()),
                done => done,
            }
        })
        .await
    }

    /// Says what to boot from.
    pub async fn set_boot(&self, access: &RedfishAccess, wanted: &BootOverride) -> Result<(), RedfishError> {
        self.operate("set_boot", access, async |talk| {
            let system = talk.system().await?;
            let body = system.boot_patch(wanted).map_err(|words| talk.error(RedfishCause::Cannot(words)))?;
            let said = talk.patch(&system.path, &body, system.tag).await?;
            talk.follow(said).await
        })
        .await
    }

    /// Target and enablement of the boot override, as the service shows them.
    pub async fn boot_override(
        &self,
        access: &RedfishAccess,
    ) -> Result<(Option<String>, Option<String>), RedfishError> {
        self.operate("boot_override", access, async |talk| {
            let system = talk.system().await?;
            let (target, enabled) = system.boot_override();
            Ok((target.map(str::to_owned), enabled.map(str::to_owned)))
        })
        .await
    }

    /// Puts an image into the machine's first drive for it; what is in there is taken out first. Nothing is done where it is in already.
    pub async fn insert_media(&self, access: &RedfishAccess, kind: MediaKind, image: &str) -> Result<(), RedfishError> {
        self.operate("insert_media", access, async |talk| {
            let drive = drive(talk, kind).await?;
            if drive.image.as_deref() == Some(image) {
                return Ok(());
            }
            if drive.image.is_some() {
                eject(talk, &drive).await?;
            }
            let body = Media::insertion(image);
            let Some(target) = &drive.insert else {
                let said = talk.patch(&drive.path, &body, drive.tag).await?;
                return talk.follow(said).await;
            };
            let said = match talk.ask(Method::POST, target, Some(&body), None).await {
                // Some know no property but the image.
                Err(RedfishError { cause: RedfishCause::Status { status, .. }, .. }) if status.as_u16() == 400 => {
                    talk.ask(Method::POST, target, Some(&json!({ "Image": image })), None).await?
                }
                said => said?,
            };
            talk.follow(said).await
        })
        .await
    }

    /// Takes the image out of the machine's first drive for this kind, or what is in any of its drives. Nothing is done where there is none.
    pub async fn eject_media(&self, access: &RedfishAccess, kind: Option<MediaKind>) -> Result<(), RedfishError> {
        self.operate("eject_media", access, async |talk| {
            let drives = match kind {
                Some(kind) => vec![drive(talk, kind).await?],
                None => drives(talk).await?,
            };
            for drive in drives.iter().filter(|drive| drive.image.is_some()) {
                eject(talk, drive).await?;
            }
            Ok(())
        })
        .await
    }

    /// The image in the machine's first drive for this kind.
    pub async fn media(&self, access: &RedfishAccess, kind: MediaKind) -> Result<Option<String>, RedfishError> {
        self.operate("media", access, async |talk| Ok(drive(talk, kind).await?.image)).await
    }

    /// Tells of each event that the service sends as it happens, until the stream ends; `false`: it sends none, or sessions are not to be held,
    /// as a stream would. What an event says does not matter: it is an occasion to look.
    pub async fn watch(&self, access: &RedfishAccess, told: &(dyn Fn() + Send + Sync)) -> Result<bool, RedfishError> {
        if self.inner.given_back_after.is_some() {
            return Ok(false);
        }
        let mut talk = Talk::begin(&self.inner, access).await?;
        let Some(path) = talk.events().await? else { return Ok(false) };
        let error = |cause| RedfishError { address: access.authority.clone(), step: format!("GET {path}"), cause };
        let mut body = talk.open(&path).await?;
        let mut count = EventCount::default();
        // A stream that is silent for so long is opened anew: nobody else would notice that its other end has gone.
        while let Ok(Some(piece)) = tokio::time::timeout(STREAM_SILENCE_MAX, body.frame()).await {
            let piece = piece.map_err(|broken| error(RedfishCause::Broken(broken.to_string())))?;
            let Some(octets) = piece.data_ref() else { continue };
            let events = count.push(octets).map_err(|_| error(RedfishCause::TooLong))?;
            if events > 0 {
                counter!("reveille_redfish_events_total").increment(events as u64);
                told();
            }
        }
        Ok(true)
    }

    /// Forgets what is known of a service, and gives its session back: another machine may be there now.
    pub fn forget(&self, access: &RedfishAccess) {
        self.inner.known.forget(&self.inner, &Service::of(access));
    }

    /// Gives all sessions back; returns when the services have been told, or did not answer in time.
    pub async fn close_sessions(&self) {
        self.inner.known.close_all(&self.inner).await;
    }

    async fn operate<T>(
        &self,
        operation: &'static str,
        access: &RedfishAccess,
        body: impl AsyncFnOnce(&mut Talk<'_>) -> Result<T, RedfishError>,
    ) -> Result<T, RedfishError> {
        let result = async {
            let mut talk = Talk::begin(&self.inner, access).await?;
            body(&mut talk).await
        };
        let result = result.await;
        let outcome = result.as_ref().map_or_else(|error| error.cause.label(), |_| "ok");
        counter!("reveille_redfish_operations_total", "operation" => operation, "outcome" => outcome).increment(1);
        result
    }
}

/// The first drive for this kind.
async fn drive(talk: &mut Talk<'_>, kind: MediaKind) -> Result<Media, RedfishError> {
    let fit = drives(talk).await?.into_iter().find(|drive| drive.takes(kind));
    fit.ok_or_else(|| talk.error(RedfishCause::Cannot(format!("it has no virtual drive for {}", kind.as_str()))))
}

/// The drives of the system, or of the first of its managers that has some.
async fn drives(talk: &mut Talk<'_>) -> Result<Vec<Media>, RedfishError> {
    let mut drives = Vec::new();
    for at in talk.system().await?.media {
        // The system's own collection, or a manager that has one.
        let mut collection = talk.get(&at).await?.body;
        if let (true, Some(inner)) = (collection.get("Members").is_none(), linked(&collection, "VirtualMedia")) {
            let inner = inner.to_owned();
            collection = talk.get(&inner).await?.body;
        }
        let members = collection["Members"].as_array().cloned().unwrap_or_default();
        for member in members.iter().take(DRIVES_MAX) {
            let Some(path) = member["@odata.id"].as_str().and_then(path) else { continue };
            let said = talk.get(path).await?;
            drives.push(Media::read(path, &said.body, said.tag()));
        }
        if !drives.is_empty() {
            break;
        }
    }
    Ok(drives)
}

async fn eject(talk: &mut Talk<'_>, drive: &Media) -> Result<(), RedfishError> {
    let said = match &drive.eject {
        Some(target) => talk.ask(Method::POST, target, Some(&json!({})), None).await?,
        None => talk.patch(&drive.path, &Media::removal(), drive.tag.clone()).await?,
    };
    talk.follow(said).await
}

//! [`Place`]: how far a receiver has come, on disk: `webhooks/NAME.json` in the daemon's state directory.
//!
//! It is written aside and renamed, so that a crash leaves one or the other. What is there and cannot be read makes the receiver begin again with all that is
//! known, and be told so: twice is better than never.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use reveille_config::dto::event::Epoch;
use serde::{Deserialize, Serialize};

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Drawn once, and again for another log: part of every message's id.
    pub(super) stream: String,
    /// Everything up to here is delivered, or was not for this receiver.
    pub(super) since: u64,
    /// Which log that is; `None`: it was written down before logs had an epoch.
    #[serde(default)]
    pub(super) epoch: Option<Epoch>,
}

impl Place {
    /// Where the hook `name` was, or at `latest` of the log of this epoch, written down, where it is new. Where it was in another log its receiver begins with all that
    /// is known of this one.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(directory: &Path, name: &str, epoch: Epoch, latest: u64) -> io::Result<Self> {
        // Ahead of every log.
        let from_the_start = || Self { stream: stream(), since: u64::MAX, epoch: Some(epoch) };
        match std::fs::read(path(directory, name)) {
            Ok(octets) => Ok(match serde_json::from_slice::<Self>(&octets) {
                Ok(place) if place.epoch.is_none_or(|own| own == epoch) => Self { epoch: Some(epoch), ..place },
                Ok(_) => {
                    tracing::warn!(
                        webhook = name,
                        "the log has begun anew: its receiver is told so, and all that is known"
                    );
                    from_the_start()
                }
                Err(error) => {
                    tracing::error!(webhook = name, %error, "its place cannot be read: it begins again with all that is known");
                    from_the_start()
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let place = Self { stream: stream(), since: latest, epoch: Some(epoch) };
                place.save(directory, name)?;
                Ok(place)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The system's; what was there before still is.
    pub(super) fn save(&self, directory: &Path, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let (path, aside) = (path(directory, name), directory.join(format!("{name}.json.new")));
        let mut file = File::create(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        std::fs::rename(&aside, &path)?;
        File::open(directory)?.sync_all()
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

/// A name that no other place has.
fn stream() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_begins_at_the_end_and_an_old_one_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("webhooks");
        let mut place = Place::open(&directory, "a", Epoch(1), 7).unwrap();
        assert_eq!(place.since, 7);
        assert_eq!(Place::open(&directory, "a", Epoch(1), 9).unwrap(), place, "written down from the beginning");
        place.since = 8;
        place.save(&directory, "a").unwrap();
        assert_eq!(Place::open(&directory, "a", Epoch(1), 9).unwrap(), place);
        assert_ne!(Place::open(&directory, "b", Epoch(1), 9).unwrap().stream, place.stream);
        // Another log, which may have grown past the place.
        let anew = Place::open(&directory, "a", Epoch(2), 9).unwrap();
        assert_eq!((anew.since, anew.epoch), (u64::MAX, Some(Epoch(2))));
        assert_ne!(anew.stream, place.stream, "no id of a message comes twice");
        std::fs::write(directory.join("a.json"), r#"{"stream":"abc","since":8}"#).unwrap();
        let old = Place { stream: "abc".into(), since: 8, epoch: Some(Epoch(2)) };
        assert_eq!(Place::open(&directory, "a", Epoch(2), 9).unwrap(), old, "from before there were epochs");
        std::fs::write(directory.join("a.json"), "{").unwrap();
        assert_eq!(Place::open(&directory, "a", Epoch(1), 9).unwrap().since, u64::MAX);
    }
}

//! [`Sessions`]: the transfers under way, by place and by peer, and which of them nobody has answered yet.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::session::Session;

/// A transfer's socket and peer: what RFC 1350 calls its identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) socket: u8,
    pub(super) peer: SocketAddr,
}

/// Where a session is. Places are used again: with the session's id it names one session for ever.
pub(super) type Place = u32;

/// The table. The caller keeps its size within bounds.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    places: Vec<Option<(Key, Session)>>,
    free: Vec<Place>,
    by_key: HashMap<Key, Place, foldhash::fast::RandomState>,
    /// In the order in which they began; those that have been answered or have ended are found out later.
    unanswered: VecDeque<(Place, u64)>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn place(&self, key: &Key) -> Option<Place> {
        self.by_key.get(key).copied()
    }

    pub(super) fn get(&mut self, place: Place) -> Option<(Key, &mut Session)> {
        self.places.get_mut(place as usize)?.as_mut().map(|(key, session)| (*key, session))
    }

    /// The session of this id at this place, if it is still there.
    pub(super) fn get_same(&mut self, place: Place, id: u64) -> Option<&mut Session> {
        self.get(place).map(|(_, session)| session).filter(|session| session.id() == id)
    }

    /// The session of this key.
    pub(super) fn of(&self, key: &Key) -> Option<&Session> {
        let place = self.place(key)?;
        self.places.get(place as usize)?.as_ref().map(|(_, session)| session)
    }

    /// Puts a session in; there must be none of this key.
    pub(super) fn insert(&mut self, key: Key, session: Session) -> Place {
        let place = self.free.pop().unwrap_or(self.places.len() as Place);
        if self.unanswered.len() >= 2 * self.places.len() + 64 {
            let places = &self.places;
            self.unanswered.retain(|(place, id)| is_unanswered(places, *place, *id));
        }
        self.unanswered.push_back((place, session.id()));
        let entry = Some((key, session));
        match self.places.get_mut(place as usize) {
            Some(at) => *at = entry,
            None => self.places.push(entry),
        }
        self.by_key.insert(key, place);
        place
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Session> {
        let (key, session) = self.places.get_mut(place as usize)?.take()?;
        self.by_key.remove(&key);
        self.free.push(place);
        Some(session)
    }

    /// The session that has been waiting longest for its first answer.
    pub(super) fn oldest_unanswered(&mut self) -> Option<Place> {
        while let Some((place, id)) = self.unanswered.pop_front() {
            if is_unanswered(&self.places, place, id) {
                return Some(place);
            }
        }
        None
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().flatten().map(|(_, session)| session)
    }
}

fn is_unanswered(places: &[Option<(Key, Session)>], place: Place, id: u64) -> bool {
    let session = places.get(place as usize).and_then(Option::as_ref);
    session.is_some_and(|(_, session)| session.id() == id && session.is_unanswered())
}

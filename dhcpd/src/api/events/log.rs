//! [`DurableLog`]: the durable events as web hooks read them.

use std::sync::Arc;

use reveille_config::dto::event::{Epoch, EventPage, EventQuery, Since};
use reveille_events::Log;

use super::cursor::Cursor;
use crate::api::ApiState;

/// The durable events.
#[derive(Debug)]
pub struct DurableLog(pub Arc<ApiState>);

impl Log for DurableLog {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn last(&self) -> u64 {
        self.0.store.shared.events.durable.told_through()
    }

    fn page_now(&self, since: u64, query: &EventQuery) -> EventPage {
        let query = EventQuery { since: Since::Sequence(since), transient: false, ..query.clone() };
        // Kinds and scopes are of the configuration, which has only those that there are.
        let Ok(mut cursor) = Cursor::new(&self.0, &query) else {
            return EventPage { next: since, epoch: Some(self.0.epoch()), ..EventPage::default() };
        };
        let found = cursor.take(&self.0, query.limit);
        let (next, next_transient) = cursor.position();
        EventPage { events: found.events, next, epoch: Some(self.0.epoch()), next_transient, lost: found.lost }
    }

    async fn grown(&self, since: u64) {
        let events = &self.0.store.shared.events;
        loop {
            let mut grown = std::pin::pin!(events.grown());
            grown.as_mut().enable();
            if events.durable.told_through() > since {
                return;
            }
            grown.await;
        }
    }
}

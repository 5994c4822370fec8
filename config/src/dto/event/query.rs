//! [`EventQuery`]: what a reader of `GET /v1/events` asks for, read the same way in every daemon.

use super::{Event, PlaceError, Since};
use crate::MacAddr;
use crate::limit::{EVENTS_WAIT_SECS_MAX, LIST_ITEMS_MAX, PAGE_MAX};

/// What a reader asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Where it begins.
    pub since: Since,
    /// Of a page: how long it may wait for its first event, seconds; at most [`EVENTS_WAIT_SECS_MAX`].
    pub wait_secs: u64,
    /// Of a page: its events; 1 to [`PAGE_MAX`].
    pub limit: usize,
    /// Transient ones too.
    pub transient: bool,
    /// Of a page: where its transient events begin; from now on where it says nothing.
    pub transient_since: Option<u64>,
    /// Of these kinds only; empty: of all.
    pub kinds: Vec<String>,
    /// Of these scopes only; empty: of all.
    pub scopes: Vec<String>,
    /// Of these machines only; empty: of all.
    pub macs: Vec<MacAddr>,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            since: Since::Sequence(0),
            wait_secs: 0,
            limit: PAGE_MAX,
            transient: false,
            transient_since: None,
            kinds: Vec::new(),
            scopes: Vec::new(),
            macs: Vec::new(),
        }
    }
}

/// A parameter that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMistake {
    /// Which.
    pub parameter: String,
    /// What would be right.
    pub detail: String,
}

const PARAMETERS: [&str; 8] = ["since", "wait_secs", "limit", "transient", "transient_since", "kind", "scope", "mac"];

impl EventQuery {
    /// All that is known: every durable event that is kept, and the transient ones that are still in memory.
    pub fn all_known() -> Self {
        Self { transient: true, transient_since: Some(0), ..Self::default() }
    }

    /// Reads the query's parameters. `last_event_id` is the header of a client that comes back to a stream; it counts for more than `since`, which the client
    /// cannot change.
    ///
    /// # Errors
    /// The first parameter that is unknown or wrong.
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        last_event_id: Option<&str>,
    ) -> Result<Self, QueryMistake> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let wrong = |detail: String| QueryMistake { parameter: name.into(), detail };
            let number = || value.parse::<u64>().map_err(|_| wrong("a number is expected".into()));
            match name {
                _ if !PARAMETERS.contains(&name) => {
                    return Err(wrong(format!("the parameters here are: {}", PARAMETERS.join(", "))));
                }
                _ if value.is_empty() => {}
                "since" => query.since = value.parse().map_err(|error: PlaceError| wrong(error.to_string()))?,
                "wait_secs" => query.wait_secs = number()?.min(EVENTS_WAIT_SECS_MAX),
                "limit" => match number()? {
                    0 => return Err(wrong("at least 1".into())),
                    limit => query.limit = usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX),
                },
                "transient" => match value {
                    "true" | "1" => query.transient = true,
                    "false" | "0" => query.transient = false,
                    _ => return Err(wrong("true or false".into())),
                },
                "transient_since" => query.transient_since = Some(number()?),
                _ => {
                    let items: Vec<&str> = value.split(',').filter(|item| !item.is_empty()).collect();
                    let before = match name {
                        "kind" => query.kinds.len(),
                        "scope" => query.scopes.len(),
                        _ => query.macs.len(),
                    };
                    if before + items.len() > LIST_ITEMS_MAX {
                        return Err(wrong(format!("at most {LIST_ITEMS_MAX} of them")));
                    }
                    match name {
                        "kind" => query.kinds.extend(items.into_iter().map(Into::into)),
                        "scope" => query.scopes.extend(items.into_iter().map(Into::into)),
                        _ => {
                            for item in items {
                                let mac =
                                    item.parse().map_err(|_| wrong(format!("{item:?} is no hardware address")))?;
                                query.macs.push(mac);
                            }
                        }
                    }
                }
            }
        }
        if let Some(since) = last_event_id.and_then(|id| id.trim().parse().ok()) {
            query.since = since;
        }
        Ok(query)
    }

    /// The parameters of this query, as [`Self::parse`] reads them.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        parameters.push(("since", self.since.to_string()));
        if self.wait_secs > 0 {
            parameters.push(("wait_secs", self.wait_secs.to_string()));
        }
        if self.limit < PAGE_MAX {
            parameters.push(("limit", self.limit.to_string()));
        }
        if self.transient {
            parameters.push(("transient", "true".into()));
        }
        parameters.extend(self.transient_since.map(|number| ("transient_since", number.to_string())));
        let macs: Vec<String> = self.macs.iter().map(ToString::to_string).collect();
        for (name, items) in [("kind", &self.kinds), ("scope", &self.scopes), ("mac", &macs)] {
            if !items.is_empty() {
                parameters.push((name, items.join(",")));
            }
        }
        parameters
    }

    /// Whether a reader is to have this event. An event of no scope or of no machine is not of those that were named.
    pub fn wants(&self, event: &Event) -> bool {
        let scope = || event.detail.get("scope").and_then(|scope| scope.as_str());
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.scopes.is_empty() || scope().is_some_and(|scope| self.scopes.iter().any(|one| one == scope)))
            && (self.macs.is_empty() || event.mac.is_some_and(|mac| self.macs.contains(&mac)))
    }

    /// Whether a reader is to have everything that is durable, and nothing else.
    pub fn wants_all_durable(&self) -> bool {
        !self.transient && self.kinds.is_empty() && self.scopes.is_empty() && self.macs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dto::event::{Epoch, Place};

    #[test]
    fn every_parameter_is_read_or_its_mistake_named() {
        let mac = "02:00:00:00:00:01";
        let asked = EventQuery::parse(
            [
                ("since", "7"),
                ("wait_secs", "99"),
                ("limit", "5000"),
                ("transient", "true"),
                ("transient_since", "3"),
                ("kind", "bound,renewed"),
                ("kind", "expired"),
                ("scope", "prov"),
                ("mac", mac),
            ],
            None,
        );
        let expected = EventQuery {
            since: Since::Sequence(7),
            wait_secs: EVENTS_WAIT_SECS_MAX,
            limit: PAGE_MAX,
            transient: true,
            transient_since: Some(3),
            kinds: vec!["bound".into(), "renewed".into(), "expired".into()],
            scopes: vec!["prov".into()],
            macs: vec![mac.parse().unwrap()],
        };
        let parameters = expected.parameters();
        let again = EventQuery::parse(parameters.iter().map(|(name, value)| (*name, &**value)), None);
        assert_eq!(again.as_ref(), Ok(&expected), "what is written is read");
        assert_eq!(asked, Ok(expected));
        assert_eq!(EventQuery::parse([("since", "latest")], None).map(|query| query.since), Ok(Since::Latest));
        let resumed = EventQuery::parse([("since", "7")], Some("12")).map(|query| query.since);
        assert_eq!(resumed, Ok(Since::Sequence(12)));
        let resumed = EventQuery::parse([("since", "7")], Some("00000000000000ab-12")).map(|query| query.since);
        assert_eq!(resumed, Ok(Since::Place(Place { epoch: Epoch(0xab), sequence: 12 })));
        let many = ["bound"; LIST_ITEMS_MAX + 1].join(",");
        let macs = [mac; LIST_ITEMS_MAX].join(",");
        let full = EventQuery::parse([("kind", "bound"), ("mac", &macs)], None);
        assert_eq!(full.map(|query| query.macs.len()), Ok(LIST_ITEMS_MAX), "each list has its own limit");
        for (name, value, word) in [
            ("since", "x", "number"),
            ("since", "-1", "number"),
            ("limit", "0", "at least 1"),
            ("transient", "maybe", "true or false"),
            ("mac", "02:00", "hardware address"),
            ("kind", &many, "at most"),
            ("colour", "red", "the parameters here are"),
        ] {
            let mistake = EventQuery::parse([(name, value)], None).unwrap_err();
            assert!(mistake.parameter == name && mistake.detail.contains(word), "{name}={value}: {mistake:?}");
        }
    }
}

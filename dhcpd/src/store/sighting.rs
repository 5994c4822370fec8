//! Unknown machines that asked on a static scope: a bounded table, the one seen longest ago makes room.
//!
//! The first sight of a machine is durable; counts and last times are only in memory (and in snapshots). A flood of made-up addresses writes no more than
//! [`SIGHTINGS_PER_SEC_MAX`] records a second and pushes out no more machines than that.

use std::collections::{BTreeSet, HashMap};

use reveille_config::limit::{SIGHTINGS_MAX, SIGHTINGS_PER_SEC_MAX};

use super::journal::Pending;
use super::model::SightingRow;
use super::record::Record;
use super::table::Table;
use crate::proto::scope::{Holder, Machine, Scope, ScopeIndex};
use crate::proto::time::Now;

/// One worker's part of the sightings: the order in which they were last seen.
#[derive(Debug)]
pub(super) struct SightingBook {
    last: HashMap<Machine, u64>,
    order: BTreeSet<(ScopeIndex, u64, Machine)>,
    count_by_scope: HashMap<ScopeIndex, usize>,
    next: u64,
    most_per_scope: usize,
    second: u64,
    in_second: usize,
    per_second_most: usize,
}

impl SightingBook {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            last: HashMap::new(),
            order: BTreeSet::new(),
            count_by_scope: HashMap::new(),
            next: 0,
            most_per_scope: (SIGHTINGS_MAX / workers).max(1),
            second: 0,
            in_second: 0,
            per_second_most: (SIGHTINGS_PER_SEC_MAX / workers).max(1),
        }
    }

    fn knows(&self, key: Machine) -> bool {
        self.last.contains_key(&key)
    }

    fn may_add(&mut self, now: Now) -> bool {
        let second = now.monotonic.0 / 1_000;
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
        self.in_second <= self.per_second_most
    }

    /// Marks a machine as seen just now; gives the one that has to make room.
    fn touch(&mut self, key: Machine) -> Option<Machine> {
        self.next += 1;
        let known = self.last.insert(key, self.next);
        if let Some(former) = known {
            self.order.remove(&(key.scope, former, key));
        }
        self.order.insert((key.scope, self.next, key));
        let count = self.count_by_scope.entry(key.scope).or_default();
        *count += usize::from(known.is_none());
        if *count <= self.most_per_scope {
            return None;
        }
        let first = (key.scope, 0, Machine { scope: ScopeIndex(0), mac: Default::default() });
        let &(_, _, oldest) = self.order.range(first..).next()?;
        self.remove(oldest);
        Some(oldest)
    }

    pub(super) fn remove(&mut self, key: Machine) {
        if let Some(at) = self.last.remove(&key) {
            self.order.remove(&(key.scope, at, key));
            *self.count_by_scope.entry(key.scope).or_default() -= 1;
        }
    }
}

/// What became of a sighting.
#[derive(Debug)]
pub enum Sighted<T> {
    /// The first of this machine; its record is on the way.
    First(Pending<T>),
    /// Seen before.
    Again,
    /// Not written down: too many new ones this second, or the journal takes no record.
    Shed,
}

impl Table {
    /// Writes down that an unknown machine asked.
    pub fn sight<T>(
        &mut self,
        now: Now,
        scope: &Scope,
        key: Machine,
        vendor_class: &str,
        hostname: &str,
        promise: T,
    ) -> Sighted<T> {
        if self.sightings.knows(key) {
            self.sightings.touch(key);
            self.shared.model.change_sighting(key, |row| {
                row.last = now.unix;
                row.count += 1;
            });
            return Sighted::Again;
        }
        if !self.sightings.may_add(now) {
            return Sighted::Shed;
        }
        let row = SightingRow {
            first: now.unix,
            last: now.unix,
            count: 1,
            vendor_class: vendor_class.into(),
            hostname: hostname.into(),
        };
        match self.append(&sighting_record(key, scope, &row), promise) {
            Ok(pending) => {
                self.adopt_sighting(key, row);
                Sighted::First(pending)
            }
            Err(_) => Sighted::Shed,
        }
    }

    /// Remembers a sighting, e.g. one from the journal.
    pub(super) fn adopt_sighting(&mut self, key: Machine, row: SightingRow) {
        self.shared.model.put_sighting(key, row);
        if let Some(oldest) = self.sightings.touch(key) {
            self.shared.model.remove_sighting(oldest);
        }
    }

    /// Forgets the sighting of a machine that has a reservation now.
    pub(super) fn forget_sighting_of(&mut self, holder: &Holder) {
        if let Some(mac) = holder.client.mac() {
            self.forget_sighting(Machine { scope: holder.scope, mac });
        }
    }

    /// Forgets a sighting, because the machine is known now.
    fn forget_sighting(&mut self, key: Machine) {
        self.sightings.remove(key);
        self.shared.model.remove_sighting(key);
    }
}

/// A sighting as the journal keeps it.
pub(super) fn sighting_record(key: Machine, scope: &Scope, row: &SightingRow) -> Record {
    Record::Sighting {
        mac: key.mac,
        scope: (&*scope.name).into(),
        first: row.first,
        last: row.last,
        count: row.count,
        vendor_class: row.vendor_class.clone(),
        hostname: row.hostname.clone(),
    }
}

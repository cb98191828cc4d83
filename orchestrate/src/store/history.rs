//! The changes of one kind, kept as long as somebody may ask for them.

use super::{Change, Revision};
use crate::Error;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// How many changes are kept for watches that come back.
const KEPT: usize = 1_024;
/// How many changes are kept for a watch that is there and does not read, before it is told to list again.
const PATIENCE: usize = 1 << 20;

/// A watch's position: the last revision that it has seen.
pub(super) type Cursor = Arc<AtomicU64>;

#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// The revision of the last change that was forgotten; a watch cannot resume before it.
    forgotten: u64,
    readers: Vec<Weak<AtomicU64>>,
    /// One for each reader that waits. Two clones of one waker may look different, so they cannot be told apart by it.
    wakers: BTreeMap<usize, Waker>,
}

impl History {
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > 2 * KEPT && self.changes.len().is_power_of_two() {
            self.trim();
        }
    }

    pub(super) fn wake(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_values().collect()
    }

    /// A cursor after `revision`, for which changes are kept as long as it lives.
    pub(super) fn reader(&mut self, revision: Revision) -> Result<Cursor, Error> {
        self.check(revision.0)?;
        let cursor = Cursor::new(AtomicU64::new(revision.0));
        self.readers.push(Arc::downgrade(&cursor));
        Ok(cursor)
    }

    /// The changes after the cursor, which then moves to the end; none leaves the waker to be woken.
    pub(super) fn read(&mut self, cursor: &Cursor, waker: &Waker) -> Result<Vec<Change>, Error> {
        let seen = cursor.load(Ordering::Relaxed);
        self.check(seen)?;
        let first = self
            .changes
            .partition_point(|change| change.revision().0 <= seen);
        let fresh: Vec<Change> = self.changes.range(first..).cloned().collect();
        match fresh.last() {
            Some(last) => cursor.store(last.revision().0, Ordering::Relaxed),
            None => drop(
                self.wakers
                    .insert(Arc::as_ptr(cursor).addr(), waker.clone()),
            ),
        }
        Ok(fresh)
    }

    fn check(&self, revision: u64) -> Result<(), Error> {
        if revision < self.forgotten {
            return Err(Error::Expired {
                asked: revision,
                oldest: self.forgotten,
            });
        }
        Ok(())
    }

    /// Forgets what no watch still needs, but keeps the newest for those that come back.
    fn trim(&mut self) {
        self.readers.retain(|reader| reader.strong_count() > 0);
        let cursors = self.readers.iter().filter_map(Weak::upgrade);
        let needed = cursors.map(|cursor| cursor.load(Ordering::Relaxed)).min();
        let needed = needed.unwrap_or(u64::MAX);
        while self.changes.len() > KEPT {
            let Some(oldest) = self.changes.front().map(|change| change.revision().0) else {
                return;
            };
            if oldest > needed && self.changes.len() <= PATIENCE {
                return;
            }
            self.changes.pop_front();
            self.forgotten = oldest;
        }
    }
}

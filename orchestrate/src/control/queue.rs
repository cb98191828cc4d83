//! What is to be looked at, now and later.

use crate::object::Key;
use jiff::{SignedDuration, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The first pause after a failure, and the longest, as in Kubernetes' controllers.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(1_000);

/// The keys that a controller is to look at: each once, in the order in which they came.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Key>,
    waiting: FxHashSet<Key>,
    later: BinaryHeap<Reverse<(Timestamp, Key)>>,
    due: FxHashMap<Key, Timestamp>,
    failures: FxHashMap<Key, u32>,
}

impl Queue {
    /// Has a key looked at now.
    pub fn add(&mut self, key: Key) {
        if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Has a key looked at at this time; of several times the earliest counts.
    pub fn add_at(&mut self, key: Key, time: Timestamp) {
        if self.due.get(&key).is_none_or(|due| time < *due) {
            self.due.insert(key.clone(), time);
            self.later.push(Reverse((time, key)));
        }
    }

    /// Has a key looked at again after a pause that grows with its failures.
    pub(crate) fn retry(&mut self, key: Key, now: Timestamp) {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(20));
        *failures += 1;
        let time = now.saturating_add(pause.min(LONGEST_PAUSE));
        self.add_at(key, time.unwrap_or(Timestamp::MAX));
    }

    pub(super) fn succeeded(&mut self, key: &Key) {
        if !self.failures.is_empty() {
            self.failures.remove(key);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        Some(key)
    }

    /// Makes what is due by now ready.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some(Reverse((time, _))) = self.later.peek() {
            if *time > now {
                return;
            }
            let Some(Reverse((time, key))) = self.later.pop() else {
                return;
            };
            // An entry that an earlier one replaced has been looked at already.
            if self.due.get(&key) == Some(&time) {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.later.peek().map(|Reverse((time, _))| *time)
    }
}

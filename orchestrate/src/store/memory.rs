//! A store in memory.

use super::history::Cursor;
use super::state::State;
use super::{Change, List, Revision, Scope, Store, Watch, Write};
use crate::clock::Clock;
use crate::error::Result;
use crate::object::{Key, Object};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Objects in memory, gone with the process.
///
/// Two stores with the same seed that see the same writes at the same times hold the same objects, uids included.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore::with_seed(clock, 0)
    }

    /// An empty store whose uids and generated names follow from a seed.
    pub fn with_seed(clock: Arc<dyn Clock>, seed: u64) -> MemoryStore {
        MemoryStore {
            clock,
            state: Arc::new(Mutex::new(State::new(seed))),
        }
    }
}

impl Store for MemoryStore {
    fn read(&self, key: &Key) -> Result<Object> {
        lock(&self.state).read(key)
    }

    fn list(&self, scope: &Scope) -> Result<List> {
        Ok(lock(&self.state).list(scope))
    }

    fn write(&self, writes: Vec<Write>) -> Vec<Result<Object>> {
        let now = self.clock.now();
        let mut wakers = Vec::new();
        let mut state = lock(&self.state);
        let mut write = |write| {
            let effect = state.apply(write, now)?;
            if let Some(change) = effect.change {
                wakers.extend(state.publish(&effect.key, change));
            }
            Ok(effect.result)
        };
        let results = writes.into_iter().map(&mut write).collect();
        // A woken thread may read at once: it must not find the lock held.
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        results
    }

    fn watch(&self, scope: &Scope, after: Revision) -> Result<Box<dyn Watch>> {
        Subscription::open(self.state.clone(), scope, after)
    }
}

/// A watch on a [`State`].
#[derive(Debug)]
pub(super) struct Subscription {
    state: Arc<Mutex<State>>,
    scope: Scope,
    cursor: Cursor,
}

impl Subscription {
    pub(super) fn open(
        state: Arc<Mutex<State>>,
        scope: &Scope,
        after: Revision,
    ) -> Result<Box<dyn Watch>> {
        let cursor = lock(&state).history(&scope.kind).reader(after)?;
        Ok(Box::new(Subscription {
            state,
            scope: scope.clone(),
            cursor,
        }))
    }
}

impl Watch for Subscription {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Change>>> {
        let mut state = lock(&self.state);
        let history = state.history(&self.scope.kind);
        loop {
            let mut changes = match history.read(&self.cursor, context.waker()) {
                Ok(changes) if changes.is_empty() => return Poll::Pending,
                Ok(changes) => changes,
                Err(error) => return Poll::Ready(Err(error)),
            };
            changes.retain(|change| self.scope.contains(change.object()));
            if !changes.is_empty() {
                return Poll::Ready(Ok(changes));
            }
        }
    }
}

/// The state behind its lock. Every change to it is complete before anything can panic, so a poisoned lock is no harm.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::store::conformance;

    #[test]
    fn keeps_the_contract() {
        conformance::run(|| MemoryStore::new(Arc::new(VirtualClock::new())));
    }
}

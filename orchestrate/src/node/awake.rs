//! Which of many event streams have something to say, so that a thousand quiet ones cost nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The names of those that were woken.
#[derive(Debug, Default)]
pub(super) struct Awake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    woken: BTreeSet<Arc<str>>,
    outer: Option<Waker>,
}

impl Awake {
    /// A waker that notes a name.
    pub(super) fn waker(self: &Arc<Self>, name: &Arc<str>) -> Waker {
        struct One(Arc<Awake>, Arc<str>);
        impl Wake for One {
            fn wake(self: Arc<Self>) {
                self.0.add(self.1.clone());
            }
        }
        Arc::new(One(self.clone(), name.clone())).into()
    }

    pub(super) fn add(&self, name: Arc<str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.woken.insert(name);
        let outer = state.outer.take();
        drop(state);
        if let Some(outer) = outer {
            outer.wake();
        }
    }

    /// Those that were woken since the last call; the waker is woken when there are more.
    pub(super) fn take(&self, waker: &Waker) -> BTreeSet<Arc<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outer = Some(waker.clone());
        std::mem::take(&mut state.woken)
    }
}

//! The control loop: what keeps the world as it was declared.
//!
//! A [`Controller`] looks after one thing. It says which of its objects a change concerns, and brings one object at a time
//! nearer to what it should be. [`ControlLoop`] feeds it: from the store's watches it keeps a [`View`] of all objects, hands
//! changes around and lets time pass. Nothing is polled: while nothing changes and nothing is due, nothing runs.
//!
//! ```
//! use ampoule_orchestrate::clock::VirtualClock;
//! use ampoule_orchestrate::control::ControlLoop;
//! use ampoule_orchestrate::{controllers, manifest};
//! use ampoule_orchestrate::object::Builtin;
//! use ampoule_orchestrate::store::{MemoryStore, Scope, Store, Write};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), ampoule_orchestrate::Error> {
//! let clock = Arc::new(VirtualClock::new());
//! let store = Arc::new(MemoryStore::new(clock.clone()));
//! let mut control = ControlLoop::new(store.clone(), clock);
//! control.add(controllers::ReplicaSets::default());
//!
//! for object in manifest::read("web.yaml", "
//! apiVersion: apps/v1
//! kind: ReplicaSet
//! metadata: {name: web}
//! spec:
//!   replicas: 3
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec: {containers: [{name: web, image: 'web:1'}]}
//! ")? {
//!     store.write_one(Write::Create(object))?;
//! }
//! control.pump()?;
//! assert_eq!(store.list(&Scope::all(Builtin::Pod))?.objects.len(), 3);
//! # Ok(())
//! # }
//! ```

mod queue;
mod run;
mod view;
mod world;

pub use queue::Queue;
pub use run::ControlLoop;
pub use view::View;
pub(crate) use view::node_of;
pub use world::{Record, World};

use crate::error::Result;
use crate::object::{Key, Kind, Object};
use jiff::Timestamp;
use std::task::Context;

/// Something that looks after one kind of thing.
///
/// # Contract
/// - [`reconcile`](Controller::reconcile) decides by the view alone, not by what happened: the same view gives the same writes,
///   and when all is as it should be it writes nothing. So a crash between two writes, a repeated or a missed change is harmless.
/// - It does not wait. What must wait returns [`Next::At`].
pub trait Controller: Send {
    /// A name for people.
    fn name(&self) -> &'static str;

    /// The kinds whose changes it wants to hear of.
    fn kinds(&self) -> Vec<Kind>;

    /// Says which keys a change concerns. `before` is the object as it was, `after` as it is now; one of them may be missing.
    fn concerns(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        view: &View,
        queue: &mut Queue,
    );

    /// Brings what belongs to a key nearer to what it should be.
    ///
    /// # Errors
    /// A write failed: the key comes again, at once after a conflict, else after a while.
    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next>;

    /// Takes in what happened outside of the store, and keeps the waker for more of it.
    fn poll(&mut self, _context: &mut Context<'_>, _now: Timestamp, _queue: &mut Queue) {}

    /// Ends a round: all keys that were waiting have been reconciled. What was put off to be written together is written now.
    ///
    /// # Errors
    /// A write failed.
    fn finish(&mut self, _world: &mut World<'_>, _queue: &mut Queue) -> Result<()> {
        Ok(())
    }
}

/// When a key is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Change,
    /// At this time, or when something changes.
    At(Timestamp),
}

impl Next {
    /// The earlier of two.
    #[must_use]
    pub fn or(self, other: Next) -> Next {
        match (self, other) {
            (Next::At(a), Next::At(b)) => Next::At(a.min(b)),
            (Next::Change, next) | (next, Next::Change) => next,
        }
    }
}

impl From<Option<Timestamp>> for Next {
    fn from(time: Option<Timestamp>) -> Next {
        time.map_or(Next::Change, Next::At)
    }
}

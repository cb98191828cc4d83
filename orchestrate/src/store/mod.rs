//! Where objects are kept: written with care for each other's changes, and watched.
//!
//! [`Store`] is the contract, [`MemoryStore`] keeps it in memory, `DiskStore` also across a crash; [`conformance`] is a test
//! of the contract that any implementation can call.
//!
//! ```
//! use ampoule_orchestrate::clock::VirtualClock;
//! use ampoule_orchestrate::store::{Change, MemoryStore, Revision, Scope, Store, Write, drain};
//! use ampoule_orchestrate::object::Builtin;
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), ampoule_orchestrate::Error> {
//! let store = MemoryStore::new(Arc::new(VirtualClock::new()));
//! let mut watch = store.watch(&Scope::all(Builtin::ConfigMap), Revision::START)?;
//!
//! let mut map = ConfigMap::default();
//! map.metadata.name = Some("settings".into());
//! map.metadata.namespace = Some("default".into());
//! let stored = store.write_one(Write::Create(map.into()))?;
//! assert!(!stored.uid().is_empty());
//!
//! let changes = drain(&mut *watch)?;
//! assert!(matches!(&changes[..], [Change::Added(object)] if *object == stored));
//! # Ok(())
//! # }
//! ```

pub mod conformance;
mod history;
mod memory;
mod rules;
mod state;

pub use memory::MemoryStore;
pub(crate) use rules::{FOREGROUND, ORPHAN};

use crate::error::Result;
use crate::object::{Key, Kind, Object};
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A point in a store's history. Every write makes a later one.
///
/// Comparable within one store and one kind; a cluster behind a network promises no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const START: Revision = Revision(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Their kind.
    pub kind: Kind,
    /// Their namespace; all namespaces when it is not given.
    pub namespace: Option<Arc<str>>,
}

impl Scope {
    /// Every object of a kind.
    pub fn all(kind: impl Into<Kind>) -> Scope {
        Scope {
            kind: kind.into(),
            namespace: None,
        }
    }

    /// The objects of a kind in one namespace.
    pub fn namespace(kind: impl Into<Kind>, namespace: &str) -> Scope {
        Scope {
            kind: kind.into(),
            namespace: Some(namespace.into()),
        }
    }

    pub(crate) fn contains(&self, object: &Object) -> bool {
        let namespace = self.namespace.as_deref();
        namespace.is_none_or(|namespace| namespace == object.namespace())
    }
}

/// What a list found, and the revision from which a watch continues it without a gap.
#[derive(Clone, Debug)]
pub struct List {
    /// The objects, sorted by namespace and name.
    pub objects: Vec<Object>,
    /// The store's revision at which they were read.
    pub revision: Revision,
}

/// One change to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Write {
    /// Adds an object. With a `generateName` and no name, the store completes the name.
    Create(Object),
    /// Replaces everything but the status. With a `resourceVersion`, only if the stored object still has it.
    Update(Object),
    /// Replaces the status only, under the same condition. Kinds without a status are replaced whole.
    Status(Object),
    /// Places a pod that has no node yet on one.
    Bind {
        /// The pod.
        pod: Key,
        /// The pod's uid, so that a successor of the same name is not placed by mistake; any when it is empty.
        uid: Arc<str>,
        /// The name of the node.
        node: Arc<str>,
    },
    /// Asks for an object to go.
    Delete(Key, Deletion),
}

/// How an object is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// How long a pod may take to end, in seconds; what the pod says when it is not given; zero removes it at once.
    pub grace: Option<i64>,
    /// What happens to what the object owns.
    pub propagation: Propagation,
}

/// What happens to the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// The owner goes at once, what it owns is collected afterwards.
    #[default]
    Background,
    /// What is owned goes first (finalizer `foregroundDeletion`).
    Foreground,
    /// What is owned stays, without an owner (finalizer `orphan`).
    Orphan,
}

/// One change that was made.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object appeared.
    Added(Object),
    /// An object changed; this is its new form.
    Modified(Object),
    /// An object is gone; this is its last form, at the revision of its deletion.
    Deleted(Object),
}

impl Change {
    /// The object that the change is about.
    pub fn object(&self) -> &Object {
        match self {
            Change::Added(object) | Change::Modified(object) | Change::Deleted(object) => object,
        }
    }

    /// The revision that the change made.
    pub fn revision(&self) -> Revision {
        self.object().revision()
    }
}

/// A place where objects are kept.
///
/// # Contract
/// An implementation keeps what the Kubernetes API server promises its controllers:
/// - A write is checked against the object's latest form: an [`Update`](Write::Update) or [`Status`](Write::Status) that
///   carries a `resourceVersion` or a `uid` other than the stored one fails with a conflict and changes nothing.
/// - What [`write`](Store::write) has returned as done is not lost, as far as the implementation keeps anything at all.
/// - It assigns `uid`, `resourceVersion`, `creationTimestamp` and `generation`, and nobody else does. The generation counts
///   the changes of what should be, not those of the status.
/// - A deleted object that has finalizers, and a pod that runs on a node, stays with a `deletionTimestamp` until the last
///   finalizer is removed and the pod is deleted with a grace of zero.
/// - A watch yields every change after its revision exactly once, in the order of the revisions of that kind. When the history
///   it needs is gone it says [`Expired`](crate::ErrorKind::Expired), never skips.
/// - A write that changes nothing makes no revision.
///
/// The methods may block (a disk, a network); under an async runtime, call them where that is allowed.
pub trait Store: Send + Sync + Debug {
    /// The object with this key, as it is now.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none.
    fn read(&self, key: &Key) -> Result<Object>;

    /// The objects of a kind, as they are now.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn list(&self, scope: &Scope) -> Result<List>;

    /// Makes changes, in order, each by itself: one that fails does not undo the others. Handing in many at once is how
    /// they share the cost of being made durable.
    ///
    /// The result has one entry a write: the object as it is stored now, or as it was last when it was deleted.
    fn write(&self, writes: Vec<Write>) -> Vec<Result<Object>>;

    /// Watches a kind for changes after a revision.
    ///
    /// # Errors
    /// [`Expired`](crate::ErrorKind::Expired) if changes after that revision are no longer known.
    fn watch(&self, scope: &Scope, after: Revision) -> Result<Box<dyn Watch>>;

    /// Makes one change.
    ///
    /// # Errors
    /// As [`write`](Store::write).
    fn write_one(&self, write: Write) -> Result<Object> {
        let mut results = self.write(vec![write]);
        results.pop().unwrap_or_else(|| {
            Err(crate::Error::Unavailable {
                what: "the store".to_owned(),
                why: "it answered no result for a write".to_owned(),
            })
        })
    }
}

/// A stream of changes.
pub trait Watch: Send + Debug {
    /// The changes since the last call, never none: while there are none, the waker is kept and woken when there are.
    ///
    /// # Errors
    /// [`Expired`](crate::ErrorKind::Expired): list again and watch from there. The watch is over then.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Change>>>;
}

/// The changes that a watch holds now, without waiting.
///
/// # Errors
/// As [`Watch::poll`].
pub fn drain(watch: &mut dyn Watch) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(more) = watch.poll(&mut context) {
        changes.extend(more?);
    }
    Ok(changes)
}

//! What a controller works with: the view to decide by, and the store to write to.

use super::View;
use crate::error::Result;
use crate::object::{Key, Object, Typed};
use crate::store::{Change, Deletion, Store, Write};
use jiff::Timestamp;
use std::sync::Arc;

/// Something worth telling people about an object, as `kubectl describe` shows under *Events*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub time: Timestamp,
    /// Who noticed.
    pub source: &'static str,
    /// About what.
    pub about: Key,
    /// A word: `ScalingReplicaSet`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What a controller works with.
///
/// What it writes shows in its view at once, so it never acts twice on the same want.
#[derive(Debug)]
pub struct World<'w> {
    pub(super) source: &'static str,
    pub(super) store: &'w dyn Store,
    pub(super) view: &'w mut View,
    pub(super) now: Timestamp,
    /// The changes made here that the controllers have not heard of yet: before and after.
    pub(super) news: &'w mut Vec<(Option<Object>, Option<Object>)>,
    pub(super) records: &'w mut Vec<Record>,
}

impl World<'_> {
    /// All objects.
    pub fn view(&self) -> &View {
        self.view
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Tells people something.
    pub fn record(&mut self, about: Key, reason: &'static str, message: impl Into<String>) {
        self.records.push(Record {
            time: self.now,
            source: self.source,
            about,
            reason,
            message: message.into(),
        });
    }

    /// Makes changes.
    pub fn write_all(&mut self, writes: Vec<Write>) -> Vec<Result<Object>> {
        let existed: Vec<bool> = writes
            .iter()
            .map(|w| !matches!(w, Write::Create(_)))
            .collect();
        let deletes: Vec<bool> = writes
            .iter()
            .map(|w| !matches!(w, Write::Create(_) | Write::Bind { .. }))
            .collect();
        let results = self.store.write(writes);
        for ((result, existed), may_delete) in results.iter().zip(existed).zip(deletes) {
            if let Ok(object) = result {
                self.learn(object, existed, may_delete);
            }
        }
        results
    }

    /// Makes a change.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn write(&mut self, write: Write) -> Result<Object> {
        let existed = !matches!(write, Write::Create(_));
        let may_delete = !matches!(write, Write::Create(_) | Write::Bind { .. });
        let object = self.store.write_one(write)?;
        self.learn(&object, existed, may_delete);
        Ok(object)
    }

    /// Adds an object.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn create(&mut self, object: impl Into<Object>) -> Result<Object> {
        self.write(Write::Create(object.into()))
    }

    /// Replaces all but the status, if the object is as the view shows it.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn update<T: Typed>(&mut self, object: T) -> Result<Object> {
        self.write(Write::Update(Arc::new(object).into_object()))
    }

    /// Replaces the status, if the object is as the view shows it.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn update_status<T: Typed>(&mut self, object: T) -> Result<Object> {
        self.write(Write::Status(Arc::new(object).into_object()))
    }

    /// Asks for an object to go: only this one, not a successor of its name. One that is gone already is no error.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn delete(&mut self, key: Key, uid: &str) -> Result<()> {
        let deletion = Deletion {
            uid: Some(uid.to_owned()),
            ..Deletion::default()
        };
        match self.write(Write::Delete(key, deletion)) {
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        }
    }

    /// Shows in the view what was written, and keeps it to be told around.
    fn learn(&mut self, object: &Object, existed: bool, may_delete: bool) {
        // An object that could be gone is gone if its deletion was what made its last revision.
        let gone = may_delete && is_ended(object);
        let (before, after) = if gone {
            (self.view.bury(object), None)
        } else {
            let change = match existed {
                true => Change::Modified(object.clone()),
                false => Change::Added(object.clone()),
            };
            match self.view.apply(&change) {
                Ok(before) => (before, Some(object.clone())),
                Err(()) => return,
            }
        };
        if before.is_some() || after.is_some() {
            self.news.push((before, after));
        }
    }
}

/// Whether a stored object that comes back like this has been removed: nothing holds it any more.
fn is_ended(object: &Object) -> bool {
    let meta = object.meta();
    meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && meta.finalizers.as_deref().unwrap_or_default().is_empty()
}

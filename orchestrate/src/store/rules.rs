//! What a write does to an object: the API server's rules, as functions from the old form to the new.
//!
//! Source: `k8s.io/apiserver/pkg/registry/rest` (`BeforeCreate`, `BeforeUpdate`, `BeforeDelete`) and the API conventions,
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md>.

use super::{Deletion, Propagation, Revision};
use crate::clock::{after, whole_seconds};
use crate::error::{Error, Result};
use crate::object::{Key, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// The finalizer that keeps an owner until what it owns is gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that keeps an owner until what it owned has been released.
pub(crate) const ORPHAN: &str = "orphan";

/// What a write becomes in the store.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object is stored in this form.
    Put(Object),
    /// The object is gone; this was its last form.
    Gone(Object),
    /// Nothing changes; the object is stored like this.
    Same(Object),
}

/// When and as what a write is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub now: Timestamp,
    pub revision: Revision,
}

impl Stamp {
    fn mark(self, object: &mut Object) {
        object.meta_mut().resource_version = Some(self.revision.0.to_string());
    }
}

pub(super) fn create(mut object: Object, uid: String, stamp: Stamp) -> Object {
    let generation = object.has_spec().then_some(1);
    let meta = object.meta_mut();
    meta.uid = Some(uid);
    meta.creation_timestamp = Some(Time(whole_seconds(stamp.now)));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.generation = generation;
    stamp.mark(&mut object);
    object
}

pub(super) fn update(old: &Object, mut new: Object, stamp: Stamp) -> Result<Outcome> {
    check_version(old, &new)?;
    new.adopt_status(old);
    keep_identity(old, &mut new);
    if !new.same_spec(old) {
        new.meta_mut().generation = old.meta().generation.map(|generation| generation + 1);
    }
    Ok(finish(old, new, stamp))
}

pub(super) fn status(old: &Object, new: Object, stamp: Stamp) -> Result<Outcome> {
    check_version(old, &new)?;
    let mut merged = old.clone();
    if !merged.adopt_status(&new) {
        return update(old, new, stamp);
    }
    Ok(finish(old, merged, stamp))
}

pub(super) fn bind(old: &Object, uid: &str, node: &str, stamp: Stamp) -> Result<Outcome> {
    let conflict = |why: String| Error::Conflict {
        key: old.key(),
        why,
    };
    let Object::Pod(pod) = old else {
        return Err(Error::Unsupported(format!("binding a {}", old.kind())));
    };
    if !uid.is_empty() && uid != old.uid() {
        return Err(uid_conflict(old, uid));
    }
    if old.is_terminating() {
        let name = old.name();
        return Err(conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        )));
    }
    let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if let Some(other) = assigned.filter(|name| !name.is_empty()) {
        let name = old.name();
        return Err(conflict(format!(
            "pod {name} is already assigned to node \"{other}\""
        )));
    }
    let mut pod = Pod::clone(pod);
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    let scheduled = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(whole_seconds(stamp.now))),
        ..PodCondition::default()
    };
    let status = pod.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != scheduled.type_);
    conditions.push(scheduled);
    Ok(finish(old, Object::Pod(Arc::new(pod)), stamp))
}

pub(super) fn delete(old: &Object, deletion: &Deletion, stamp: Stamp) -> Result<Outcome> {
    if let Some(uid) = deletion.uid.as_deref().filter(|uid| *uid != old.uid()) {
        return Err(uid_conflict(old, uid));
    }
    let mut marked = old.clone();
    let grace = grace(old, deletion);
    mark_for_propagation(&mut marked, deletion.propagation);
    let meta = marked.meta_mut();
    // A second deletion may shorten the time that a pod has, never lengthen it.
    let shorter = meta
        .deletion_grace_period_seconds
        .is_none_or(|earlier| grace < earlier);
    if meta.deletion_timestamp.is_none() || shorter {
        meta.deletion_timestamp = Some(Time(after(whole_seconds(stamp.now), grace)));
        meta.deletion_grace_period_seconds = Some(grace);
    }
    Ok(finish(old, marked, stamp))
}

/// How long the object has to end by itself: only a pod that runs on a node has any time.
fn grace(object: &Object, deletion: &Deletion) -> i64 {
    let Object::Pod(pod) = object else { return 0 };
    let spec = pod.spec.as_ref();
    let placed = spec.and_then(|spec| spec.node_name.as_deref());
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if placed.is_none_or(str::is_empty) || matches!(phase, Some("Succeeded" | "Failed")) {
        return 0;
    }
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    deletion.grace.or(own).unwrap_or(30).max(0)
}

fn mark_for_propagation(object: &mut Object, propagation: Propagation) {
    let finalizer = match propagation {
        Propagation::Background => return,
        Propagation::Foreground => FOREGROUND,
        Propagation::Orphan => ORPHAN,
    };
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
}

/// Decides whether the new form is stored, ends the object, or is the old one.
fn finish(old: &Object, mut new: Object, stamp: Stamp) -> Outcome {
    new.meta_mut().resource_version = old.meta().resource_version.clone();
    let meta = new.meta();
    let held = !meta.finalizers.as_deref().unwrap_or_default().is_empty();
    let ended = meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !held;
    if !ended && new == *old {
        return Outcome::Same(new);
    }
    stamp.mark(&mut new);
    match ended {
        true => Outcome::Gone(new),
        false => Outcome::Put(new),
    }
}

fn check_version(old: &Object, new: &Object) -> Result<()> {
    let version = new.meta().resource_version.as_deref();
    if version.is_some_and(|version| old.meta().resource_version.as_deref() != Some(version)) {
        return Err(Error::stale(old.key()));
    }
    if !new.uid().is_empty() && new.uid() != old.uid() {
        return Err(uid_conflict(old, new.uid()));
    }
    Ok(())
}

fn uid_conflict(old: &Object, asked: &str) -> Error {
    let key: Key = old.key();
    let uid = old.uid();
    let why =
        format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}");
    Error::Conflict { key, why }
}

/// What the store assigned stays as the store assigned it.
fn keep_identity(old: &Object, new: &mut Object) {
    let kept = old.meta().clone();
    let meta = new.meta_mut();
    meta.uid = kept.uid;
    meta.creation_timestamp = kept.creation_timestamp;
    meta.deletion_timestamp = kept.deletion_timestamp;
    meta.deletion_grace_period_seconds = kept.deletion_grace_period_seconds;
    meta.generation = kept.generation;
    meta.generate_name = kept.generate_name;
    meta.self_link = None;
}

//! Garbage: what is owned by something that is gone, goes too.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use crate::control::{Controller, Next, Queue, View, World};
use crate::error::Result;
use crate::object::{Key, Kind, Object};
use crate::store::{Deletion, FOREGROUND, ORPHAN, Propagation, Write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Deletes what has lost its owners, and completes deletions that wait for what is owned.
#[derive(Debug)]
pub struct Garbage {
    kinds: Vec<Kind>,
}

impl Garbage {
    /// Looks after the built-in kinds, and those that are given too.
    pub fn new(custom: impl IntoIterator<Item = Kind>) -> Garbage {
        Garbage {
            kinds: Kind::builtins().chain(custom).collect(),
        }
    }

    /// The object that a reference means, if it is still there.
    fn owner<'v>(
        &self,
        view: &'v View,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Option<&'v Object> {
        let kind = self.kinds.iter().find(|kind| kind.name() == owner.kind)?;
        let key = Key::new(kind.clone(), namespace, &owner.name);
        view.object(&key).filter(|object| object.uid() == owner.uid)
    }

    fn knows(&self, owner: &OwnerReference) -> bool {
        self.kinds.iter().any(|kind| kind.name() == owner.kind)
    }
}

impl Default for Garbage {
    fn default() -> Garbage {
        Garbage::new([])
    }
}

impl Controller for Garbage {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn kinds(&self) -> Vec<Kind> {
        self.kinds.clone()
    }

    fn concerns(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        view: &View,
        queue: &mut Queue,
    ) {
        match (before, after) {
            // New: its owner may be gone already. Ending: what it owns may have to go first.
            (None, Some(object)) if object.owner_uids().next().is_some() => queue.add(object.key()),
            (_, Some(object)) if object.is_terminating() => queue.add(object.key()),
            (Some(object), None) => {
                let owned = view.dependents(object.uid());
                owned.for_each(|dependent| queue.add(dependent.key()));
                for owner in object.meta().owner_references.iter().flatten() {
                    if let Some(owner) = self.owner(view, object.namespace(), owner)
                        && owner.is_terminating()
                    {
                        queue.add(owner.key());
                    }
                }
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let Some(object) = world.view().object(key).cloned() else {
            return Ok(Next::Change);
        };
        if object.is_terminating() {
            complete_deletion(&object, world)?;
        } else if self.is_abandoned(&object, world.view()) {
            world.delete(key.clone(), object.uid())?;
        }
        Ok(Next::Change)
    }
}

impl Garbage {
    /// Whether an object has owners and none of them is there any more. An owner of a kind that is not watched is believed in.
    fn is_abandoned(&self, object: &Object, view: &View) -> bool {
        let owners = object
            .meta()
            .owner_references
            .as_deref()
            .unwrap_or_default();
        let namespace = object.namespace();
        let alive = |owner: &OwnerReference| {
            !self.knows(owner) || self.owner(view, namespace, owner).is_some()
        };
        !owners.is_empty() && !owners.iter().any(alive)
    }
}

/// Does what the finalizers of the garbage collector ask for, and takes them off.
fn complete_deletion(object: &Object, world: &mut World<'_>) -> Result<()> {
    let finalizers = object.meta().finalizers.as_deref().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    let (orphan, foreground) = (has(ORPHAN), has(FOREGROUND));
    if !orphan && !foreground {
        return Ok(());
    }
    let owned: Vec<Object> = world.view().dependents(object.uid()).cloned().collect();
    if orphan {
        for mut dependent in owned {
            let owners = dependent
                .meta_mut()
                .owner_references
                .get_or_insert_default();
            owners.retain(|owner| owner.uid != object.uid());
            world.write(Write::Update(dependent))?;
        }
    } else {
        let mut waiting = false;
        for dependent in owned {
            let owners = dependent.meta().owner_references.iter().flatten();
            let mut mine = owners.filter(|owner| owner.uid == object.uid());
            waiting |= mine.any(|owner| owner.block_owner_deletion == Some(true));
            if !dependent.is_terminating() {
                let deletion = Deletion {
                    uid: Some(dependent.uid().to_owned()),
                    propagation: Propagation::Foreground,
                    ..Deletion::default()
                };
                world.write(Write::Delete(dependent.key(), deletion))?;
            }
        }
        // What was deleted at once is gone from the view already; what takes its time calls again when it is gone.
        if waiting && world.view().dependents(object.uid()).next().is_some() {
            return Ok(());
        }
    }
    let Some(mut released) = world.view().object(&object.key()).cloned() else {
        return Ok(());
    };
    let finalizers = released.meta_mut().finalizers.get_or_insert_default();
    finalizers.retain(|name| name != ORPHAN && name != FOREGROUND);
    world.write(Write::Update(released)).map(drop)
}

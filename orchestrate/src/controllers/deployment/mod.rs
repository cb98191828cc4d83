//! Deployments: a set of pods that moves from one template to the next without a gap.
//!
//! Each template has a ReplicaSet; a roll-out moves the numbers from the old ones to the new, within what `maxSurge` and
//! `maxUnavailable` allow. The rules are those of
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>.

mod history;
mod progress;
mod rollout;

pub use history::{ROLLBACK, undo};
pub use rollout::{Bounds, bounds};

use super::{add_owners, selector};
use crate::control::{Controller, Next, Queue, View, World};
use crate::error::Result;
use crate::object::{Builtin, Key, Kind, Object, is_controlled_by};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use std::sync::Arc;

/// Rolls out deployments.
#[derive(Debug, Default)]
pub struct Deployments {}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![
            Builtin::Deployment.into(),
            Builtin::ReplicaSet.into(),
            Builtin::Pod.into(),
        ]
    }

    fn concerns(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        view: &View,
        queue: &mut Queue,
    ) {
        let Some(object) = after.or(before) else {
            return;
        };
        match object {
            Object::Deployment(_) => queue.add(object.key()),
            Object::ReplicaSet(_) => add_owners(before, after, Builtin::Deployment, queue),
            // A strategy of `Recreate` waits until the last old pod is gone.
            Object::Pod(pod) if after.is_none() => {
                let owner = crate::object::controller_of(&pod.metadata);
                let name = owner.map(|owner| owner.name.as_str()).unwrap_or_default();
                if let Some(set) = view.find::<ReplicaSet>(object.namespace(), name) {
                    let set = Object::ReplicaSet(set.clone());
                    add_owners(None, Some(&set), Builtin::Deployment, queue);
                }
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let found = world.view().find::<Deployment>(&key.namespace, &key.name);
        let Some(deployment) = found.cloned() else {
            return Ok(Next::Change);
        };
        let Some(spec) = &deployment.spec else {
            return Ok(Next::Change);
        };
        if selector(&spec.selector).is_none() || deployment.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let sets = Sets::find(&deployment, world.view());
        let paused = spec.paused == Some(true);
        let sets = if paused {
            sets
        } else {
            history::ensure_current(&deployment, sets, world)?
        };
        if paused || rollout::is_scaling(&sets, spec) {
            rollout::scale_all(&deployment, &sets, world)?;
        } else if is_recreate(spec) {
            rollout::recreate(&deployment, &sets, world)?;
        } else {
            rollout::roll(&deployment, &sets, world)?;
        }
        let sets = Sets::find(&deployment, world.view());
        history::forget_old(&deployment, &sets, world)?;
        progress::report(&deployment, &sets, world)
    }
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    let strategy = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref());
    strategy == Some("Recreate")
}

/// The ReplicaSets of a deployment.
#[derive(Debug)]
struct Sets {
    /// The one of the present template, once it is there.
    current: Option<Arc<ReplicaSet>>,
    /// The others, the oldest first.
    old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    fn find(deployment: &Deployment, view: &View) -> Sets {
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let owned = view.owned_by::<ReplicaSet>(uid);
        let mine = owned.filter(|set| is_controlled_by(&set.metadata, uid));
        let mut old: Vec<Arc<ReplicaSet>> = mine.cloned().collect();
        old.sort_by_cached_key(|set| {
            (
                set.metadata.creation_timestamp.clone(),
                history::revision(set),
                set.metadata.name.clone(),
            )
        });
        let wanted = deployment.spec.as_ref().map(|spec| &spec.template);
        let same =
            |set: &Arc<ReplicaSet>| wanted.is_some_and(|t| history::is_same_template(set, t));
        let current = old.iter().position(same).map(|at| old.remove(at));
        Sets { current, old }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.current)
    }
}

/// How many pods a ReplicaSet is to have.
fn wanted(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// How many of its pods are available.
fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

/// How many pods it has.
fn present(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Adds a number up over several sets.
fn sum<'s>(
    sets: impl IntoIterator<Item = &'s Arc<ReplicaSet>>,
    number: fn(&ReplicaSet) -> i32,
) -> i32 {
    sets.into_iter().map(|set| number(set)).sum()
}

//! ReplicaSets: so many pods of a template, no more and no fewer.

use super::pods::{self, Census};
use super::{add_owners, selector, selects};
use crate::control::{Controller, Next, Queue, View, World};
use crate::error::Result;
use crate::object::{Builtin, Key, Kind, Object, controller_of, is_controlled_by, owner_reference};
use crate::selector::Selector;
use crate::store::Write;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Keeps as many pods as each ReplicaSet asks for.
#[derive(Debug, Default)]
pub struct ReplicaSets {}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![Builtin::ReplicaSet.into(), Builtin::Pod.into()]
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
            Object::ReplicaSet(_) => queue.add(object.key()),
            Object::Pod(pod) if controller_of(&pod.metadata).is_none() => {
                for set in view.in_namespace::<ReplicaSet>(object.namespace()) {
                    let wanted = set.spec.as_ref().and_then(|spec| selector(&spec.selector));
                    if selects(wanted.as_ref(), pod.metadata.labels.as_ref()) {
                        queue.add(Object::ReplicaSet(set.clone()).key());
                    }
                }
            }
            _ => add_owners(before, after, Builtin::ReplicaSet, queue),
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let found = world.view().find::<ReplicaSet>(&key.namespace, &key.name);
        let Some(set) = found.cloned() else {
            return Ok(Next::Change);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::Change);
        };
        let uid = set.metadata.uid.clone().unwrap_or_default();
        if set.metadata.deletion_timestamp.is_none() {
            adopt(&set, selector(&spec.selector).as_ref(), world)?;
            scale(&set, &uid, key, world)?;
        }
        report(&set, &uid, world)
    }
}

/// Takes pods that match and belong to nobody, and lets go of its own that match no longer.
fn adopt(set: &Arc<ReplicaSet>, wanted: Option<&Selector>, world: &mut World<'_>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let orphan = |pod: &&Arc<Pod>| controller_of(&pod.metadata).is_none() && pods::is_active(pod);
    let matching = world.view().pods_matching(&namespace, wanted);
    let orphans: Vec<Arc<Pod>> = matching.filter(orphan).cloned().collect();
    for pod in orphans {
        let mut pod = Pod::clone(&pod);
        let owners = pod.metadata.owner_references.get_or_insert_default();
        owners.push(owner_reference(&**set));
        world.update(pod)?;
    }
    let strange = |pod: &&Arc<Pod>| {
        is_controlled_by(&pod.metadata, uid) && !selects(Some(wanted), pod.metadata.labels.as_ref())
    };
    let owned = world.view().owned_by::<Pod>(uid);
    let strangers: Vec<Arc<Pod>> = owned.filter(strange).cloned().collect();
    for pod in strangers {
        let mut pod = Pod::clone(&pod);
        let owners = pod.metadata.owner_references.get_or_insert_default();
        owners.retain(|owner| owner.uid != uid);
        world.update(pod)?;
    }
    Ok(())
}

fn scale(set: &Arc<ReplicaSet>, uid: &str, key: &Key, world: &mut World<'_>) -> Result<()> {
    let Some(spec) = &set.spec else { return Ok(()) };
    let mut active = pods::controlled(world.view(), uid);
    active.retain(|pod| pods::is_active(pod));
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    if active.len() < wanted {
        let Some(template) = &spec.template else {
            return Ok(());
        };
        let mut pod = pods::from_template(template, &**set);
        pod.metadata.generate_name = Some(format!("{}-", key.name));
        let missing = wanted - active.len();
        let writes = vec![Write::Create(pod.into()); missing];
        return pods::all(world.write_all(writes));
    }
    let surplus = active.len() - wanted;
    for pod in pods::most_dispensable_first(active)
        .into_iter()
        .take(surplus)
    {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        world.delete(Object::Pod(pod).key(), &uid)?;
    }
    Ok(())
}

fn report(set: &Arc<ReplicaSet>, uid: &str, world: &mut World<'_>) -> Result<Next> {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let owned: Vec<Arc<Pod>> = pods::controlled(world.view(), uid);
    let census = Census::of(owned.iter(), min_ready.unwrap_or(0), world.now());
    let spec = set.spec.as_ref();
    let labels = spec.and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone());
    let full = labels.map(|labels| Selector::exactly(&labels));
    let fully = |pod: &&Arc<Pod>| {
        pods::is_active(pod) && selects(full.as_ref(), pod.metadata.labels.as_ref())
    };
    let status = ReplicaSetStatus {
        replicas: census.active,
        fully_labeled_replicas: Some(
            i32::try_from(owned.iter().filter(fully).count()).unwrap_or(i32::MAX),
        ),
        ready_replicas: Some(census.ready),
        available_replicas: Some(census.available),
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    };
    if set.status.as_ref() != Some(&status) {
        let mut changed = ReplicaSet::clone(set);
        changed.status = Some(status);
        world.update_status(changed)?;
    }
    Ok(census.next.into())
}

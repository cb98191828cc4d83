//! Templates that were, are, and may be again.

use super::{Sets, present, rollout, sum, wanted};
use crate::control::World;
use crate::controllers::short_hash;
use crate::error::{Error, Result};
use crate::object::{Builtin, Key, Object, is_controlled_by, owner_reference};
use crate::store::{Scope, Store, Write};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use std::sync::Arc;

/// The annotation that numbers the templates of a deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label that tells the pods of one template from those of another.
const HASH: &str = "pod-template-hash";
/// The annotation on a deployment that asks for its last complete revision when a roll-out misses its deadline: `"true"`.
///
/// Kubernetes has no such option; there the annotation has no effect.
pub const ROLLBACK: &str = "orchestrate.ampoule.dev/rollback-on-deadline";
/// The annotation on a ReplicaSet that was rolled out completely once.
const PROVEN: &str = "orchestrate.ampoule.dev/rolled-out";

/// Puts a deployment back to an earlier template: that of a revision, or with none the one before the present.
///
/// # Errors
/// The deployment or the revision is not there, or the store refuses the change.
pub fn undo(store: &dyn Store, deployment: &Key, to: Option<i64>) -> Result<Object> {
    let Object::Deployment(found) = store.read(deployment)? else {
        return Err(Error::Unsupported(format!("undoing a {}", deployment.kind)));
    };
    let uid = found.metadata.uid.clone().unwrap_or_default();
    let scope = Scope::namespace(Builtin::ReplicaSet, &deployment.namespace);
    let all = store.list(&scope)?.objects;
    let sets = all.iter().filter_map(Object::as_type::<ReplicaSet>);
    let mut mine: Vec<_> = sets
        .filter(|set| is_controlled_by(&set.metadata, &uid))
        .collect();
    mine.sort_by_key(|set| revision(set));
    let chosen = match to {
        Some(number) => mine.into_iter().find(|set| revision(set) == number),
        None => mine.into_iter().rev().nth(1),
    };
    let Some(chosen) = chosen else {
        let name = format!("revision {} of {}", to.unwrap_or(0), deployment.name);
        return Err(Error::NotFound(
            deployment.sibling(Builtin::ReplicaSet, &name),
        ));
    };
    let mut changed = Deployment::clone(&found);
    changed.spec.get_or_insert_default().template = plain_template(chosen);
    store.write_one(Write::Update(changed.into()))
}

/// The number of a set's template; zero while it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    let number = annotations.and_then(|all| all.get(REVISION));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whether a set is of this template; the label that tells the templates apart does not count.
pub(super) fn is_same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    plain_template(set) == *template
}

fn plain_template(set: &ReplicaSet) -> PodTemplateSpec {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
    let mut template = template.unwrap_or_default();
    let labels = template
        .metadata
        .as_mut()
        .and_then(|meta| meta.labels.as_mut());
    if let Some(labels) = labels {
        labels.remove(HASH);
    }
    template
}

/// Makes the set of the present template if it is missing, and gives it the highest number.
pub(super) fn ensure_current(
    deployment: &Arc<Deployment>,
    sets: Sets,
    world: &mut World<'_>,
) -> Result<Sets> {
    let newest = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0);
    let number = match &sets.current {
        Some(current) if revision(current) > newest => revision(current),
        _ => newest + 1,
    };
    let current = match &sets.current {
        None => create(deployment, number, &sets, world)?,
        Some(current) if revision(current) != number => {
            let mut changed = ReplicaSet::clone(current);
            annotate(&mut changed, REVISION, number.to_string());
            world.update(changed)?
        }
        Some(current) => Object::ReplicaSet(current.clone()),
    };
    let mut changed = Deployment::clone(deployment);
    let annotations = changed.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), number.to_string());
    if changed != **deployment {
        world.update(changed)?;
    }
    Ok(Sets {
        current: current.as_type::<ReplicaSet>().cloned(),
        old: sets.old,
    })
}

fn create(
    deployment: &Arc<Deployment>,
    number: i64,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<Object> {
    let spec = deployment.spec.clone().unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let hash = short_hash(&spec.template);
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let mut set = ReplicaSet::default();
    set.metadata.labels = Some(labels.clone());
    set.metadata.name = Some(format!("{name}-{hash}"));
    set.metadata
        .namespace
        .clone_from(&deployment.metadata.namespace);
    set.metadata.owner_references = Some(vec![owner_reference(&**deployment)]);
    annotate(&mut set, REVISION, number.to_string());
    let mut selector = spec.selector.clone();
    let match_labels = selector.match_labels.get_or_insert_default();
    match_labels.insert(HASH.to_owned(), hash);
    // The first set begins with all its pods; a later one is given them step by step.
    let first = sets.old.is_empty();
    let replicas = if first { spec.replicas.unwrap_or(1) } else { 0 };
    set.spec = Some(ReplicaSetSpec {
        replicas: Some(0),
        min_ready_seconds: spec.min_ready_seconds,
        selector,
        template: Some(template),
    });
    let made = world.create(set)?;
    if let (true, Some(set)) = (first, made.as_type::<ReplicaSet>()) {
        rollout::scale(deployment, set, replicas, world)?;
        let key = made.key();
        return world
            .view()
            .object(&key)
            .cloned()
            .ok_or(Error::NotFound(key));
    }
    Ok(made)
}

/// Deletes the oldest empty sets above the limit.
pub(super) fn forget_old(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<()> {
    let spec = deployment.spec.as_ref();
    let limit = spec
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(10);
    let empty = |set: &&Arc<ReplicaSet>| wanted(set) == 0 && present(set) == 0;
    let mut idle: Vec<_> = sets.old.iter().filter(empty).cloned().collect();
    idle.sort_by_key(|set| revision(set));
    let surplus = idle
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    for set in idle.into_iter().take(surplus) {
        let uid = set.metadata.uid.clone().unwrap_or_default();
        world.delete(Object::ReplicaSet(set).key(), &uid)?;
    }
    Ok(())
}

/// Notes that a template has been rolled out completely, so that a later failure can come back to it.
pub(super) fn prove(sets: &Sets, world: &mut World<'_>) -> Result<()> {
    let Some(current) = &sets.current else {
        return Ok(());
    };
    let mut changed = ReplicaSet::clone(current);
    annotate(&mut changed, PROVEN, "true".to_owned());
    if changed != **current {
        world.update(changed)?;
    }
    Ok(())
}

/// Puts the last proven template back, if the deployment asks for that and there is one.
pub(super) fn roll_back(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<bool> {
    let annotations = deployment.metadata.annotations.as_ref();
    let asked = annotations
        .and_then(|all| all.get(ROLLBACK))
        .is_some_and(|value| value == "true");
    let is_proven = |set: &&Arc<ReplicaSet>| {
        let annotations = set.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.contains_key(PROVEN))
    };
    let proven = sets
        .old
        .iter()
        .filter(is_proven)
        .max_by_key(|set| revision(set));
    let (true, Some(proven)) = (asked, proven) else {
        return Ok(false);
    };
    let mut changed = Deployment::clone(deployment);
    changed.spec.get_or_insert_default().template = plain_template(proven);
    let key = Object::Deployment(deployment.clone()).key();
    let message = format!(
        "Rolled back to revision {}: the roll-out missed its deadline",
        revision(proven)
    );
    world.record(key, "DeploymentRollback", message);
    // The present form may have been written since this one was read.
    changed.metadata.resource_version = None;
    world.update(changed)?;
    Ok(true)
}

fn annotate(set: &mut ReplicaSet, name: &str, value: String) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(name.to_owned(), value);
}

/// How many pods of the present template there are.
pub(super) fn updated(sets: &Sets) -> i32 {
    sum(&sets.current, present)
}

//! How the numbers move from the old templates to the new.

use super::{Sets, available, present, sum, wanted};
use crate::control::World;
use crate::controllers::pods::controlled;
use crate::controllers::share::{Rounding, share_of};
use crate::error::Result;
use crate::object::Object;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use std::sync::Arc;

/// The annotation that says how many pods the deployment wanted when the set was scaled last.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// Within what a roll-out keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many pods there may be more than wanted.
    pub surge: i32,
    /// How many of the wanted may be missing.
    pub unavailable: i32,
}

/// The bounds of a deployment: a share rounds up for the surge and down for what is missing, and when both come to nothing
/// one pod may be missing, or nothing could ever move.
pub fn bounds(spec: &DeploymentSpec) -> Bounds {
    let replicas = spec.replicas.unwrap_or(1);
    if super::is_recreate(spec) {
        return Bounds {
            surge: 0,
            unavailable: 0,
        };
    }
    let rolling = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = share_of(surge, replicas, Rounding::Up);
    let unavailable = share_of(unavailable, replicas, Rounding::Down).min(replicas);
    let stuck = surge == 0 && unavailable == 0;
    Bounds {
        surge,
        unavailable: if stuck { 1 } else { unavailable },
    }
}

/// One step of a rolling update: first more of the new, then fewer of the old.
pub(super) fn roll(deployment: &Arc<Deployment>, sets: &Sets, world: &mut World<'_>) -> Result<()> {
    let (Some(spec), Some(current)) = (&deployment.spec, &sets.current) else {
        return Ok(());
    };
    let replicas = spec.replicas.unwrap_or(1);
    let bounds = bounds(spec);
    let total = sum(sets.all(), wanted);
    if wanted(current) > replicas {
        return scale(deployment, current, replicas, world);
    }
    let room = (replicas + bounds.surge - total).min(replicas - wanted(current));
    if room > 0 {
        return scale(deployment, current, wanted(current) + room, world);
    }
    shrink(
        deployment,
        sets,
        current,
        replicas - bounds.unavailable,
        world,
    )
}

/// Takes away old pods: those that serve nobody first, then as many as the available ones allow.
fn shrink(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    current: &Arc<ReplicaSet>,
    least: i32,
    world: &mut World<'_>,
) -> Result<()> {
    let total = sum(sets.all(), wanted);
    let new_missing = wanted(current) - available(current);
    let mut removable = total - least - new_missing;
    if removable <= 0 {
        return Ok(());
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|set| wanted(set)).collect();
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).clamp(0, removable);
        *size -= broken;
        removable -= broken;
    }
    let serving = sum(sets.all(), available);
    let mut removable = serving - least;
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let taken = (*size).min(available(set)).clamp(0, removable.max(0));
        *size -= taken;
        removable -= taken;
    }
    for (set, size) in sets.old.iter().zip(sizes) {
        scale(deployment, set, size, world)?;
    }
    Ok(())
}

/// All old pods go before the first new one comes.
pub(super) fn recreate(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<()> {
    for set in &sets.old {
        scale(deployment, set, 0, world)?;
    }
    let uid = |set: &Arc<ReplicaSet>| set.metadata.uid.clone().unwrap_or_default();
    let old_pods = sets
        .old
        .iter()
        .map(|set| controlled(world.view(), &uid(set)).len());
    if old_pods.sum::<usize>() > 0 {
        return Ok(());
    }
    match (&deployment.spec, &sets.current) {
        (Some(spec), Some(current)) => {
            scale(deployment, current, spec.replicas.unwrap_or(1), world)
        }
        _ => Ok(()),
    }
}

/// Whether somebody changed the number of pods since the sets were scaled last.
pub(super) fn is_scaling(sets: &Sets, spec: &DeploymentSpec) -> bool {
    let replicas = spec.replicas.unwrap_or(1).to_string();
    let active = sets.all().filter(|set| wanted(set) > 0);
    active.into_iter().any(|set| {
        let annotations = set.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(DESIRED))
            .is_some_and(|desired| *desired != replicas)
    })
}

/// Changes the number of pods in the middle of a roll-out: every set grows or shrinks by its share.
pub(super) fn scale_all(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<()> {
    let Some(spec) = &deployment.spec else {
        return Ok(());
    };
    let replicas = spec.replicas.unwrap_or(1);
    let active: Vec<_> = sets.all().filter(|set| wanted(set) > 0).cloned().collect();
    match (active.as_slice(), &sets.current) {
        ([], Some(newest)) => return scale(deployment, newest, replicas, world),
        ([], None) => match sets.old.last() {
            Some(newest) => return scale(deployment, newest, replicas, world),
            None => return Ok(()),
        },
        ([only], _) => return scale(deployment, only, replicas, world),
        _ => {}
    }
    let saturated = |set: &Arc<ReplicaSet>| wanted(set) == replicas && available(set) == replicas;
    if sets.current.as_ref().is_some_and(saturated) {
        for old in &sets.old {
            scale(deployment, old, 0, world)?;
        }
        return Ok(());
    }
    let allowed = if replicas > 0 {
        replicas + bounds(spec).surge
    } else {
        0
    };
    for (set, size) in active.iter().zip(proportions(&active, allowed)) {
        scale(deployment, set, size, world)?;
    }
    Ok(())
}

/// Spreads a number of pods over sets by their present sizes; what rounding leaves goes to the largest.
fn proportions(sets: &[Arc<ReplicaSet>], allowed: i32) -> Vec<i32> {
    let total: i64 = sets
        .iter()
        .map(|set| i64::from(wanted(set)))
        .sum::<i64>()
        .max(1);
    let part = |set: &Arc<ReplicaSet>| i64::from(wanted(set)) * i64::from(allowed) / total;
    let mut sizes: Vec<i32> = sets
        .iter()
        .map(|set| i32::try_from(part(set)).unwrap_or(0))
        .collect();
    let rest = allowed - sizes.iter().sum::<i32>();
    let largest = (0..sets.len()).rev().max_by_key(|at| wanted(&sets[*at]));
    if let Some(at) = largest {
        sizes[at] += rest;
    }
    sizes
}

/// Gives a set a number of pods, and notes for which wish.
pub(super) fn scale(
    deployment: &Arc<Deployment>,
    set: &Arc<ReplicaSet>,
    size: i32,
    world: &mut World<'_>,
) -> Result<()> {
    let replicas = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let mut changed = ReplicaSet::clone(set);
    let annotations = changed.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), replicas.to_string());
    changed.spec.get_or_insert_default().replicas = Some(size);
    if changed == **set {
        return Ok(());
    }
    let before = wanted(set);
    if before != size {
        let direction = if size > before { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let key = Object::Deployment(deployment.clone()).key();
        let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
        world.record(key, "ScalingReplicaSet", message);
    }
    world.update(changed).map(drop)
}

/// Whether a roll-out has nothing more to do.
pub(super) fn is_complete(spec: &DeploymentSpec, sets: &Sets) -> bool {
    let replicas = spec.replicas.unwrap_or(1);
    let Some(current) = &sets.current else {
        return false;
    };
    present(current) == replicas
        && available(current) >= replicas
        && sum(sets.all(), present) == replicas
}

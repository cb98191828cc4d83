//! How far a roll-out is, and when it has failed.

use super::{Sets, available, history, present, rollout, sum};
use crate::clock::{after, whole_seconds};
use crate::control::{Next, World};
use crate::error::Result;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

pub(super) fn report(
    deployment: &Arc<Deployment>,
    sets: &Sets,
    world: &mut World<'_>,
) -> Result<Next> {
    let found = world.view().find::<Deployment>(
        deployment.metadata.namespace.as_deref().unwrap_or_default(),
        deployment.metadata.name.as_deref().unwrap_or_default(),
    );
    // What was written in this round has made a later form.
    let deployment = &found.cloned().unwrap_or_else(|| deployment.clone());
    let Some(spec) = &deployment.spec else {
        return Ok(Next::Change);
    };
    let replicas = spec.replicas.unwrap_or(1);
    let old = deployment.status.clone().unwrap_or_default();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(sets.all(), present)),
        updated_replicas: Some(history::updated(sets)),
        ready_replicas: Some(sum(sets.all(), ready)),
        available_replicas: Some(sum(sets.all(), available)),
        unavailable_replicas: Some((sum(sets.all(), present) - sum(sets.all(), available)).max(0)),
        ..old.clone()
    };
    let least = replicas - rollout::bounds(spec).unavailable;
    let enough = sum(sets.all(), available) >= least;
    let reason = if enough {
        "MinimumReplicasAvailable"
    } else {
        "MinimumReplicasUnavailable"
    };
    let now = Time(whole_seconds(world.now()));
    set(&mut status, "Available", enough, reason, &now, false);

    let complete = rollout::is_complete(spec, sets);
    let moved = has_moved(&old, &status);
    let mut next = Next::Change;
    let mut failed = false;
    if complete {
        set(
            &mut status,
            "Progressing",
            true,
            "NewReplicaSetAvailable",
            &now,
            false,
        );
        history::prove(sets, world)?;
    } else if spec.paused == Some(true) {
        set(
            &mut status,
            "Progressing",
            true,
            "DeploymentPaused",
            &now,
            true,
        );
    } else if moved || progressing(&old).is_none_or(is_settled) {
        set(
            &mut status,
            "Progressing",
            true,
            "ReplicaSetUpdated",
            &now,
            true,
        );
    }
    if let (false, Some(condition)) = (complete, progressing(&status)) {
        let since = condition
            .last_update_time
            .clone()
            .unwrap_or_else(|| now.clone());
        let deadline = spec.progress_deadline_seconds.unwrap_or(600);
        let due = after(since.0, deadline.into());
        let watched = deadline != i32::MAX && spec.paused != Some(true);
        if watched && condition.status == "True" && due > world.now() {
            next = Next::At(due);
        } else if watched && condition.status == "True" {
            set(
                &mut status,
                "Progressing",
                false,
                "ProgressDeadlineExceeded",
                &now,
                true,
            );
            failed = true;
        }
    }
    if status != old {
        let mut changed = Deployment::clone(deployment);
        changed.status = Some(status);
        world.update_status(changed)?;
    }
    if failed {
        history::roll_back(deployment, sets, world)?;
    }
    Ok(next)
}

fn ready(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

/// Whether the roll-out came further: more new pods, fewer old ones, more that are ready or available.
fn has_moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |number: Option<i32>| number.unwrap_or(0);
    let outdated = |s: &DeploymentStatus| count(s.replicas) - count(s.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// Whether the condition tells of an earlier roll-out, or of a pause that is over.
fn is_settled(condition: &DeploymentCondition) -> bool {
    matches!(
        condition.reason.as_deref(),
        Some("NewReplicaSetAvailable" | "DeploymentPaused")
    )
}

fn progressing(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Progressing")
}

fn set(
    status: &mut DeploymentStatus,
    name: &str,
    holds: bool,
    reason: &str,
    now: &Time,
    renew: bool,
) {
    let value = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions
        .iter_mut()
        .find(|condition| condition.type_ == name);
    let Some(condition) = known else {
        conditions.push(DeploymentCondition {
            type_: name.to_owned(),
            status: value.to_owned(),
            reason: Some(reason.to_owned()),
            last_transition_time: Some(now.clone()),
            last_update_time: Some(now.clone()),
            ..DeploymentCondition::default()
        });
        return;
    };
    let same = condition.status == value && condition.reason.as_deref() == Some(reason);
    if condition.status != value {
        condition.last_transition_time = Some(now.clone());
    }
    if renew || !same {
        condition.last_update_time = Some(now.clone());
    }
    value.clone_into(&mut condition.status);
    condition.reason = Some(reason.to_owned());
}

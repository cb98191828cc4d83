//! What controllers ask of pods, and how they make and choose them.

use crate::clock::after;
use crate::control::{View, node_of};
use crate::error::Result;
use crate::object::{Typed, owner_reference};
use crate::pod::holds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The phase; empty while the pod has none.
pub(crate) fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Whether the pod has ended.
pub(crate) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod still counts: it has not ended and nobody asked it to.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_over(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether the pod can serve.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    holds(conditions.unwrap_or_default(), "Ready")
}

/// Since when the pod is ready.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

/// When the pod counts as available: ready for so many seconds. None while it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    ready_since(pod).map(|since| after(since, min_ready_seconds.into()))
}

/// Makes a pod from a template; the caller gives it its name.
pub(crate) fn from_template<T: Typed>(template: &PodTemplateSpec, owner: &T) -> Pod {
    let wanted = template.metadata.clone().unwrap_or_default();
    let mut pod = Pod {
        spec: template.spec.clone(),
        ..Pod::default()
    };
    pod.metadata.labels = wanted.labels;
    pod.metadata.annotations = wanted.annotations;
    pod.metadata.finalizers = wanted.finalizers;
    pod.metadata.namespace.clone_from(&owner.meta().namespace);
    pod.metadata.owner_references = Some(vec![owner_reference(owner)]);
    pod
}

/// The pods in the order in which they are given up, the most dispensable first: what runs nowhere before what runs, what is
/// not ready before what is, on a crowded node before a lonely one, the newer before the older
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>).
pub(crate) fn most_dispensable_first(mut pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    let mut crowd: BTreeMap<String, usize> = BTreeMap::new();
    for pod in &pods {
        *crowd
            .entry(node_of(pod).unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| {
        let stage = match phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let neighbours = crowd
            .get(node_of(pod).unwrap_or_default())
            .copied()
            .unwrap_or(0);
        (
            node_of(pod).is_some(),
            stage,
            is_ready(pod),
            deletion_cost(pod),
            Reverse(neighbours),
            Reverse(ready_since(pod)),
            Reverse(restarts(pod)),
            Reverse(pod.metadata.creation_timestamp.clone()),
            pod.metadata.name.clone(),
        )
    });
    pods
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    containers
        .unwrap_or_default()
        .iter()
        .map(|c| c.restart_count)
        .sum()
}

/// How many pods of a set are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub active: i32,
    pub ready: i32,
    pub available: i32,
    /// When the next ready pod becomes available.
    pub next: Option<Timestamp>,
}

impl Census {
    pub(crate) fn of<'p>(
        pods: impl Iterator<Item = &'p Arc<Pod>>,
        min_ready: i32,
        now: Timestamp,
    ) -> Census {
        let mut census = Census::default();
        for pod in pods.filter(|pod| is_active(pod)) {
            census.active += 1;
            let Some(at) = available_at(pod, min_ready) else {
                continue;
            };
            census.ready += 1;
            if at <= now {
                census.available += 1;
            } else {
                census.next = Some(census.next.map_or(at, |next| next.min(at)));
            }
        }
        census
    }
}

/// The pods that an object controls.
pub(crate) fn controlled(view: &View, uid: &str) -> Vec<Arc<Pod>> {
    let pods = view.owned_by::<Pod>(uid);
    let mine = pods.filter(|pod| crate::object::is_controlled_by(&pod.metadata, uid));
    mine.cloned().collect()
}

/// The first failure of several writes, after all have been tried.
pub(crate) fn all<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<()> {
    results.into_iter().try_for_each(|result| result.map(drop))
}

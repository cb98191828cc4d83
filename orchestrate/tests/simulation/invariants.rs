//! What must hold after every step, whatever happens.

use ampoule_orchestrate::control::View;
use ampoule_orchestrate::controllers::deployment::bounds;
use ampoule_orchestrate::object::controller_of;
use ampoule_orchestrate::quantity::Amount;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::BTreeSet;

pub(super) fn check(view: &View) {
    for node in view.all::<Node>() {
        within_capacity(view, node);
    }
    for deployment in view.all::<Deployment>() {
        within_surge(view, deployment);
    }
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// No node holds more than it has, and no two pods of a node have one port of it.
fn within_capacity(view: &View, node: &Node) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let allocatable = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.clone())
        .unwrap_or_default();
    let all = |resource: &str| {
        allocatable
            .get(resource)
            .and_then(|q| q.0.parse::<Amount>().ok())
            .unwrap_or_default()
    };
    let (mut cpu, mut count, mut ports) = (0, 0, BTreeSet::new());
    for pod in view.pods_on(name).filter(|pod| !is_over(pod)) {
        count += 1;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers {
            let requests = container
                .resources
                .as_ref()
                .and_then(|r| r.requests.as_ref());
            let request = requests.and_then(|requests| requests.get("cpu"));
            cpu += request
                .and_then(|q| q.0.parse::<Amount>().ok())
                .unwrap_or_default()
                .millis();
            for port in container
                .ports
                .iter()
                .flatten()
                .filter_map(|port| port.host_port)
            {
                assert!(ports.insert(port), "two pods on port {port} of {name}");
            }
        }
    }
    assert!(
        cpu <= all("cpu").millis(),
        "{name} is over its CPUs: {cpu}m"
    );
    assert!(
        count <= all("pods").units(),
        "{name} is over its pods: {count}"
    );
}

/// Never more pods than wanted and the surge, counted in pods that nobody asked to go.
fn within_surge(view: &View, deployment: &Deployment) {
    let Some(spec) = &deployment.spec else { return };
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    // A change of the number of pods is allowed to take a moment.
    if status.observed_generation != deployment.metadata.generation {
        return;
    }
    let sets = view.owned_by::<ReplicaSet>(uid);
    let wanted: i32 = sets
        .map(|set| {
            set.spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(0)
        })
        .sum();
    let most = spec.replicas.unwrap_or(1) + bounds(spec).surge;
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    assert!(
        wanted <= most,
        "{name} wants {wanted} pods, at most {most} are allowed"
    );
}

/// How many pods of a deployment are available, for the bound on what may be missing.
pub(super) fn available(view: &View, labels: (&str, &str)) -> usize {
    let serving = |pod: &&std::sync::Arc<Pod>| {
        let mine = pod
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get(labels.0))
            .is_some_and(|v| v == labels.1);
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        mine && ready && pod.metadata.deletion_timestamp.is_none()
    };
    view.all::<Pod>().filter(serving).count()
}

/// Nothing is left whose owner is gone.
pub(super) fn nothing_orphaned(view: &View) {
    for set in view.all::<ReplicaSet>() {
        let owner = controller_of(&set.metadata).map(|owner| owner.uid.clone());
        let alive = |uid: &String| {
            view.all::<Deployment>()
                .any(|d| d.metadata.uid.as_ref() == Some(uid))
        };
        assert!(
            owner.as_ref().is_none_or(alive),
            "a ReplicaSet without its Deployment"
        );
    }
    for pod in view.all::<Pod>() {
        let owner = controller_of(&pod.metadata).map(|owner| owner.uid.clone());
        let alive = |uid: &String| {
            view.all::<ReplicaSet>()
                .any(|s| s.metadata.uid.as_ref() == Some(uid))
        };
        assert!(
            owner.as_ref().is_none_or(alive),
            "a pod without its ReplicaSet"
        );
    }
}

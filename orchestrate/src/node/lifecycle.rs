//! The life of nodes as others see it: who is not heard of is tainted, and its pods leave when their patience ends.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

use super::{LEASES, PATIENCE, UNREACHABLE};
use crate::clock::{after, whole_seconds};
use crate::control::{Controller, Next, Queue, View, World};
use crate::error::Result;
use crate::object::{Builtin, Key, Kind, Object};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// How long a pod stays on an unreachable node unless it says otherwise, in seconds.
const STAY: i64 = 300;

/// Watches the nodes' leases.
#[derive(Debug, Default)]
pub struct Lifecycle {}

impl Controller for Lifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![
            Builtin::Node.into(),
            Builtin::Lease.into(),
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
        match (before, after) {
            (_, Some(object @ Object::Node(_))) => queue.add(object.key()),
            // A renewal needs no look: the time of the next one is set already, unless the node was given up.
            (_, Some(Object::Lease(lease))) => {
                let name = lease.metadata.name.as_deref().unwrap_or_default();
                if before.is_none()
                    || view
                        .find::<Node>("", name)
                        .is_some_and(|node| is_tainted(node))
                {
                    queue.add(Key::new(Builtin::Node, "", name));
                }
            }
            (None, Some(Object::Pod(pod))) | (Some(Object::Pod(_)), Some(Object::Pod(pod))) => {
                let node =
                    crate::control::node_of(pod).and_then(|name| view.find::<Node>("", name));
                if let Some(node) = node.filter(|node| is_tainted(node)) {
                    queue.add(Object::Node(node.clone()).key());
                }
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let Some(node) = world.view().find::<Node>("", &key.name).cloned() else {
            return Ok(Next::Change);
        };
        let lease = world.view().find::<Lease>(LEASES, &key.name);
        let renewed = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        let Some(renewed) = renewed else {
            // A node that somebody wrote down, and that no agent looks after.
            return Ok(Next::Change);
        };
        let due = after(renewed, PATIENCE);
        if world.now() < due {
            if is_tainted(&node) {
                set_reachable(&node, true, world)?;
            }
            return Ok(Next::At(due));
        }
        if !is_tainted(&node) {
            world.record(
                key.clone(),
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", key.name),
            );
            set_reachable(&node, false, world)?;
        }
        evict(key, world)
    }
}

fn is_tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    taints
        .unwrap_or_default()
        .iter()
        .any(|taint| taint.key == UNREACHABLE)
}

fn set_reachable(node: &Arc<Node>, reachable: bool, world: &mut World<'_>) -> Result<()> {
    let now = Time(whole_seconds(world.now()));
    let mut changed = Node::clone(node);
    let taints = changed
        .spec
        .get_or_insert_default()
        .taints
        .get_or_insert_default();
    taints.retain(|taint| taint.key != UNREACHABLE);
    if !reachable {
        taints.extend(["NoSchedule", "NoExecute"].map(|effect| Taint {
            key: UNREACHABLE.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(now.clone()),
            ..Taint::default()
        }));
    }
    let stored = world.update(changed)?;
    let Some(node) = stored.as_type::<Node>() else {
        return Ok(());
    };
    let mut changed = Node::clone(node);
    let conditions = changed
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "Ready");
    conditions.push(NodeCondition {
        type_: "Ready".to_owned(),
        status: if reachable { "True" } else { "Unknown" }.to_owned(),
        reason: Some(
            if reachable {
                "KubeletReady"
            } else {
                "NodeStatusUnknown"
            }
            .to_owned(),
        ),
        last_transition_time: Some(now),
        ..NodeCondition::default()
    });
    world.update_status(changed).map(drop)
}

/// Asks the pods to go whose patience with the taint has ended.
fn evict(key: &Key, world: &mut World<'_>) -> Result<Next> {
    let since = world
        .view()
        .find::<Node>("", &key.name)
        .and_then(|node| tainted_since(node));
    let since = since.unwrap_or_else(|| world.now());
    let staying = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none();
    let pods: Vec<Arc<Pod>> = world
        .view()
        .pods_on(&key.name)
        .filter(staying)
        .cloned()
        .collect();
    let mut next = Next::Change;
    for pod in pods {
        let Some(seconds) = patience(&pod) else {
            continue;
        };
        let due = after(since, seconds);
        if due > world.now() {
            next = next.or(Next::At(due));
            continue;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let pod = Object::Pod(pod).key();
        let message = format!("Marking for deletion Pod {}/{}", pod.namespace, pod.name);
        world.record(pod.clone(), "TaintManagerEviction", message);
        world.delete(pod, &uid)?;
    }
    Ok(next)
}

fn tainted_since(node: &Node) -> Option<Timestamp> {
    let mut taints = node.spec.as_ref()?.taints.iter().flatten();
    let taint = taints.find(|taint| taint.key == UNREACHABLE && taint.effect == "NoExecute")?;
    taint.time_added.as_ref().map(|time| time.0)
}

/// For how many seconds a pod stays on an unreachable node; none for ever.
fn patience(pod: &Pod) -> Option<i64> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref());
    let mut found = None;
    for toleration in tolerations.unwrap_or_default() {
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let key = toleration.key.as_deref().unwrap_or_default();
        let means = (key.is_empty() || key == UNREACHABLE) && matches!(effect, "" | "NoExecute");
        match (means, toleration.toleration_seconds) {
            (true, None) => return None,
            (true, Some(seconds)) => found = Some(found.map_or(seconds, |f: i64| f.min(seconds))),
            _ => {}
        }
    }
    Some(found.unwrap_or(STAY))
}

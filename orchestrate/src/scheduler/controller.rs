//! The scheduler as a controller: pods without a node get one.

use super::state::{Scheduling, ShapeId};
use crate::control::{Controller, Next, Queue, View, World, node_of};
use crate::error::{ErrorKind, Result};
use crate::object::{Builtin, Key, Kind, Object};
use crate::store::{Deletion, Write};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Places every pod that asks for this scheduler.
#[derive(Debug)]
pub struct Scheduler {
    name: String,
    scheduling: Scheduling,
    pending: Vec<Key>,
    /// The pods that no node could take, with what was said; they are tried again when something changes.
    waiting: BTreeMap<Key, String>,
}

impl Scheduler {
    /// A scheduler with Kubernetes' scores, for pods that name no other.
    pub fn new() -> Scheduler {
        Scheduler::with("default-scheduler", Scheduling::default())
    }

    /// A scheduler of one's own, for the pods that name it in `schedulerName`.
    pub fn with(name: &str, scheduling: Scheduling) -> Scheduler {
        Scheduler {
            name: name.to_owned(),
            scheduling,
            pending: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn is_mine(&self, pod: &Pod) -> bool {
        let spec = pod.spec.as_ref();
        let name = spec.and_then(|spec| spec.scheduler_name.as_deref());
        let gates = spec.and_then(|spec| spec.scheduling_gates.as_deref());
        name.unwrap_or("default-scheduler") == self.name
            && node_of(pod).is_none()
            && gates.unwrap_or_default().is_empty()
            && crate::controllers::is_active(pod)
    }

    /// Keeps the books of who is where.
    fn account(&mut self, pod: &Pod, view: &View) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let over = crate::controllers::is_over(pod);
        match node_of(pod) {
            Some(node) if !over => {
                let shape = self.scheduling.shape(pod);
                self.scheduling
                    .assume(uid, shape, priority(pod, view), node);
            }
            _ => self.scheduling.forget(uid),
        }
    }

    fn retry_waiting(&mut self, queue: &mut Queue) {
        self.waiting.keys().for_each(|key| queue.add(key.clone()));
    }
}

impl Default for Scheduler {
    fn default() -> Scheduler {
        Scheduler::new()
    }
}

impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![
            Builtin::Node.into(),
            Builtin::PriorityClass.into(),
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
            (_, Some(Object::Node(node))) => {
                let same =
                    |old: &Object| matches!(old, Object::Node(old) if is_same_node(old, node));
                if !before.is_some_and(same) {
                    self.scheduling.set_node(node);
                    self.retry_waiting(queue);
                }
            }
            (Some(Object::Node(node)), None) => {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                self.scheduling.remove_node(name);
            }
            (_, Some(object @ Object::Pod(pod))) => {
                let held = self.scheduling.holds(object.uid());
                self.account(pod, view);
                if self.is_mine(pod) {
                    queue.add(object.key());
                } else if held && !self.scheduling.holds(object.uid()) {
                    self.retry_waiting(queue);
                }
            }
            (Some(object @ Object::Pod(_)), None) => {
                self.scheduling.forget(object.uid());
                self.waiting.remove(&object.key());
                self.retry_waiting(queue);
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, key: &Key, _world: &mut World<'_>) -> Result<Next> {
        self.pending.push(key.clone());
        Ok(Next::Change)
    }

    /// Places all that wait, the most important first, and writes them down together.
    fn finish(&mut self, world: &mut World<'_>, queue: &mut Queue) -> Result<()> {
        let mut pods: Vec<(i32, Key, Arc<Pod>)> = Vec::new();
        for key in std::mem::take(&mut self.pending) {
            match world.view().find::<Pod>(&key.namespace, &key.name) {
                Some(pod) if self.is_mine(pod) => {
                    pods.push((priority(pod, world.view()), key, pod.clone()));
                }
                _ => drop(self.waiting.remove(&key)),
            }
        }
        pods.sort_by_key(|(priority, _, _)| std::cmp::Reverse(*priority));
        let (mut writes, mut bound) = (Vec::new(), Vec::new());
        for (priority, key, pod) in pods {
            let shape = self.scheduling.shape(&pod);
            let uid: Arc<str> = pod.metadata.uid.as_deref().unwrap_or_default().into();
            let Some(node) = self.scheduling.place(shape) else {
                self.give_up(shape, priority, key, &pod, world);
                continue;
            };
            self.scheduling.assume(&uid, shape, priority, &node);
            writes.push(Write::Bind {
                pod: key.clone(),
                uid: uid.clone(),
                node: node.clone(),
            });
            bound.push((key, uid, node));
        }
        for (result, (key, uid, node)) in world.write_all(writes).into_iter().zip(bound) {
            match result {
                Ok(_) => {
                    self.waiting.remove(&key);
                    let message = format!(
                        "Successfully assigned {}/{} to {node}",
                        key.namespace, key.name
                    );
                    world.record(key, "Scheduled", message);
                }
                Err(error) => {
                    self.scheduling.forget(&uid);
                    if error.kind() != ErrorKind::NotFound {
                        queue.retry(key, world.now());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Scheduler {
    /// Says why nothing takes a pod, and makes room for it if its priority allows.
    fn give_up(
        &mut self,
        shape: ShapeId,
        priority: i32,
        key: Key,
        pod: &Pod,
        world: &mut World<'_>,
    ) {
        let message = self.scheduling.explain(shape).to_string();
        let told = self.waiting.insert(key.clone(), message.clone());
        if told.as_ref() != Some(&message) {
            world.record(key.clone(), "FailedScheduling", message);
        }
        let policy = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.preemption_policy.as_deref());
        if policy == Some("Never") {
            return;
        }
        // While those who were asked to go are still going, nobody else is asked.
        let leaving = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
        let Some(preemption) = self.scheduling.preempt(shape, priority) else {
            return;
        };
        let on_node: Vec<Arc<Pod>> = world.view().pods_on(&preemption.node).cloned().collect();
        if on_node.iter().any(|pod| leaving(&pod)) {
            return;
        }
        for victim in on_node {
            let uid = victim.metadata.uid.as_deref().unwrap_or_default();
            if !preemption.victims.iter().any(|chosen| **chosen == *uid) {
                continue;
            }
            let object = Object::Pod(victim.clone());
            let message = format!("Preempted by pod {} on node {}", key.name, preemption.node);
            world.record(object.key(), "Preempted", message);
            let deletion = Deletion {
                uid: Some(uid.to_owned()),
                ..Deletion::default()
            };
            // A victim that is gone by itself makes room as well.
            let _ = world.write(Write::Delete(object.key(), deletion));
        }
    }
}

/// A pod's priority: its own number, else that of its class, else that of the default class, else zero.
pub(crate) fn priority(pod: &Pod, view: &View) -> i32 {
    let spec = pod.spec.as_ref();
    if let Some(priority) = spec.and_then(|spec| spec.priority) {
        return priority;
    }
    let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
    match class.filter(|class| !class.is_empty()) {
        Some("system-node-critical") => 2_000_001_000,
        Some("system-cluster-critical") => 2_000_000_000,
        Some(name) => view
            .find::<PriorityClass>("", name)
            .map_or(0, |class| class.value),
        None => {
            let mut classes = view.all::<PriorityClass>();
            classes
                .find(|class| class.global_default == Some(true))
                .map_or(0, |class| class.value)
        }
    }
}

/// Whether a change of a node is none to the scheduler: heartbeats are not.
fn is_same_node(
    old: &k8s_openapi::api::core::v1::Node,
    new: &k8s_openapi::api::core::v1::Node,
) -> bool {
    let room = |node: &k8s_openapi::api::core::v1::Node| {
        node.status
            .as_ref()
            .map(|status| (status.allocatable.clone(), status.capacity.clone()))
    };
    let images = |node: &k8s_openapi::api::core::v1::Node| {
        node.status
            .as_ref()
            .and_then(|status| status.images.clone())
    };
    old.spec == new.spec
        && old.metadata.labels == new.metadata.labels
        && room(old) == room(new)
        && images(old) == images(new)
}

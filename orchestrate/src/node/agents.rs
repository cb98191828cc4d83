//! The agents: each runs the pods of its node on its runtime.

use super::awake::Awake;
use super::sandbox::{self, Missing};
use super::{HEARTBEAT, LEASES};
use crate::clock::after;
use crate::control::{Controller, Next, Queue, View, World, node_of};
use crate::error::Result;
use crate::object::{Builtin, Key, Kind, Object};
use crate::pod::{Action, Machine};
use crate::quantity::Amount;
use crate::runtime::{ContainerRef, Event, Events, HeldState, PodUid, Runtime};
use crate::store::{Deletion, Write};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Container, Node, NodeAddress, NodeCondition, NodeStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Runs the pods of the nodes whose runtimes it was given.
#[derive(Debug, Default)]
pub struct Agents {
    nodes: BTreeMap<Arc<str>, Agent>,
    /// The node of each pod that is being run.
    homes: BTreeMap<Key, Arc<str>>,
    awake: Arc<Awake>,
}

#[derive(Debug)]
struct Agent {
    runtime: Arc<dyn Runtime>,
    events: Option<Box<dyn Events>>,
    waker: Waker,
    pods: BTreeMap<PodUid, Held>,
    registered: bool,
}

#[derive(Debug)]
struct Held {
    key: Key,
    machine: Machine,
}

impl Agents {
    /// Has the pods of a node run by a runtime.
    pub fn add(&mut self, node: &str, runtime: Arc<dyn Runtime>) {
        let name: Arc<str> = node.into();
        let agent = Agent {
            runtime,
            events: None,
            waker: self.awake.waker(&name),
            pods: BTreeMap::new(),
            registered: false,
        };
        self.awake.add(name.clone());
        self.nodes.insert(name, agent);
    }
}

impl Controller for Agents {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![
            Builtin::Node.into(),
            Builtin::Pod.into(),
            Builtin::ConfigMap.into(),
            Builtin::Secret.into(),
        ]
    }

    fn concerns(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        _view: &View,
        queue: &mut Queue,
    ) {
        let Some(object @ Object::Pod(pod)) = after.or(before) else {
            return;
        };
        if node_of(pod).is_some_and(|node| self.nodes.contains_key(node)) {
            queue.add(object.key());
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, now: Timestamp, queue: &mut Queue) {
        for name in self.awake.take(context.waker()) {
            let Some(agent) = self.nodes.get_mut(&name) else {
                continue;
            };
            if !agent.registered {
                agent.registered = true;
                queue.add(Key::new(Builtin::Node, "", &name));
            }
            agent.listen(now, queue);
        }
    }

    fn reconcile(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        if key.kind == Builtin::Node.into() {
            return self.heartbeat(key, world);
        }
        let found = world.view().find::<Pod>(&key.namespace, &key.name).cloned();
        let home = found
            .as_ref()
            .and_then(|pod| node_of(pod))
            .map(Arc::<str>::from);
        let last = self.homes.get(key).cloned();
        let Some(name) = home.or(last) else {
            return Ok(Next::Change);
        };
        let Some(agent) = self.nodes.get_mut(&name) else {
            return Ok(Next::Change);
        };
        let next = agent.attend(key, found, world)?;
        match agent.pods.values().any(|held| held.key == *key) {
            true => drop(self.homes.insert(key.clone(), name)),
            false => drop(self.homes.remove(key)),
        }
        Ok(next)
    }
}

impl Agents {
    /// Keeps the node's object and its lease, as long as the runtime answers.
    fn heartbeat(&mut self, key: &Key, world: &mut World<'_>) -> Result<Next> {
        let now = world.now();
        let next = Next::At(after(now, HEARTBEAT));
        let Some(agent) = self.nodes.get_mut(&key.name) else {
            return Ok(Next::Change);
        };
        let Ok(facts) = agent.runtime.facts() else {
            return Ok(next);
        };
        if agent.events.is_none() {
            self.awake.add(key.name.clone());
        }
        let found = world.view().find::<Node>("", &key.name).cloned();
        let mut node = match found {
            Some(node) => Node::clone(&node),
            None => {
                let mut node = Node::default();
                let mut labels = facts.labels.clone();
                labels.insert("kubernetes.io/hostname".to_owned(), key.name.to_string());
                node.metadata.name = Some(key.name.to_string());
                node.metadata.labels = Some(labels);
                let made = world.create(node)?;
                made.as_type::<Node>()
                    .map(|node| Node::clone(node))
                    .unwrap_or_default()
            }
        };
        let before = node.status.clone();
        let status = node.status.get_or_insert_default();
        describe(status, &facts.capacity, &key.name, now);
        if node.status != before {
            world.update_status(node)?;
        }
        renew_lease(key, world)?;
        Ok(next)
    }
}

impl Agent {
    /// Hears what the runtime has to say.
    fn listen(&mut self, now: Timestamp, queue: &mut Queue) {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        if self.events.is_none() {
            let Ok(events) = self.runtime.watch() else {
                return;
            };
            self.events = Some(events);
            self.compare(now, queue);
        }
        while let Some(events) = &mut self.events {
            match events.poll(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Ok(events)) => {
                    for event in events {
                        if let Some(held) = self.pods.get_mut(pod_of(&event)) {
                            held.machine.handle(&event, now);
                            queue.add(held.key.clone());
                        }
                    }
                }
                Poll::Ready(Err(_)) => {
                    // Opened again at once, or when the runtime wakes this agent.
                    self.events = self.runtime.watch().ok();
                    if self.events.is_some() {
                        self.compare(now, queue);
                    }
                }
            }
        }
    }

    /// Hears what was missed: the pods that are gone, and what has become of the containers of the others.
    fn compare(&mut self, now: Timestamp, queue: &mut Queue) {
        let Ok(list) = self.runtime.list() else {
            return;
        };
        for (uid, held) in &mut self.pods {
            let machine = &mut held.machine;
            match list.iter().find(|there| there.pod == *uid) {
                None => machine.handle(&Event::Removed { pod: uid.clone() }, now),
                Some(there) => catch_up(machine, there, now),
            }
            queue.add(held.key.clone());
        }
    }

    /// Brings one pod forward: does what its machine asks for, and reports its status.
    fn attend(
        &mut self,
        key: &Key,
        found: Option<Arc<Pod>>,
        world: &mut World<'_>,
    ) -> Result<Next> {
        let now = world.now();
        // An agent whose runtime does not answer is cut off from the store too.
        if self.runtime.facts().is_err() {
            return Ok(Next::At(after(now, HEARTBEAT)));
        }
        let uid: Option<PodUid> = found
            .as_ref()
            .and_then(|pod| pod.metadata.uid.as_deref())
            .map(PodUid::from);
        self.drop_strangers(key, uid.as_ref())?;
        let (Some(pod), Some(uid)) = (found, uid) else {
            return Ok(Next::Change);
        };
        if !self.pods.contains_key(&uid) {
            if crate::controllers::is_over(&pod) {
                return self.bury_ended(key, &pod, world);
            }
            let machine = Machine::new(pod.clone(), now);
            self.pods.insert(
                uid.clone(),
                Held {
                    key: key.clone(),
                    machine,
                },
            );
        }
        let Some(held) = self.pods.get_mut(&uid) else {
            return Ok(Next::Change);
        };
        held.machine.update(pod.clone(), now);
        let mut next = Next::Change;
        for action in held.machine.take_actions() {
            if action == Action::Forget {
                self.pods.remove(&uid);
                return forget(key, &uid, world);
            }
            if let Some(event) = act(self.runtime.as_ref(), &pod, &action, world.view()) {
                held.machine.handle(&event, now);
                next = Next::At(now);
            }
        }
        let status = held.machine.status(now);
        if pod.status.as_ref() != Some(&status) {
            let mut changed = Pod::clone(&pod);
            changed.status = Some(status);
            world.update_status(changed)?;
        }
        Ok(next.or(held.machine.deadline().into()))
    }

    /// Removes pods of this name that are not the one which is wanted now.
    fn drop_strangers(&mut self, key: &Key, wanted: Option<&PodUid>) -> Result<()> {
        let strange = |(uid, held): (&PodUid, &Held)| {
            (held.key == *key && Some(uid) != wanted).then(|| uid.clone())
        };
        let strangers: Vec<PodUid> = self.pods.iter().filter_map(strange).collect();
        for uid in strangers {
            self.runtime.remove(&uid)?;
            self.pods.remove(&uid);
        }
        Ok(())
    }

    /// A pod that ended before this agent knew it has nothing to run; asked to go, it goes.
    fn bury_ended(&mut self, key: &Key, pod: &Pod, world: &mut World<'_>) -> Result<Next> {
        if pod.metadata.deletion_timestamp.is_some() {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            return forget(key, uid, world);
        }
        Ok(Next::Change)
    }
}

/// Tells a machine what it would have heard. What it knows already changes nothing.
fn catch_up(machine: &mut Machine, there: &crate::runtime::Held, now: Timestamp) {
    if !there.addresses.is_empty() {
        let addresses = there.addresses.clone();
        machine.handle(
            &Event::PodReady {
                pod: there.pod.clone(),
                addresses,
            },
            now,
        );
    }
    for (container, state) in &there.containers {
        let container = container.clone();
        match state {
            HeldState::Running => machine.handle(&Event::Started { container }, now),
            HeldState::Exited(code) => {
                let (code, out_of_memory) = (*code, false);
                machine.handle(
                    &Event::Exited {
                        container,
                        code,
                        out_of_memory,
                    },
                    now,
                );
            }
            HeldState::Starting => {}
        }
    }
    machine.ask_again(now);
}

/// Asks the runtime; a request that is not taken is an event like any other failure.
fn act(runtime: &dyn Runtime, pod: &Arc<Pod>, action: &Action, view: &View) -> Option<Event> {
    let uid: PodUid = pod.metadata.uid.as_deref().unwrap_or_default().into();
    match action {
        Action::Run => {
            let made = sandbox::make(pod, view);
            let failed = |reason: &str, message: String| Event::PodFailed {
                pod: uid.clone(),
                reason: reason.to_owned(),
                message,
            };
            match made.map(|sandbox| runtime.run(&sandbox)) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(failed("FailedCreatePodSandBox", error.to_string())),
                Err(Missing(what)) => Some(failed("FailedMount", what)),
            }
        }
        Action::Start(container) => {
            let failed = |reason: &str, message: String| Event::StartFailed {
                container: container.clone(),
                reason: reason.to_owned(),
                message,
            };
            let spec = spec_of(pod, container)?;
            match sandbox::complete(pod, spec, view).map(|spec| runtime.start(container, &spec)) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(failed("CreateContainerError", error.to_string())),
                Err(Missing(what)) => Some(failed("CreateContainerConfigError", what)),
            }
        }
        // Of what cannot be stopped or asked, the end will be heard, or the loss of the runtime.
        Action::Stop(container, grace) => {
            let _ = runtime.stop(container, *grace);
            None
        }
        Action::Ask(container, question, timeout, ticket) => {
            let asked = runtime.probe(container, question, *timeout, *ticket);
            asked.err().map(|error| Event::Answered {
                container: container.clone(),
                ticket: *ticket,
                answer: Err(error.to_string()),
            })
        }
        Action::Remove => runtime
            .remove(&uid)
            .err()
            .map(|_| Event::Removed { pod: uid }),
        Action::Forget => None,
    }
}

fn spec_of<'p>(pod: &'p Pod, container: &ContainerRef) -> Option<&'p Container> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    all.find(|spec| *spec.name == *container.name)
}

/// The pod's object may go: nothing is left of the pod.
fn forget(key: &Key, uid: &str, world: &mut World<'_>) -> Result<Next> {
    let deletion = Deletion {
        uid: Some(uid.to_owned()),
        grace: Some(0),
        ..Deletion::default()
    };
    match world.write(Write::Delete(key.clone(), deletion)) {
        Err(error) if error.kind() != crate::ErrorKind::NotFound => Err(error),
        _ => Ok(Next::Change),
    }
}

fn pod_of(event: &Event) -> &PodUid {
    match event {
        Event::PodReady { pod, .. } | Event::PodFailed { pod, .. } | Event::Removed { pod } => pod,
        Event::Started { container }
        | Event::StartFailed { container, .. }
        | Event::Exited { container, .. }
        | Event::Answered { container, .. } => &container.pod,
    }
}

fn describe(
    status: &mut NodeStatus,
    capacity: &BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    name: &str,
    now: Timestamp,
) {
    let mut capacity = capacity.clone();
    capacity
        .entry("pods".to_owned())
        .or_insert_with(|| Amount::from_units(110).into());
    status.capacity = Some(capacity.clone());
    status.allocatable = Some(capacity);
    status.addresses.get_or_insert_with(|| {
        vec![NodeAddress {
            type_: "Hostname".to_owned(),
            address: name.to_owned(),
        }]
    });
    let conditions = status.conditions.get_or_insert_default();
    let ready = conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready {
        conditions.retain(|condition| condition.type_ != "Ready");
        conditions.push(NodeCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: Some("KubeletReady".to_owned()),
            last_transition_time: Some(Time(crate::clock::whole_seconds(now))),
            ..NodeCondition::default()
        });
    }
}

fn renew_lease(node: &Key, world: &mut World<'_>) -> Result<()> {
    let key = Key::new(Builtin::Lease, LEASES, &node.name);
    let spec = LeaseSpec {
        holder_identity: Some(node.name.to_string()),
        lease_duration_seconds: Some(40),
        renew_time: Some(MicroTime(world.now())),
        ..LeaseSpec::default()
    };
    let mut lease = Lease {
        spec: Some(spec),
        ..Lease::default()
    };
    lease.metadata.name = Some(key.name.to_string());
    lease.metadata.namespace = Some(LEASES.to_owned());
    // The lease is this agent's alone: nobody's change is overwritten.
    match world.write(Write::Update(lease.clone().into())) {
        Err(error) if error.kind() == crate::ErrorKind::NotFound => world.create(lease).map(drop),
        result => result.map(drop),
    }
}

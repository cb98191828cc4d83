//! A runtime that only pretends.

use super::behaviour::{Behaviour, NodeSize, Speeds};
use super::events::{Agenda, Coming};
use super::random::Random;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::runtime::{
    Command, ContainerRef, Event, Events, Execution, Facts, Held, HeldState, LogQuery, PodUid,
    Question, Runtime, Sandbox, Ticket,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// All simulated nodes, and what will happen on them.
#[derive(Debug)]
pub(super) struct Machines {
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub agenda: Agenda,
    pub speeds: Speeds,
    pub machines: Vec<Machine>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub size: NodeSize,
    pub labels: BTreeMap<String, String>,
    /// Off: everything on it is lost, and it answers nobody.
    pub down: bool,
    /// Cut off: what runs goes on, but it answers nobody.
    pub cut_off: bool,
    images: BTreeSet<String>,
    pub pods: BTreeMap<PodUid, SimulatedPod>,
    addresses: u32,
    streams: Vec<Stream>,
}

/// The events that one watch has not read yet; none once the runtime was lost.
type Stream = Arc<Mutex<StreamState>>;

#[derive(Debug, Default)]
struct StreamState {
    events: Option<VecDeque<Event>>,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct SimulatedPod {
    pod: Arc<Pod>,
    address: Option<IpAddr>,
    removing: bool,
    pub containers: BTreeMap<Arc<str>, Simulated>,
}

#[derive(Debug)]
pub(super) struct Simulated {
    pub reference: ContainerRef,
    pub state: HeldState,
    behaviour: Behaviour,
    started: Timestamp,
    stopping: bool,
}

/// A node of a simulation, as its agent sees it.
#[derive(Clone, Debug)]
pub struct SimulatedRuntime {
    pub(super) machines: Arc<Mutex<Machines>>,
    pub(super) index: usize,
}

impl Machine {
    pub(super) fn new(size: NodeSize, labels: BTreeMap<String, String>) -> Machine {
        Machine {
            size,
            labels,
            down: false,
            cut_off: false,
            images: BTreeSet::new(),
            pods: BTreeMap::new(),
            addresses: 0,
            streams: Vec::new(),
        }
    }

    /// Loses everything, or ends the silence: whoever listened has to listen anew.
    pub(super) fn interrupt(&mut self) {
        for stream in std::mem::take(&mut self.streams) {
            let mut state = stream.lock().unwrap_or_else(PoisonError::into_inner);
            state.events = None;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    fn report(&mut self, event: &Event) {
        self.streams.retain(|stream| Arc::strong_count(stream) > 1);
        for stream in &self.streams {
            let mut state = stream.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(events) = &mut state.events {
                events.push_back(event.clone());
            }
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    fn find(&mut self, container: &ContainerRef) -> Option<&mut Simulated> {
        let pod = self.pods.get_mut(&container.pod)?;
        let found = pod.containers.get_mut(&container.name)?;
        (found.reference == *container).then_some(found)
    }
}

impl Machines {
    /// Lets everything happen that is due.
    pub(super) fn happen(&mut self) {
        let now = self.clock.now();
        while let Some((node, coming)) = self.agenda.due(now) {
            if self.machines[node].down {
                continue;
            }
            match coming {
                Coming::Exit(container, code) => self.exit(node, &container, code, false),
                Coming::Report(event) => self.report(node, event, now),
            }
        }
    }

    fn report(&mut self, node: usize, event: Event, now: Timestamp) {
        let machine = &mut self.machines[node];
        match &event {
            Event::PodReady { pod, addresses } => {
                let Some(known) = machine.pods.get_mut(pod) else {
                    return;
                };
                known.address = addresses.first().copied();
            }
            Event::Removed { pod } => {
                machine.pods.remove(pod);
            }
            Event::Started { container } => {
                let Some(known) = machine.find(container) else {
                    return;
                };
                known.state = HeldState::Running;
                known.started = now;
                let (behaviour, stopping) = (known.behaviour, known.stopping);
                if let Some(run) = behaviour.run {
                    let at = now.saturating_add(run).unwrap_or(Timestamp::MAX);
                    self.agenda.plan(
                        at,
                        node,
                        Coming::Exit(container.clone(), behaviour.exit_code),
                    );
                }
                if stopping {
                    self.agenda
                        .plan(now, node, Coming::Exit(container.clone(), 143));
                }
            }
            Event::StartFailed { container, .. } => {
                let Some(known) = machine.find(container) else {
                    return;
                };
                known.state = HeldState::Exited(128);
            }
            Event::Answered { container, .. } => {
                let running = machine
                    .find(container)
                    .is_some_and(|c| c.state == HeldState::Running);
                if !running {
                    return;
                }
            }
            _ => {}
        }
        self.machines[node].report(&event);
    }

    /// Ends a running container.
    pub(super) fn exit(
        &mut self,
        node: usize,
        container: &ContainerRef,
        code: i32,
        out_of_memory: bool,
    ) {
        let machine = &mut self.machines[node];
        let Some(known) = machine.find(container) else {
            return;
        };
        if known.state != HeldState::Running {
            return;
        }
        known.state = HeldState::Exited(code);
        machine.report(&Event::Exited {
            container: container.clone(),
            code,
            out_of_memory,
        });
    }

    fn after(&mut self, usual: SignedDuration) -> Timestamp {
        let delay = self.random.around(usual);
        self.clock
            .now()
            .saturating_add(delay)
            .unwrap_or(Timestamp::MAX)
    }
}

impl SimulatedRuntime {
    fn lock(&self) -> Result<MutexGuard<'_, Machines>> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = &machines.machines[self.index];
        if machine.down || machine.cut_off {
            return Err(Error::Unavailable {
                what: format!("simulated node {}", self.index),
                why: "it is switched off or cut off".to_owned(),
            });
        }
        Ok(machines)
    }

    fn unknown(&self, what: &impl std::fmt::Display) -> Error {
        Error::Unavailable {
            what: what.to_string(),
            why: format!("it does not run on simulated node {}", self.index),
        }
    }
}

impl Runtime for SimulatedRuntime {
    fn run(&self, sandbox: &Sandbox) -> Result<()> {
        let mut all = self.lock()?;
        let uid: PodUid = sandbox
            .pod
            .metadata
            .uid
            .as_deref()
            .unwrap_or_default()
            .into();
        let machine = &mut all.machines[self.index];
        if let Some(known) = machine.pods.get(&uid) {
            if let Some(address) = known.address {
                machine.report(&Event::PodReady {
                    pod: uid,
                    addresses: vec![address],
                });
            }
            return Ok(());
        }
        machine.addresses += 1;
        let [high, low] = [(self.index >> 8) as u8, self.index as u8];
        let host = (machine.addresses % 254 + 1) as u8;
        let address = Ipv4Addr::new(10, high, low, host);
        let pod = SimulatedPod {
            pod: sandbox.pod.clone(),
            address: None,
            removing: false,
            containers: BTreeMap::new(),
        };
        machine.pods.insert(uid.clone(), pod);
        let usual = all.speeds.prepare;
        let at = all.after(usual);
        let event = Event::PodReady {
            pod: uid,
            addresses: vec![address.into()],
        };
        all.agenda.plan(at, self.index, Coming::Report(event));
        Ok(())
    }

    fn start(&self, container: &ContainerRef, spec: &Container) -> Result<()> {
        let mut all = self.lock()?;
        let (now, speeds) = (all.clock.now(), all.speeds);
        let machine = &mut all.machines[self.index];
        let known = machine.pods.get_mut(&container.pod);
        let Some(pod) = known.filter(|pod| pod.address.is_some() && !pod.removing) else {
            return Err(self.unknown(&container.pod));
        };
        if pod
            .containers
            .get(&container.name)
            .is_some_and(|known| known.reference.attempt >= container.attempt)
        {
            return Ok(());
        }
        let behaviour = Behaviour::of(&pod.pod, spec);
        let simulated = Simulated {
            reference: container.clone(),
            state: HeldState::Starting,
            behaviour,
            started: now,
            stopping: false,
        };
        pod.containers.insert(container.name.clone(), simulated);
        let image = spec.image.clone().unwrap_or_default();
        let pulled = machine.images.contains(&image);
        let event = if behaviour.has_image {
            machine.images.insert(image);
            Event::Started {
                container: container.clone(),
            }
        } else {
            let message = format!("failed to pull image {image:?}: not found");
            Event::StartFailed {
                container: container.clone(),
                reason: "ErrImagePull".to_owned(),
                message,
            }
        };
        let usual = if pulled {
            speeds.start
        } else {
            speeds.start + speeds.pull
        };
        let at = all.after(usual);
        all.agenda.plan(at, self.index, Coming::Report(event));
        Ok(())
    }

    fn stop(&self, container: &ContainerRef, grace: Duration) -> Result<()> {
        let mut all = self.lock()?;
        let usual = all
            .speeds
            .stop
            .min(SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX));
        let Some(known) = all.machines[self.index].find(container) else {
            return Err(self.unknown(container));
        };
        if std::mem::replace(&mut known.stopping, true) {
            return Ok(());
        }
        if known.state == HeldState::Running {
            let at = all.after(usual);
            all.agenda
                .plan(at, self.index, Coming::Exit(container.clone(), 143));
        }
        Ok(())
    }

    fn probe(
        &self,
        container: &ContainerRef,
        question: &Question,
        timeout: Duration,
        ticket: Ticket,
    ) -> Result<()> {
        let mut all = self.lock()?;
        let now = all.clock.now();
        let found = all.machines[self.index].find(container);
        let Some(known) = found.filter(|known| known.state == HeldState::Running) else {
            return Err(self.unknown(container));
        };
        let ready = now.duration_since(known.started) >= known.behaviour.ready_after;
        let answer = if ready {
            Ok(())
        } else {
            Err("not ready yet".to_owned())
        };
        let usual = match question {
            Question::Sleep(time) => SignedDuration::try_from(*time).unwrap_or_default(),
            _ => all.speeds.probe,
        };
        let latest = now.saturating_add(SignedDuration::try_from(timeout).unwrap_or_default());
        let (at, latest) = (all.after(usual), latest.unwrap_or(Timestamp::MAX));
        let answer = if at > latest {
            Err("timed out".to_owned())
        } else {
            answer
        };
        let event = Event::Answered {
            container: container.clone(),
            ticket,
            answer,
        };
        all.agenda
            .plan(at.min(latest), self.index, Coming::Report(event));
        Ok(())
    }

    fn remove(&self, pod: &PodUid) -> Result<()> {
        let mut all = self.lock()?;
        let machine = &mut all.machines[self.index];
        if let Some(known) = machine.pods.get_mut(pod)
            && std::mem::replace(&mut known.removing, true)
        {
            return Ok(());
        }
        let running = machine
            .pods
            .get(pod)
            .into_iter()
            .flat_map(|pod| pod.containers.values());
        let running = running.filter(|known| known.state == HeldState::Running);
        let running: Vec<ContainerRef> = running.map(|known| known.reference.clone()).collect();
        for container in running {
            all.exit(self.index, &container, 137, false);
        }
        let usual = all.speeds.prepare;
        let at = all.after(usual);
        all.agenda.plan(
            at,
            self.index,
            Coming::Report(Event::Removed { pod: pod.clone() }),
        );
        Ok(())
    }

    fn exec(&self, _container: &ContainerRef, _command: &Command) -> Result<Box<dyn Execution>> {
        Err(Error::Unsupported(
            "running a program in a simulated container".to_owned(),
        ))
    }

    fn logs(
        &self,
        container: &ContainerRef,
        _query: &LogQuery,
    ) -> Result<Box<dyn std::io::Read + Send>> {
        let mut all = self.lock()?;
        match all.machines[self.index].find(container) {
            Some(_) => Ok(Box::new(std::io::empty())),
            None => Err(self.unknown(container)),
        }
    }

    fn list(&self) -> Result<Vec<Held>> {
        let all = self.lock()?;
        let pods = all.machines[self.index].pods.iter().map(|(uid, pod)| Held {
            pod: uid.clone(),
            name: (
                pod.pod.metadata.namespace.clone().unwrap_or_default(),
                pod.pod.metadata.name.clone().unwrap_or_default(),
            ),
            addresses: pod.address.into_iter().collect(),
            containers: pod
                .containers
                .values()
                .map(|c| (c.reference.clone(), c.state.clone()))
                .collect(),
        });
        Ok(pods.collect())
    }

    fn watch(&self) -> Result<Box<dyn Events>> {
        let mut all = self.lock()?;
        let stream = Stream::default();
        stream.lock().unwrap_or_else(PoisonError::into_inner).events = Some(VecDeque::new());
        all.machines[self.index].streams.push(stream.clone());
        Ok(Box::new(Listener(stream)))
    }

    fn facts(&self) -> Result<Facts> {
        let all = self.lock()?;
        let machine = &all.machines[self.index];
        Ok(Facts {
            capacity: machine.size.capacity(),
            images: machine
                .images
                .iter()
                .map(|image| (image.clone(), 100 << 20))
                .collect(),
            labels: machine.labels.clone(),
        })
    }
}

#[derive(Debug)]
struct Listener(Stream);

impl Events for Listener {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Event>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(events) = &mut state.events else {
            return Poll::Ready(Err(Error::Unavailable {
                what: "the simulated runtime".to_owned(),
                why: "it was lost".to_owned(),
            }));
        };
        if events.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(events.drain(..).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::runtime::conformance::{self, Workload};
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn keeps_the_contract() {
        let clock = Arc::new(VirtualClock::new());
        let machines = Arc::new(Mutex::new(Machines {
            clock: clock.clone(),
            random: Random::new(1),
            agenda: Agenda::default(),
            speeds: Speeds::default(),
            machines: vec![Machine::new(NodeSize::default(), BTreeMap::new())],
        }));
        let runtime = SimulatedRuntime {
            machines: machines.clone(),
            index: 0,
        };
        let named = |name: &str| Container {
            name: name.to_owned(),
            ..Container::default()
        };
        let mut pod = Pod::default();
        let annotations = [("run.ending", "1s"), ("image.broken", "missing")];
        let annotations = annotations
            .map(|(name, value)| (format!("simulate.ampoule.dev/{name}"), value.to_owned()));
        pod.metadata.annotations = Some(annotations.into());
        let workload = Workload {
            pod,
            lasting: named("lasting"),
            ending: named("ending"),
            broken: named("broken"),
        };
        conformance::run(&runtime, &workload, || {
            let mut machines = machines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(next) = machines.agenda.next() {
                clock.advance_to(next);
            }
            machines.happen();
        });
    }
}

//! The simulation: the control loop, the nodes, and the time between them.

use super::behaviour::{NodeSize, Speeds};
use super::events::Agenda;
use super::faults::Faults;
use super::random::Random;
use super::runtime::{Machine, Machines, SimulatedRuntime};
use super::timeline::{Sample, Timeline, state_of};
use crate::clock::{Clock, VirtualClock};
use crate::control::{ControlLoop, Record, View};
use crate::controllers::{Deployments, Endpoints, Garbage, ReplicaSets};
use crate::error::Result;
use crate::network::PaperNetwork;
use crate::node::{Agents, Lifecycle};
use crate::object::Object;
use crate::runtime::HeldState;
use crate::scheduler::Scheduler;
use crate::store::{MemoryStore, Store, Write};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated cluster.
#[derive(Debug)]
pub struct Simulation {
    clock: Arc<VirtualClock>,
    store: Arc<MemoryStore>,
    control: ControlLoop,
    machines: Arc<Mutex<Machines>>,
    network: Arc<PaperNetwork>,
    faults: Faults,
    next_fault: Timestamp,
    /// When a node that is switched off or cut off comes back.
    repairs: BTreeMap<usize, Timestamp>,
    timeline: Timeline,
}

/// How often faults are drawn.
const DICE: SignedDuration = SignedDuration::from_secs(1);

impl Simulation {
    /// An empty cluster; everything that will happen by chance follows from the seed.
    pub fn new(seed: u64) -> Simulation {
        let clock = Arc::new(VirtualClock::new());
        let store = Arc::new(MemoryStore::with_seed(clock.clone(), seed));
        let mut control = ControlLoop::new(store.clone(), clock.clone());
        let network = Arc::new(PaperNetwork::default());
        control.add(Deployments::default());
        control.add(ReplicaSets::default());
        control.add(Endpoints::new(network.clone()));
        control.add(Garbage::default());
        control.add(Lifecycle::default());
        control.add(Scheduler::new());
        let machines = Machines {
            clock: clock.clone(),
            random: Random::new(seed),
            agenda: Agenda::default(),
            speeds: Speeds::default(),
            machines: Vec::new(),
        };
        Simulation {
            next_fault: clock.now(),
            clock,
            store,
            control,
            machines: Arc::new(Mutex::new(machines)),
            network,
            faults: Faults::default(),
            repairs: BTreeMap::new(),
            timeline: Timeline::default(),
        }
    }

    /// Adds nodes, named `node-0`, `node-1` and so on, in three zones. They register at the first step.
    pub fn add_nodes(&mut self, count: usize, size: NodeSize) {
        let mut agents = Agents::default();
        for _ in 0..count {
            let mut machines = lock(&self.machines);
            let index = machines.machines.len();
            let zone = format!("zone-{}", index % 3);
            let labels = BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), zone)]);
            machines.machines.push(Machine::new(size, labels));
            drop(machines);
            let runtime = SimulatedRuntime {
                machines: self.machines.clone(),
                index,
            };
            agents.add(&format!("node-{index}"), Arc::new(runtime));
        }
        self.control.add(agents);
    }

    /// Adds another controller: an operator under test.
    pub fn add_controller(&mut self, controller: impl crate::control::Controller + 'static) {
        self.control.add(controller);
    }

    /// Sets how long things take from now on.
    pub fn set_speeds(&mut self, speeds: Speeds) {
        lock(&self.machines).speeds = speeds;
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.next_fault = self.clock.now();
    }

    /// Declares objects: new ones are created, those that are there take the new form.
    ///
    /// # Errors
    /// An object is refused; those before it have been taken.
    pub fn apply(&mut self, objects: impl IntoIterator<Item = Object>) -> Result<()> {
        for mut object in objects {
            match self.store.write_one(Write::Create(object.clone())) {
                Err(error) if error.kind() == crate::ErrorKind::AlreadyExists => {
                    object.meta_mut().resource_version = None;
                    object.meta_mut().uid = None;
                    self.store.write_one(Write::Update(object))?;
                }
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Switches a node off: everything on it is lost. It stays off until [`restore_node`](Simulation::restore_node).
    pub fn crash_node(&mut self, index: usize) {
        if let Some(machine) = lock(&self.machines).machines.get_mut(index) {
            machine.down = true;
            machine.pods.clear();
            machine.interrupt();
        }
    }

    /// Cuts a node off: what runs on it goes on, and nobody hears of it.
    pub fn cut_off_node(&mut self, index: usize) {
        if let Some(machine) = lock(&self.machines).machines.get_mut(index) {
            machine.cut_off = true;
            machine.interrupt();
        }
    }

    /// Brings a node back that was switched off or cut off.
    pub fn restore_node(&mut self, index: usize) {
        if let Some(machine) = lock(&self.machines).machines.get_mut(index) {
            machine.down = false;
            machine.cut_off = false;
        }
        self.repairs.remove(&index);
    }

    /// Does all that is due now, then lets the time pass until something is. Returns false when nothing will ever be.
    ///
    /// # Errors
    /// The store fails.
    pub fn step(&mut self) -> Result<bool> {
        self.step_until(Timestamp::MAX)
    }

    fn step_until(&mut self, limit: Timestamp) -> Result<bool> {
        let now = self.clock.now();
        self.repair(now);
        self.draw_faults(now);
        let due = self.control.pump()?;
        self.note();
        let fault = (!self.faults.is_none()).then_some(self.next_fault);
        let repair = self.repairs.values().min().copied();
        let coming = lock(&self.machines).agenda.next();
        let next = [due, coming, fault, repair].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= limit) else {
            return Ok(false);
        };
        self.clock.advance_to(next);
        lock(&self.machines).happen();
        Ok(true)
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    /// The store fails.
    pub fn run_for(&mut self, time: SignedDuration) -> Result<()> {
        let end = self
            .clock
            .now()
            .saturating_add(time)
            .unwrap_or(Timestamp::MAX);
        while self.step_until(end)? {}
        self.clock.advance_to(end);
        self.control.pump()?;
        self.note();
        Ok(())
    }

    /// Runs until `done` says so, at most for so long. Returns whether it said so.
    ///
    /// # Errors
    /// The store fails.
    pub fn run_until(
        &mut self,
        longest: SignedDuration,
        mut done: impl FnMut(&View) -> bool,
    ) -> Result<bool> {
        let end = self
            .clock
            .now()
            .saturating_add(longest)
            .unwrap_or(Timestamp::MAX);
        // What was declared just now is to be seen before it is judged.
        self.control.pump()?;
        loop {
            if done(self.control.view()) {
                return Ok(true);
            }
            if !self.step_until(end)? {
                return Ok(done(self.control.view()));
            }
        }
    }

    /// Runs at the pace of real time, or so many times faster, for so much virtual time.
    ///
    /// # Errors
    /// The store fails.
    pub fn run_paced(&mut self, time: SignedDuration, faster: u32) -> Result<()> {
        let end = self
            .clock
            .now()
            .saturating_add(time)
            .unwrap_or(Timestamp::MAX);
        loop {
            let before = self.clock.now();
            if !self.step_until(end)? {
                return Ok(());
            }
            let passed = self.clock.now().duration_since(before);
            let passed = std::time::Duration::try_from(passed).unwrap_or_default();
            std::thread::sleep(passed / faster.max(1));
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// All objects.
    pub fn view(&self) -> &View {
        self.control.view()
    }

    /// Where the objects are kept: to be read, written and watched by others.
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }

    /// What the network was told.
    pub fn network(&self) -> &Arc<PaperNetwork> {
        &self.network
    }

    /// What has happened so far.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// How many pods are in which state.
    pub fn pods_by_state(&self) -> BTreeMap<&'static str, usize> {
        let mut states = BTreeMap::new();
        for pod in self.view().all::<Pod>() {
            *states.entry(state_of(pod)).or_default() += 1;
        }
        states
    }

    fn repair(&mut self, now: Timestamp) {
        let due: Vec<usize> = self
            .repairs
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(node, _)| *node)
            .collect();
        due.into_iter().for_each(|node| self.restore_node(node));
    }

    fn draw_faults(&mut self, now: Timestamp) {
        if self.faults.is_none() || self.next_fault > now {
            return;
        }
        self.next_fault = now.saturating_add(DICE).unwrap_or(Timestamp::MAX);
        let faults = self.faults;
        let nodes = lock(&self.machines).machines.len();
        for node in 0..nodes {
            let mut machines = lock(&self.machines);
            let crash = machines.random.happens(faults.node_crash);
            let cut = machines.random.happens(faults.partition);
            let minutes = 1 + machines.random.below(9);
            if machines.machines[node].down || machines.machines[node].cut_off {
                continue;
            }
            crash_containers(&mut machines, node, faults.container_crash);
            drop(machines);
            match (crash, cut) {
                (true, _) => self.crash_node(node),
                (_, true) => self.cut_off_node(node),
                _ => continue,
            }
            let back = now.saturating_add(SignedDuration::from_mins(minutes as i64));
            self.repairs.insert(node, back.unwrap_or(Timestamp::MAX));
        }
    }

    /// Keeps what there is to tell: the records, and the numbers when they have changed.
    fn note(&mut self) {
        let records: Vec<Record> = self.control.take_records();
        if records.is_empty() && !self.timeline.is_due(self.clock.now()) {
            return;
        }
        let sample = Sample {
            time: self.clock.now(),
            pods: self.pods_by_state(),
        };
        self.timeline.add(records, sample);
    }
}

fn crash_containers(machines: &mut Machines, node: usize, per_million: u64) {
    if per_million == 0 {
        return;
    }
    let pods = machines.machines[node].pods.values();
    let containers = pods.flat_map(|pod| pod.containers.values());
    let running = containers.filter(|container| container.state == HeldState::Running);
    let running: Vec<_> = running
        .map(|container| container.reference.clone())
        .collect();
    for container in running {
        if machines.random.happens(per_million) {
            machines.exit(node, &container, 1, false);
        }
    }
}

fn lock(machines: &Mutex<Machines>) -> MutexGuard<'_, Machines> {
    machines.lock().unwrap_or_else(PoisonError::into_inner)
}

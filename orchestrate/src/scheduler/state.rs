//! Everything that decisions are made from, kept up to date one change at a time.

use super::counts::{Counted, Counts, GroupId};
use super::demand::Demand;
use super::nodes::{NodeId, NodeState, Topology};
use super::ranking::{Dynamic, Field, Ranking, Rule};
use super::score::{Plugin, Weights};
use super::terms::PodTerm;
use crate::selector::Labels;
use k8s_openapi::api::core::v1::{Node, Pod};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Names a sort of pods: all that ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeId(pub(super) u32);

#[derive(Debug)]
pub(super) struct Shape {
    pub demand: Demand,
    pub namespace: Arc<str>,
    /// The labels of its pods, if they matter to anyone.
    pub labels: Labels,
    pub group: GroupId,
    pub dynamics: Vec<Dynamic>,
    /// How many refusing terms there were when the dynamics were made.
    refusals: usize,
    pub ranking: Option<Ranking>,
}

/// A pod on a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub node: NodeId,
    pub shape: u32,
    pub priority: i32,
    /// Its place in its node's list of pods.
    slot: u32,
}

type ShapeKey = (Demand, Arc<str>, Labels);

/// The nodes, the pods on them, and the rankings.
#[derive(Debug, Default)]
pub struct Scheduling {
    pub(super) nodes: Vec<NodeState>,
    names: FxHashMap<Arc<str>, NodeId>,
    pub(super) counts: Counts,
    pub(super) shapes: Vec<Shape>,
    known: FxHashMap<ShapeKey, u32>,
    pub(super) placed: Vec<Option<Placed>>,
    free: Vec<u32>,
    pub(super) by_uid: FxHashMap<Arc<str>, u32>,
    /// The anti-affinity terms of any shape: who refuses whom.
    refusing: Vec<PodTerm>,
    /// The images that any node has, or had.
    images: FxHashSet<String>,
    /// The nodes that changed, in order; `log_start` is the number of the first that is kept.
    log: Vec<NodeId>,
    log_start: u64,
    epoch: u64,
    recount: bool,
    pub(super) weights: Weights,
    pub(super) plugins: Vec<Arc<dyn Plugin>>,
}

/// How many rankings are kept; the others are made anew when they are needed.
const RANKINGS: usize = 512;

impl Scheduling {
    /// Nodes and pods will be told later; the scores count as given.
    pub fn new(weights: Weights, plugins: Vec<Arc<dyn Plugin>>) -> Scheduling {
        Scheduling {
            weights,
            plugins,
            ..Scheduling::default()
        }
    }

    /// Adds a node, or takes in that it changed.
    pub fn set_node(&mut self, node: &Node) {
        let mut fresh = NodeState::of(node);
        let known = self.names.get(&fresh.name).copied();
        let Some(id) = known else {
            let id = self.nodes.len() as NodeId;
            self.names.insert(fresh.name.clone(), id);
            self.nodes.push(fresh);
            self.renew(id);
            return;
        };
        let old = &mut self.nodes[id as usize];
        if old.present && old.is_same(&fresh) {
            return;
        }
        fresh.used = std::mem::take(&mut old.used);
        fresh.ports = std::mem::take(&mut old.ports);
        fresh.pods = std::mem::take(&mut old.pods);
        *old = fresh;
        self.renew(id);
    }

    /// Takes in that a node is gone. Its pods stay counted until they are removed themselves.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(id) = self.names.get(name).copied() {
            self.nodes[id as usize].present = false;
            self.renew(id);
        }
    }

    fn renew(&mut self, id: NodeId) {
        self.epoch += 1;
        self.recount = true;
        let images = self.nodes[id as usize].images.keys();
        self.images.extend(images.cloned());
        for topology in &mut self.counts.topologies {
            topology.set(id, &self.nodes[id as usize]);
        }
    }

    /// The sort of a pod. Pods of one template are of one sort.
    pub fn shape(&mut self, pod: &Pod) -> ShapeId {
        let mut demand = Demand::of(pod);
        // An image that no node has makes no difference, and would make a sort of its own.
        demand.images.retain(|image| self.images.contains(image));
        let none = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let matter =
            !demand.is_plain() || !self.plugins.is_empty() || self.is_counted(namespace, labels);
        // Labels that matter to nobody would make a sort of every deployment.
        let kept = if matter {
            labels.clone()
        } else {
            Labels::new()
        };
        let space: Arc<str> = if matter { namespace.into() } else { "".into() };
        let key = (demand, space, kept);
        if let Some(known) = self.known.get(&key) {
            return ShapeId(*known);
        }
        self.add_shape(key)
    }

    /// Whether any rule counts pods with these labels.
    fn is_counted(&self, namespace: &str, labels: &Labels) -> bool {
        let mut counters = self.counts.counters.iter();
        counters.any(|counter| counter.counted.term().matches(namespace, labels))
    }

    fn add_shape(&mut self, key: ShapeKey) -> ShapeId {
        let (demand, namespace, labels) = key.clone();
        for term in &demand.anti {
            if !self.refusing.contains(term) {
                self.refusing.push(term.clone());
            }
        }
        let group = self.counts.group(&namespace, &labels, &demand.anti);
        let id = self.shapes.len() as u32;
        self.shapes.push(Shape {
            demand,
            namespace,
            labels,
            group,
            dynamics: Vec::new(),
            refusals: usize::MAX,
            ranking: None,
        });
        self.known.insert(key, id);
        // Counters begin now, so that pods placed from here on are counted under their labels.
        self.prepare(id);
        ShapeId(id)
    }

    /// Makes a shape's rules; made again when another shape began to refuse pods.
    fn prepare(&mut self, id: u32) {
        if self.shapes[id as usize].refusals == self.refusing.len() {
            return;
        }
        let shape = &self.shapes[id as usize];
        let demand = shape.demand.clone();
        let (namespace, labels) = (shape.namespace.clone(), shape.labels.clone());
        let mut dynamics = Vec::new();
        let mut add = |state: &mut Scheduling, counted: Counted, rule: Rule| {
            let counts_itself = counted.term().matches(&namespace, &labels);
            let topology = state.topology(&counted.term().topology);
            let counter = state.counts.counter(&counted, topology);
            dynamics.push(Dynamic {
                counter,
                rule,
                counts_itself,
            });
        };
        for term in demand.affinity {
            add(self, Counted::Meant(term), Rule::Beside);
        }
        for term in demand.anti {
            add(self, Counted::Meant(term), Rule::Apart);
        }
        for spread in demand.spread {
            let rule = match spread.hard {
                true => Rule::Even {
                    skew: spread.skew,
                    min_domains: spread.min_domains,
                },
                false => Rule::Evenly,
            };
            add(self, Counted::Meant(spread.term), rule);
        }
        for (weight, term) in demand.preferred_pods {
            add(self, Counted::Meant(term), Rule::Near(weight.into()));
        }
        for term in self.refusing.clone() {
            if term.matches(&namespace, &labels) {
                add(self, Counted::Refusing(term), Rule::Unwelcome);
            }
        }
        let shape = &mut self.shapes[id as usize];
        shape.dynamics = dynamics;
        shape.refusals = self.refusing.len();
        shape.ranking = None;
    }

    fn topology(&mut self, key: &str) -> u32 {
        let known = self
            .counts
            .topologies
            .iter()
            .position(|topology| topology.key == key);
        let at = known.unwrap_or_else(|| {
            self.counts.topologies.push(Topology::new(key, &self.nodes));
            self.counts.topologies.len() - 1
        });
        at as u32
    }

    /// The best node for a pod of this sort, or none. Nothing is taken there yet: see [`assume`](Scheduling::assume).
    pub fn place(&mut self, shape: ShapeId) -> Option<Arc<str>> {
        let node = self.best(shape)?;
        Some(self.nodes[node as usize].name.clone())
    }

    pub(super) fn best(&mut self, shape: ShapeId) -> Option<NodeId> {
        self.rank(shape);
        let shape = &self.shapes[shape.0 as usize];
        shape.ranking.as_ref()?.best(&self.field(shape))
    }

    pub(super) fn field<'f>(&'f self, shape: &'f Shape) -> Field<'f> {
        Field {
            demand: &shape.demand,
            labels: &shape.labels,
            dynamics: &shape.dynamics,
            nodes: &self.nodes,
            counts: &self.counts,
            weights: &self.weights,
            plugins: &self.plugins,
        }
    }

    /// Brings a shape's ranking up to date.
    pub(super) fn rank(&mut self, shape: ShapeId) {
        if std::mem::take(&mut self.recount) {
            self.counts.recount();
        }
        self.prepare(shape.0);
        let end = self.log_start + self.log.len() as u64;
        let at = shape.0 as usize;
        let ranking = self.shapes[at].ranking.take();
        let current = ranking
            .filter(|ranking| ranking.epoch == self.epoch && ranking.cursor >= self.log_start);
        let field = self.field(&self.shapes[at]);
        let ranking = match current {
            None => Ranking::build(&field, self.epoch, end),
            Some(mut ranking) => {
                let unread = (ranking.cursor - self.log_start) as usize;
                for id in &self.log[unread..] {
                    ranking.refresh(&field, *id);
                }
                ranking.cursor = end;
                ranking
            }
        };
        self.shapes[at].ranking = Some(ranking);
        self.tidy();
    }

    /// Forgets changes that are so many that a ranking which has not read them is better made anew.
    fn tidy(&mut self) {
        let most = (2 * self.nodes.len()).max(1_024);
        if self.log.len() <= 2 * most {
            return;
        }
        let surplus = self.log.len() - most;
        self.log.drain(..surplus);
        self.log_start += surplus as u64;
        let ranked = self
            .shapes
            .iter()
            .filter(|shape| shape.ranking.is_some())
            .count();
        if ranked > RANKINGS {
            let start = self.log_start;
            for shape in &mut self.shapes {
                shape.ranking = shape
                    .ranking
                    .take()
                    .filter(|ranking| ranking.cursor >= start);
            }
        }
    }

    /// Takes what a pod of this sort needs on a node. A pod that is there already is not taken twice.
    pub fn assume(&mut self, uid: &str, shape: ShapeId, priority: i32, node: &str) {
        let Some(id) = self.names.get(node).copied() else {
            return;
        };
        if self.by_uid.contains_key(uid) {
            return;
        }
        let at = self.free.pop().unwrap_or(self.placed.len() as u32);
        let state = &mut self.nodes[id as usize];
        let placed = Placed {
            node: id,
            shape: shape.0,
            priority,
            slot: state.pods.len() as u32,
        };
        if at as usize == self.placed.len() {
            self.placed.push(Some(placed));
        } else {
            self.placed[at as usize] = Some(placed);
        }
        state.pods.push(at);
        let shape = &self.shapes[shape.0 as usize];
        state.used.add(&shape.demand.resources);
        state.ports.extend_from_slice(&shape.demand.ports);
        let group = shape.group;
        self.by_uid.insert(uid.into(), at);
        self.moved(group, id, 1);
    }

    /// Gives back what a pod held.
    pub fn forget(&mut self, uid: &str) {
        let Some(at) = self.by_uid.remove(uid) else {
            return;
        };
        let Some(placed) = self.placed[at as usize].take() else {
            return;
        };
        self.free.push(at);
        let node = &mut self.nodes[placed.node as usize];
        node.pods.swap_remove(placed.slot as usize);
        if let Some(moved) = node.pods.get(placed.slot as usize).copied()
            && let Some(other) = &mut self.placed[moved as usize]
        {
            other.slot = placed.slot;
        }
        let shape = &self.shapes[placed.shape as usize];
        node.used.subtract(&shape.demand.resources);
        for port in &shape.demand.ports {
            if let Some(at) = node.ports.iter().position(|taken| taken == port) {
                node.ports.swap_remove(at);
            }
        }
        let group = shape.group;
        self.moved(group, placed.node, -1);
    }

    /// Whether a pod is placed.
    pub fn holds(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    fn moved(&mut self, group: GroupId, node: NodeId, by: i32) {
        let log = &mut self.log;
        log.push(node);
        self.counts.moved(group, node, by, |_, topology| {
            // In a coarse topology the count is looked up by domain; in a fine one it is part of each node's place.
            if topology.is_fine() {
                let domain = topology.of_node.get(node as usize).copied();
                let members = domain.and_then(|domain| topology.members.get(domain as usize));
                let others = members
                    .into_iter()
                    .flatten()
                    .filter(|member| **member != node);
                log.extend(others.copied());
            }
        });
        self.tidy();
    }
}

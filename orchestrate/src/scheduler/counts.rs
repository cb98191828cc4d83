//! How many pods of a kind lie in each topology domain.
//!
//! Pods with equal labels form a group. A group knows which counters count it, so that placing a pod adds one to each of
//! those; and it knows where its pods are, so that a new counter starts right without looking at every pod.

use super::nodes::{NOWHERE, NodeId, Topology};
use super::terms::PodTerm;
use crate::selector::Labels;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(super) type CounterId = u32;
pub(super) type GroupId = u32;

/// Whom a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// The pods that a term means.
    Meant(PodTerm),
    /// The pods that refuse to lie beside those which the term means.
    Refusing(PodTerm),
}

impl Counted {
    pub(super) fn term(&self) -> &PodTerm {
        match self {
            Counted::Meant(term) | Counted::Refusing(term) => term,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Counter {
    pub counted: Counted,
    pub topology: u32,
    /// By domain.
    pub counts: Vec<u32>,
    pub total: u32,
}

#[derive(Clone, Debug)]
struct Group {
    namespace: Arc<str>,
    labels: Labels,
    /// The terms by which the pods of this group refuse others.
    refuses: Vec<PodTerm>,
    counters: Vec<CounterId>,
    nodes: FxHashMap<NodeId, u32>,
}

impl Group {
    fn is_counted_by(&self, counter: &Counted) -> bool {
        match counter {
            Counted::Meant(term) => term.matches(&self.namespace, &self.labels),
            Counted::Refusing(term) => self.refuses.contains(term),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub topologies: Vec<Topology>,
    pub counters: Vec<Counter>,
    known: FxHashMap<Counted, CounterId>,
    groups: Vec<Group>,
    named: FxHashMap<(Arc<str>, Labels, Vec<PodTerm>), GroupId>,
}

impl Counts {
    /// The group of pods like this one.
    pub(super) fn group(
        &mut self,
        namespace: &str,
        labels: &Labels,
        refuses: &[PodTerm],
    ) -> GroupId {
        let key = (namespace.into(), labels.clone(), refuses.to_vec());
        if let Some(known) = self.named.get(&key) {
            return *known;
        }
        let id = self.groups.len() as GroupId;
        let mut group = Group {
            namespace: key.0.clone(),
            labels: labels.clone(),
            refuses: refuses.to_vec(),
            counters: Vec::new(),
            nodes: FxHashMap::default(),
        };
        let counters = self.counters.iter().enumerate();
        let mine = counters.filter(|(_, counter)| group.is_counted_by(&counter.counted));
        group.counters = mine.map(|(id, _)| id as CounterId).collect();
        self.groups.push(group);
        self.named.insert(key, id);
        id
    }

    /// The counter for this, made and filled if it is new.
    pub(super) fn counter(&mut self, counted: &Counted, topology: u32) -> CounterId {
        if let Some(known) = self.known.get(counted) {
            return *known;
        }
        let id = self.counters.len() as CounterId;
        let mut counter = Counter {
            counted: counted.clone(),
            topology,
            counts: Vec::new(),
            total: 0,
        };
        for group in &mut self.groups {
            if group.is_counted_by(counted) {
                group.counters.push(id);
                for (node, count) in &group.nodes {
                    counter.add(&self.topologies[topology as usize], *node, *count as i32);
                }
            }
        }
        self.counters.push(counter);
        self.known.insert(counted.clone(), id);
        id
    }

    /// Notes that a pod of a group came to a node (`1`) or left it (`-1`); tells which counters changed.
    pub(super) fn moved(
        &mut self,
        group: GroupId,
        node: NodeId,
        by: i32,
        mut changed: impl FnMut(&Counter, &Topology),
    ) {
        let group = &mut self.groups[group as usize];
        let here = group.nodes.entry(node).or_default();
        *here = here.saturating_add_signed(by);
        if *here == 0 {
            group.nodes.remove(&node);
        }
        for id in &group.counters {
            let counter = &mut self.counters[*id as usize];
            let topology = &self.topologies[counter.topology as usize];
            counter.add(topology, node, by);
            changed(counter, topology);
        }
    }

    /// Counts everything again, after nodes came, went or changed their domains.
    pub(super) fn recount(&mut self) {
        for counter in &mut self.counters {
            counter.counts.clear();
            counter.total = 0;
        }
        for group in &self.groups {
            for id in &group.counters {
                let counter = &mut self.counters[*id as usize];
                let topology = &self.topologies[counter.topology as usize];
                for (node, count) in &group.nodes {
                    counter.add(topology, *node, *count as i32);
                }
            }
        }
    }
}

impl Counter {
    fn add(&mut self, topology: &Topology, node: NodeId, by: i32) {
        let domain = topology
            .of_node
            .get(node as usize)
            .copied()
            .unwrap_or(NOWHERE);
        if domain == NOWHERE {
            return;
        }
        if self.counts.len() < topology.members.len() {
            self.counts.resize(topology.members.len(), 0);
        }
        let count = &mut self.counts[domain as usize];
        *count = count.saturating_add_signed(by);
        self.total = self.total.saturating_add_signed(by);
    }

    #[inline]
    pub(super) fn in_domain(&self, domain: u32) -> u32 {
        self.counts.get(domain as usize).copied().unwrap_or(0)
    }
}

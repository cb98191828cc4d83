//! The nodes: what they have, what of it is taken, and in which topology domains they lie.

use super::demand::{Demand, HostPort, clash};
use super::resources::Resources;
use crate::selector::Labels;
use k8s_openapi::api::core::v1::{Node, Taint};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's place in the list.
pub(super) type NodeId = u32;

/// No domain: the node lacks the label.
pub(super) const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub name: Arc<str>,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub allocatable: Resources,
    pub used: Resources,
    pub ports: Vec<HostPort>,
    pub images: BTreeMap<String, i64>,
    /// The pods on it, by their place in the list of pods.
    pub pods: Vec<u32>,
    /// False once the node has been removed: its place is kept for the next.
    pub present: bool,
}

impl NodeState {
    pub(super) fn of(node: &Node) -> NodeState {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let mut taints = spec
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        if spec.and_then(|spec| spec.unschedulable) == Some(true) {
            taints.push(Taint {
                key: "node.kubernetes.io/unschedulable".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut labels = node.metadata.labels.clone().unwrap_or_default();
        labels
            .entry("kubernetes.io/hostname".to_owned())
            .or_insert_with(|| name.clone());
        let room = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let listed = status.and_then(|status| status.images.as_ref());
        let images = listed.into_iter().flatten().flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image
                .names
                .iter()
                .flatten()
                .map(move |name| (name.clone(), size))
        });
        NodeState {
            name: name.into(),
            labels,
            taints,
            allocatable: room.map(Resources::of_map).unwrap_or_default(),
            used: Resources::default(),
            ports: Vec::new(),
            images: images.collect(),
            pods: Vec::new(),
            present: true,
        }
    }

    /// Whether two descriptions differ in what decisions depend on.
    pub(super) fn is_same(&self, other: &NodeState) -> bool {
        self.labels == other.labels
            && self.taints == other.taints
            && self.allocatable == other.allocatable
            && self.images == other.images
    }

    #[inline]
    pub(super) fn has_room(&self, demand: &Demand) -> bool {
        self.allocatable.has_room(&self.used, &demand.resources)
            && (demand.ports.is_empty() || !self.has_clash(demand))
    }

    pub(super) fn has_clash(&self, demand: &Demand) -> bool {
        let taken = |port: &HostPort| self.ports.iter().any(|other| clash(port, other));
        demand.ports.iter().any(taken)
    }
}

/// The domains of one topology key.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    pub key: String,
    domains: FxHashMap<String, u32>,
    /// The domain of each node.
    pub of_node: Vec<u32>,
    /// The nodes of each domain.
    pub members: Vec<Vec<NodeId>>,
}

impl Topology {
    pub(super) fn new(key: &str, nodes: &[NodeState]) -> Topology {
        let mut topology = Topology {
            key: key.to_owned(),
            domains: FxHashMap::default(),
            of_node: Vec::new(),
            members: Vec::new(),
        };
        for (id, node) in nodes.iter().enumerate() {
            topology.set(id as NodeId, node);
        }
        topology
    }

    /// Puts a node into the domain that its label names.
    pub(super) fn set(&mut self, id: NodeId, node: &NodeState) {
        let at = id as usize;
        if self.of_node.len() <= at {
            self.of_node.resize(at + 1, NOWHERE);
        }
        if let Some(old) = self.members.get_mut(self.of_node[at] as usize) {
            old.retain(|member| *member != id);
        }
        let value = node.labels.get(&self.key).filter(|_| node.present);
        let Some(value) = value else {
            self.of_node[at] = NOWHERE;
            return;
        };
        let next = self.domains.len() as u32;
        let domain = *self.domains.entry(value.clone()).or_insert(next);
        if domain == next {
            self.members.push(Vec::new());
        }
        self.members[domain as usize].push(id);
        self.of_node[at] = domain;
    }

    /// Whether a domain is so small that re-evaluating all of its nodes is cheaper than ranking it by itself.
    pub(super) fn is_fine(&self) -> bool {
        self.members.len() * 8 >= self.of_node.len() && self.of_node.len() > 8
    }
}

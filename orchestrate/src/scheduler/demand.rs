//! What a pod asks of a node, read from its object once.

use super::resources::Resources;
use super::terms::{NodeTerm, PodTerm, Spread};
use crate::selector::{Labels, Selector};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use std::hash::{Hash, Hasher};

/// A port of the node: protocol, address (empty for all) and number.
pub(super) type HostPort = (String, String, i32);

/// What a pod asks of a node. Equal demands have equal answers, except for what depends on the pod's own labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Demand {
    pub resources: Resources,
    pub node_selector: Option<Selector>,
    /// One of these must match, if there are any; a list that is there and empty matches nothing.
    pub node_terms: Option<Vec<NodeTerm>>,
    pub preferred_nodes: Vec<(i32, NodeTerm)>,
    pub tolerations: Vec<Toleration>,
    pub ports: Vec<HostPort>,
    pub images: Vec<String>,
    pub affinity: Vec<PodTerm>,
    pub anti: Vec<PodTerm>,
    pub preferred_pods: Vec<(i32, PodTerm)>,
    pub spread: Vec<Spread>,
}

impl Eq for Demand {}

impl Hash for Demand {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.resources.hash(state);
        self.node_selector.hash(state);
        self.node_terms.hash(state);
        self.preferred_nodes.hash(state);
        for toleration in &self.tolerations {
            (&toleration.key, &toleration.value, &toleration.effect).hash(state);
        }
        self.ports.hash(state);
        self.images.hash(state);
        self.affinity.hash(state);
        self.anti.hash(state);
        self.preferred_pods.hash(state);
        self.spread.hash(state);
    }
}

impl Demand {
    pub(super) fn of(pod: &Pod) -> Demand {
        let Some(spec) = &pod.spec else {
            return Demand::default();
        };
        let mut demand = Demand {
            resources: Resources::of_pod(spec),
            node_selector: spec
                .node_selector
                .as_ref()
                .filter(|s| !s.is_empty())
                .map(Selector::exactly),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            ports: host_ports(spec),
            images: images(spec),
            ..Demand::default()
        };
        let none = Labels::new();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let constraints = spec.topology_spread_constraints.iter().flatten();
        demand.spread = constraints
            .map(|c| Spread::of(c, namespace, labels))
            .collect();
        demand.read_affinity(spec, namespace);
        demand
    }

    fn read_affinity(&mut self, spec: &PodSpec, namespace: &str) {
        let Some(affinity) = &spec.affinity else {
            return;
        };
        if let Some(node) = &affinity.node_affinity {
            let required = node
                .required_during_scheduling_ignored_during_execution
                .as_ref();
            let terms = |terms: &Vec<_>| terms.iter().filter_map(NodeTerm::of).collect();
            self.node_terms = required.map(|selector| terms(&selector.node_selector_terms));
            for term in node
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
            {
                if let Some(made) = NodeTerm::of(&term.preference) {
                    self.preferred_nodes.push((term.weight, made));
                }
            }
        }
        if let Some(pods) = &affinity.pod_affinity {
            let hard = pods
                .required_during_scheduling_ignored_during_execution
                .iter()
                .flatten();
            self.affinity = hard.map(|term| PodTerm::of(term, namespace)).collect();
            for soft in pods
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
            {
                let term = PodTerm::of(&soft.pod_affinity_term, namespace);
                self.preferred_pods.push((soft.weight, term));
            }
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            let hard = pods
                .required_during_scheduling_ignored_during_execution
                .iter()
                .flatten();
            self.anti = hard.map(|term| PodTerm::of(term, namespace)).collect();
            for soft in pods
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
            {
                let term = PodTerm::of(&soft.pod_affinity_term, namespace);
                self.preferred_pods.push((-soft.weight, term));
            }
        }
    }

    /// Whether the answer depends on other pods only through the room they take.
    pub(super) fn is_plain(&self) -> bool {
        self.affinity.is_empty()
            && self.anti.is_empty()
            && self.preferred_pods.is_empty()
            && self.spread.is_empty()
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network == Some(true);
    let ports = spec
        .containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten());
    let bound = ports.filter_map(|port| {
        let number = port.host_port.or(on_host.then_some(port.container_port))?;
        let address = port.host_ip.clone().unwrap_or_default();
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((protocol, address, number))
    });
    bound.collect()
}

fn images(spec: &PodSpec) -> Vec<String> {
    let mut images: Vec<String> = spec
        .containers
        .iter()
        .filter_map(|c| c.image.clone())
        .collect();
    images.sort();
    images.dedup();
    images
}

/// Whether two pods cannot listen on both: an empty address stands for all.
pub(super) fn clash(a: &HostPort, b: &HostPort) -> bool {
    let any = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || any(&a.1) || any(&b.1))
}

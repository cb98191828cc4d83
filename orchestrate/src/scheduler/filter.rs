//! Why a node is out of the question.

use super::demand::Demand;
use super::nodes::NodeState;
use super::terms::tolerates;
use std::fmt;

/// Why a pod cannot go to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The node does not have what `nodeSelector` or the required node affinity ask for.
    Affinity,
    /// A taint of the node that the pod does not tolerate: its key and value.
    Taint(String, String),
    /// There is not enough left: what is missing.
    Room(String),
    /// A port of the node is taken.
    Ports,
    /// A required pod affinity is not met.
    PodAffinity,
    /// A required pod anti-affinity is not met.
    PodAntiAffinity,
    /// A pod that is there refuses this one.
    ExistingAntiAffinity,
    /// The pods would be spread too unevenly.
    Spread,
    /// The node lacks a label that the topology spread needs.
    SpreadLabel,
    /// A plugin says no.
    Plugin(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Refusal::Taint(key, value) => {
                write!(f, "node(s) had untolerated taint {{{key}: {value}}}")
            }
            Refusal::Room(what) => f.write_str(what),
            Refusal::Ports => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
            Refusal::PodAffinity => f.write_str("node(s) didn't match pod affinity rules"),
            Refusal::PodAntiAffinity => f.write_str("node(s) didn't match pod anti-affinity rules"),
            Refusal::ExistingAntiAffinity => {
                f.write_str("node(s) didn't satisfy existing pods anti-affinity rules")
            }
            Refusal::Spread => f.write_str("node(s) didn't match pod topology spread constraints"),
            Refusal::SpreadLabel => f.write_str(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ),
            Refusal::Plugin(name) => write!(f, "node(s) were refused by plugin {name}"),
        }
    }
}

/// What speaks against a node whatever runs on it. Asked once for a shape and a node.
pub(super) fn fixed(demand: &Demand, node: &NodeState) -> Option<Refusal> {
    for taint in node
        .taints
        .iter()
        .filter(|taint| taint.effect != "PreferNoSchedule")
    {
        if !tolerates(&demand.tolerations, taint) {
            let value = taint.value.clone().unwrap_or_default();
            return Some(Refusal::Taint(taint.key.clone(), value));
        }
    }
    (!is_eligible(demand, node)).then_some(Refusal::Affinity)
}

/// Whether the node selector and the required node affinity mean this node.
pub(super) fn is_eligible(demand: &Demand, node: &NodeState) -> bool {
    let selected = demand.node_selector.as_ref();
    let terms = demand.node_terms.as_ref();
    selected.is_none_or(|selector| selector.matches(&node.labels))
        && terms.is_none_or(|terms| {
            terms
                .iter()
                .any(|term| term.matches(&node.name, &node.labels))
        })
}

/// What speaks against a node because of what runs on it.
pub(super) fn room(demand: &Demand, node: &NodeState) -> Vec<Refusal> {
    let missing = node.allocatable.missing(&node.used, &demand.resources);
    let mut refusals: Vec<Refusal> = missing.into_iter().map(Refusal::Room).collect();
    if node.has_clash(demand) {
        refusals.push(Refusal::Ports);
    }
    refusals
}

//! How good a node is, among those that can take a pod.
//!
//! The scores and their weights are those of Kubernetes' default profile. Two things differ, and on purpose: a point is
//! divided into a thousand parts, so that ties are rare; and what Kubernetes normalises over the feasible nodes (taints, node
//! affinity) is normalised over the eligible ones, so that a node's score does not change because another one filled up.

use super::demand::Demand;
use super::nodes::NodeState;
use super::terms::tolerates;
use std::fmt::Debug;
use std::sync::Arc;

/// The best score of one sort, in thousandths of a point.
pub(super) const BEST: i64 = 100_000;
/// What a container that asks for nothing is taken to use when nodes are scored: 100m and 200 MB, as in Kubernetes.
const UNSTATED: (i64, i64) = (100, 200 << 20);

/// How much each sort of score counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Leaving room: the emptier the node, the better.
    pub least_allocated: i64,
    /// Using CPU and memory to the same part.
    pub balanced: i64,
    /// Avoiding taints with effect `PreferNoSchedule`.
    pub taints: i64,
    /// Preferred node affinity.
    pub node_affinity: i64,
    /// Preferred pod affinity and anti-affinity.
    pub pod_affinity: i64,
    /// Spreading over topology domains.
    pub spread: i64,
    /// The images being there.
    pub images: i64,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            least_allocated: 1,
            balanced: 1,
            taints: 3,
            node_affinity: 2,
            pod_affinity: 2,
            spread: 2,
            images: 1,
        }
    }
}

/// A filter and score of one's own.
///
/// # Contract
/// The answers depend on the pod's and the node's labels alone: they are asked once for a kind of pod and a node, and kept
/// until the node changes.
pub trait Plugin: Send + Sync + Debug {
    /// Its name, for explanations.
    fn name(&self) -> &'static str;
    /// Whether the pod may go to the node.
    fn allows(&self, _pod: &crate::selector::Labels, _node: &crate::selector::Labels) -> bool {
        true
    }
    /// How good the node is for the pod, from 0 to 100.
    fn score(&self, _pod: &crate::selector::Labels, _node: &crate::selector::Labels) -> i64 {
        0
    }
}

/// The parts of a node's score that do not change while pods come and go, before they are normalised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fixed {
    pub taints: i64,
    pub affinity: i64,
    pub images: i64,
    pub plugins: i64,
}

impl Fixed {
    pub(super) fn of(
        demand: &Demand,
        node: &NodeState,
        plugins: &[Arc<dyn Plugin>],
        labels: &crate::selector::Labels,
    ) -> Fixed {
        let soft = node
            .taints
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule");
        let disliked = soft
            .filter(|taint| !tolerates(&demand.tolerations, taint))
            .count();
        let preferred = demand.preferred_nodes.iter();
        let liked = preferred.filter(|(_, term)| term.matches(&node.name, &node.labels));
        let sizes = demand
            .images
            .iter()
            .filter_map(|image| node.images.get(image));
        Fixed {
            taints: disliked as i64,
            affinity: liked.map(|(weight, _)| i64::from(*weight)).sum(),
            images: image_score(sizes.sum(), demand.images.len() as i64),
            plugins: plugins
                .iter()
                .map(|p| p.score(labels, &node.labels).clamp(0, 100) * (BEST / 100))
                .sum(),
        }
    }

    /// The sum of the fixed scores, given the largest of each among the eligible nodes.
    pub(super) fn total(self, most: Fixed, weights: &Weights) -> i64 {
        let share = |part: i64, most: i64| if most > 0 { part * BEST / most } else { 0 };
        let taints = if most.taints > 0 {
            BEST - share(self.taints, most.taints)
        } else {
            BEST
        };
        taints * weights.taints
            + share(self.affinity, most.affinity) * weights.node_affinity
            + self.images * weights.images
            + self.plugins
    }

    pub(super) fn max(self, other: Fixed) -> Fixed {
        Fixed {
            taints: self.taints.max(other.taints),
            affinity: self.affinity.max(other.affinity),
            images: self.images.max(other.images),
            plugins: self.plugins.max(other.plugins),
        }
    }
}

/// From 23 MB an image counts, and 1 GB a container is as good as it gets: `imagelocality`'s bounds.
fn image_score(bytes: i64, containers: i64) -> i64 {
    let (least, most) = (23 << 20, (1000 << 20) * containers.max(1));
    (bytes.clamp(least, most) - least) * BEST / (most - least)
}

/// The part of a node's score that follows from the room it has left.
#[inline]
pub(super) fn room(demand: &Demand, node: &NodeState, weights: &Weights) -> i64 {
    let cpu = if demand.resources.cpu == 0 {
        UNSTATED.0
    } else {
        demand.resources.cpu
    };
    let memory = if demand.resources.memory == 0 {
        UNSTATED.1
    } else {
        demand.resources.memory
    };
    let used = |used: i64, more: i64, all: i64| {
        if all > 0 {
            ((used + more) as f64 / all as f64).min(1.0)
        } else {
            1.0
        }
    };
    let cpu = used(node.used.cpu, cpu, node.allocatable.cpu);
    let memory = used(node.used.memory, memory, node.allocatable.memory);
    let least = (1.0 - (cpu + memory) / 2.0) * BEST as f64;
    // The standard deviation of two values is half of their distance.
    let balanced = (1.0 - (cpu - memory).abs() / 2.0) * BEST as f64;
    least as i64 * weights.least_allocated + balanced as i64 * weights.balanced
}

//! Why a pod goes where it goes, or nowhere.

use super::filter::{self, Refusal};
use super::nodes::NodeId;
use super::state::{Scheduling, ShapeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What every node said to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many could take the pod.
    pub feasible: usize,
    /// Why the others could not, and how many for that reason; a node may have several.
    pub refusals: BTreeMap<Refusal, usize>,
    /// Which node is best, if any can take the pod.
    pub best: Option<Arc<str>>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} nodes are available", self.feasible, self.nodes)?;
        let mut lines: Vec<String> = self
            .refusals
            .iter()
            .map(|(why, n)| format!("{n} {why}"))
            .collect();
        // kubectl shows them sorted as text, too.
        lines.sort();
        match lines.is_empty() {
            true => f.write_str("."),
            false => write!(f, ": {}.", lines.join(", ")),
        }
    }
}

impl Scheduling {
    /// Asks every node about a pod of this sort.
    pub fn explain(&mut self, shape: ShapeId) -> Explanation {
        let best = self.place(shape);
        let shape = &self.shapes[shape.0 as usize];
        let field = self.field(shape);
        let mut explanation = Explanation {
            best,
            ..Explanation::default()
        };
        for (id, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.present)
        {
            explanation.nodes += 1;
            let mut refusals: Vec<Refusal> =
                filter::fixed(&shape.demand, node).into_iter().collect();
            let mut plugins = self.plugins.iter();
            if let Some(plugin) = plugins.find(|p| !p.allows(&shape.labels, &node.labels)) {
                refusals.push(Refusal::Plugin(plugin.name()));
            }
            // Kubernetes, too, looks at the room only once nothing fixed speaks against a node, and last at its neighbours.
            if refusals.is_empty() {
                refusals = filter::room(&shape.demand, node);
            }
            if refusals.is_empty()
                && let Some(ranking) = &shape.ranking
            {
                refusals.extend(ranking.refusal(&field, id as NodeId));
            }
            if refusals.is_empty() {
                explanation.feasible += 1;
            }
            for refusal in refusals {
                *explanation.refusals.entry(refusal).or_default() += 1;
            }
        }
        explanation
    }
}

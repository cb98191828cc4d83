//! Preemption: a pod of a higher priority takes the place of others.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>

use super::demand::{Demand, clash};
use super::filter;
use super::nodes::{NodeId, NodeState};
use super::state::{Scheduling, ShapeId};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Which pods have to go so that another can come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// The node.
    pub node: Arc<str>,
    /// The uids of the pods that have to go.
    pub victims: Vec<Arc<str>>,
}

/// How much a preemption hurts: the highest priority among the victims, the sum of all, their number.
type Harm = (i32, i64, usize);

impl Scheduling {
    /// The least harmful way to make room for a pod of this sort and priority, if there is one.
    ///
    /// Pods leave for room and ports only; a rule on other pods must hold already.
    pub fn preempt(&mut self, shape: ShapeId, priority: i32) -> Option<Preemption> {
        self.rank(shape);
        let shape = &self.shapes[shape.0 as usize];
        let field = self.field(shape);
        let ranking = shape.ranking.as_ref()?;
        let mut best: Option<(Harm, NodeId, Vec<u32>)> = None;
        for (at, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.present)
        {
            let id = at as NodeId;
            if filter::fixed(&shape.demand, node).is_some() || ranking.refusal(&field, id).is_some()
            {
                continue;
            }
            let Some((harm, victims)) = self.victims(node, &shape.demand, priority) else {
                continue;
            };
            if best.as_ref().is_none_or(|(least, _, _)| harm < *least) {
                best = Some((harm, id, victims));
            }
        }
        let (_, node, victims) = best?;
        let names: FxHashMap<u32, &Arc<str>> =
            self.by_uid.iter().map(|(uid, at)| (*at, uid)).collect();
        let mut victims: Vec<Arc<str>> = victims
            .iter()
            .filter_map(|at| names.get(at).map(|uid| (*uid).clone()))
            .collect();
        victims.sort();
        let node = self.nodes[node as usize].name.clone();
        Some(Preemption { node, victims })
    }

    /// The pods of a node that have to go: all of lower priority are taken away, then as many as possible come back, the most
    /// important first.
    fn victims(
        &self,
        node: &NodeState,
        demand: &Demand,
        priority: i32,
    ) -> Option<(Harm, Vec<u32>)> {
        let pod = |at: u32| self.placed[at as usize];
        let mut lower: Vec<(i32, u32)> = node
            .pods
            .iter()
            .filter_map(|at| {
                pod(*at)
                    .filter(|p| p.priority < priority)
                    .map(|p| (p.priority, *at))
            })
            .collect();
        if lower.is_empty() {
            return None;
        }
        let mut used = node.used.clone();
        let mut ports = node.ports.clone();
        for (_, at) in &lower {
            let shape = &self.shapes[pod(*at)?.shape as usize];
            used.subtract(&shape.demand.resources);
            ports.retain(|port| !shape.demand.ports.contains(port));
        }
        let free = |ports: &[_]| {
            !demand
                .ports
                .iter()
                .any(|port| ports.iter().any(|other| clash(port, other)))
        };
        if !node.allocatable.has_room(&used, &demand.resources) || !free(&ports) {
            return None;
        }
        lower.sort_by_key(|(priority, at)| (std::cmp::Reverse(*priority), *at));
        let mut victims = Vec::new();
        let mut harm: Harm = (i32::MIN, 0, 0);
        for (priority, at) in lower {
            let own = &self.shapes[pod(at)?.shape as usize].demand;
            let mut with = used.clone();
            with.add(&own.resources);
            if node.allocatable.has_room(&with, &demand.resources) && free(&own.ports) {
                used = with;
                continue;
            }
            harm = (
                harm.0.max(priority),
                harm.1 + i64::from(priority) - i64::from(i32::MIN),
                harm.2 + 1,
            );
            victims.push(at);
        }
        Some((harm, victims))
    }
}

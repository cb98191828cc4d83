//! All nodes, ranked for one shape.

use super::counts::{CounterId, Counts};
use super::demand::Demand;
use super::filter::{self, Refusal};
use super::nodes::{NOWHERE, NodeId, NodeState};
use super::score::{self, BEST, Fixed, Plugin, Weights};
use crate::selector::Labels;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a shape asks of the pods in a node's domain.
#[derive(Clone, Debug)]
pub(super) struct Dynamic {
    pub counter: CounterId,
    pub rule: Rule,
    /// Whether the shape's own pods are counted too.
    pub counts_itself: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One of the pods must be there.
    Beside,
    /// None of them may be there.
    Apart,
    /// None of those that refuse this shape may be there.
    Unwelcome,
    /// Not more than so many above the emptiest domain.
    Even { skew: i64, min_domains: usize },
    /// The fewer the better.
    Evenly,
    /// The more the better, or with a negative weight the fewer.
    Near(i64),
}

/// A node's place in the ranking; the score is negated so that the best comes first.
type Rank = (i64, NodeId);

/// The nodes whose dynamic values are equal: for a coarse topology the domain, for a fine one the count.
#[derive(Clone, Debug)]
struct Bucket {
    values: Vec<u32>,
    nodes: BTreeSet<Rank>,
}

#[derive(Clone, Debug)]
pub(super) struct Ranking {
    /// The node's fixed score, or none when it is out of the question.
    fixed: Vec<Option<i64>>,
    /// Where the node is ranked now: bucket and negated score.
    place: Vec<Option<(u32, i64)>>,
    buckets: Vec<Bucket>,
    by_values: FxHashMap<Vec<u32>, u32>,
    /// For each fine dynamic rule, how many eligible nodes have which count; else empty.
    histograms: Vec<BTreeMap<u32, u32>>,
    counted: Vec<Vec<u32>>,
    /// For each coarse rule, which domains hold an eligible node.
    domains: Vec<BTreeSet<u32>>,
    /// How far the log of changes has been read.
    pub cursor: u64,
    pub epoch: u64,
}

/// What is needed to rank.
pub(super) struct Field<'f> {
    pub demand: &'f Demand,
    pub labels: &'f Labels,
    pub dynamics: &'f [Dynamic],
    pub nodes: &'f [NodeState],
    pub counts: &'f Counts,
    pub weights: &'f Weights,
    pub plugins: &'f [Arc<dyn Plugin>],
}

impl Field<'_> {
    pub(super) fn is_fine(&self, dynamic: &Dynamic) -> bool {
        let counter = &self.counts.counters[dynamic.counter as usize];
        self.counts.topologies[counter.topology as usize].is_fine()
    }

    pub(super) fn domain(&self, dynamic: &Dynamic, node: NodeId) -> u32 {
        let counter = &self.counts.counters[dynamic.counter as usize];
        let topology = &self.counts.topologies[counter.topology as usize];
        topology
            .of_node
            .get(node as usize)
            .copied()
            .unwrap_or(NOWHERE)
    }

    fn count(&self, dynamic: &Dynamic, domain: u32) -> u32 {
        self.counts.counters[dynamic.counter as usize].in_domain(domain)
    }

    /// A node's value under a rule; its meaning is that of the rule's topology, coarse or fine.
    fn value(&self, dynamic: &Dynamic, node: NodeId) -> u32 {
        match self.domain(dynamic, node) {
            NOWHERE => NOWHERE,
            domain if self.is_fine(dynamic) => self.count(dynamic, domain),
            domain => domain,
        }
    }

    /// The number of pods that a value stands for.
    fn pods(&self, dynamic: &Dynamic, value: u32) -> i64 {
        match value {
            NOWHERE => 0,
            count if self.is_fine(dynamic) => count.into(),
            domain => self.count(dynamic, domain).into(),
        }
    }
}

impl Ranking {
    pub(super) fn build(field: &Field<'_>, epoch: u64, cursor: u64) -> Ranking {
        let count = field.nodes.len();
        let mut ranking = Ranking {
            fixed: vec![None; count],
            place: vec![None; count],
            buckets: Vec::new(),
            by_values: FxHashMap::default(),
            histograms: vec![BTreeMap::new(); field.dynamics.len()],
            counted: vec![vec![NOWHERE; count]; field.dynamics.len()],
            domains: vec![BTreeSet::new(); field.dynamics.len()],
            cursor,
            epoch,
        };
        let mut parts = Vec::with_capacity(count);
        let mut most = Fixed::default();
        for node in field.nodes {
            let allowed = node.present
                && filter::fixed(field.demand, node).is_none()
                && field
                    .plugins
                    .iter()
                    .all(|p| p.allows(field.labels, &node.labels));
            let part = allowed.then(|| Fixed::of(field.demand, node, field.plugins, field.labels));
            most = part.map_or(most, |part| most.max(part));
            parts.push(part);
        }
        for (at, part) in parts.into_iter().enumerate() {
            ranking.fixed[at] = part.map(|part| part.total(most, field.weights));
            ranking.refresh(field, at as NodeId);
        }
        // Nodes that only a taint keeps away still count for the evenness, as Kubernetes' `nodeTaintsPolicy: Ignore` has it.
        for (index, dynamic) in field.dynamics.iter().enumerate() {
            for (at, node) in field.nodes.iter().enumerate() {
                let domain = field.domain(dynamic, at as NodeId);
                if domain != NOWHERE && node.present && filter::is_eligible(field.demand, node) {
                    ranking.domains[index].insert(domain);
                }
            }
        }
        ranking
    }

    /// Ranks one node anew.
    #[inline]
    pub(super) fn refresh(&mut self, field: &Field<'_>, id: NodeId) {
        let at = id as usize;
        let Some(fixed) = self.fixed[at] else { return };
        let node = &field.nodes[at];
        if !field.dynamics.is_empty() {
            self.recount(field, id);
        }
        if !node.has_room(field.demand) {
            self.leave(id);
            return;
        }
        let score = -(fixed + score::room(field.demand, node, field.weights));
        let bucket = self.bucket(field, id);
        if self.place[at] == Some((bucket, score)) {
            return;
        }
        self.leave(id);
        self.place[at] = Some((bucket, score));
        self.buckets[bucket as usize].nodes.insert((score, id));
    }

    fn leave(&mut self, id: NodeId) {
        if let Some((bucket, score)) = self.place[id as usize].take() {
            self.buckets[bucket as usize].nodes.remove(&(score, id));
        }
    }

    /// Keeps the histograms of fine rules.
    fn recount(&mut self, field: &Field<'_>, id: NodeId) {
        for (index, dynamic) in field.dynamics.iter().enumerate() {
            if !matches!(dynamic.rule, Rule::Even { .. }) || !field.is_fine(dynamic) {
                continue;
            }
            let (value, old) = (field.value(dynamic, id), self.counted[index][id as usize]);
            if value == old {
                continue;
            }
            let histogram = &mut self.histograms[index];
            if let Some(count) = histogram.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    histogram.remove(&old);
                }
            }
            if value != NOWHERE {
                *histogram.entry(value).or_default() += 1;
            }
            self.counted[index][id as usize] = value;
        }
    }

    fn bucket(&mut self, field: &Field<'_>, id: NodeId) -> u32 {
        let values: Vec<u32> = field
            .dynamics
            .iter()
            .map(|dynamic| field.value(dynamic, id))
            .collect();
        if let Some(known) = self.by_values.get(&values) {
            return *known;
        }
        let made = self.buckets.len() as u32;
        self.buckets.push(Bucket {
            values: values.clone(),
            nodes: BTreeSet::new(),
        });
        self.by_values.insert(values, made);
        made
    }

    /// The best node of all that can take the shape.
    pub(super) fn best(&self, field: &Field<'_>) -> Option<NodeId> {
        if field.dynamics.is_empty() {
            let first = self.buckets.first()?.nodes.first()?;
            return Some(first.1);
        }
        let least: Vec<i64> = (0..field.dynamics.len())
            .map(|at| self.emptiest(field, at))
            .collect();
        let mut candidates = Vec::new();
        for bucket in &self.buckets {
            let Some((score, node)) = bucket.nodes.first() else {
                continue;
            };
            if refusal(field, &bucket.values, &least).is_none() {
                let (spread, near) = wishes(field, &bucket.values);
                candidates.push((*score, *node, spread, near));
            }
        }
        let bounds = |pick: fn(&(i64, NodeId, i64, i64)) -> i64| {
            let least = candidates.iter().map(pick).min().unwrap_or(0);
            (least, candidates.iter().map(pick).max().unwrap_or(0))
        };
        let (spread, near) = (bounds(|c| c.2), bounds(|c| c.3));
        let total = |c: &(i64, NodeId, i64, i64)| {
            let evenness = if spread.1 > 0 {
                BEST * (spread.1 + spread.0 - c.2) / spread.1
            } else {
                0
            };
            let nearness = if near.1 > near.0 {
                BEST * (c.3 - near.0) / (near.1 - near.0)
            } else {
                0
            };
            -c.0 + evenness * field.weights.spread + nearness * field.weights.pod_affinity
        };
        let best = candidates
            .iter()
            .max_by_key(|c| (total(c), std::cmp::Reverse(c.1)));
        best.map(|c| c.1)
    }

    /// Why the pods around a node speak against it.
    pub(super) fn refusal(&self, field: &Field<'_>, node: NodeId) -> Option<Refusal> {
        let least: Vec<i64> = (0..field.dynamics.len())
            .map(|at| self.emptiest(field, at))
            .collect();
        let values: Vec<u32> = field
            .dynamics
            .iter()
            .map(|dynamic| field.value(dynamic, node))
            .collect();
        refusal(field, &values, &least)
    }

    /// How many pods the emptiest eligible domain holds.
    fn emptiest(&self, field: &Field<'_>, index: usize) -> i64 {
        let dynamic = &field.dynamics[index];
        let Rule::Even { min_domains, .. } = dynamic.rule else {
            return 0;
        };
        // With too few domains, one more is taken to be there and empty.
        if self.domains[index].len() < min_domains {
            return 0;
        }
        if field.is_fine(dynamic) {
            return self.histograms[index]
                .keys()
                .next()
                .copied()
                .unwrap_or(0)
                .into();
        }
        let counts = self.domains[index]
            .iter()
            .map(|domain| field.count(dynamic, *domain));
        counts.min().unwrap_or(0).into()
    }
}

fn refusal(field: &Field<'_>, values: &[u32], least: &[i64]) -> Option<Refusal> {
    // The first of a group that wants to be together may begin anywhere.
    let begins = || {
        let beside = field
            .dynamics
            .iter()
            .filter(|dynamic| dynamic.rule == Rule::Beside);
        beside.into_iter().all(|dynamic| {
            dynamic.counts_itself && field.counts.counters[dynamic.counter as usize].total == 0
        })
    };
    for ((dynamic, value), least) in field.dynamics.iter().zip(values).zip(least) {
        let nowhere = *value == NOWHERE;
        let pods = field.pods(dynamic, *value);
        match dynamic.rule {
            Rule::Beside if nowhere || (pods == 0 && !begins()) => {
                return Some(Refusal::PodAffinity);
            }
            Rule::Apart if pods > 0 => return Some(Refusal::PodAntiAffinity),
            Rule::Unwelcome if pods > 0 => return Some(Refusal::ExistingAntiAffinity),
            Rule::Even { .. } if nowhere => return Some(Refusal::SpreadLabel),
            Rule::Even { skew, .. } if pods + i64::from(dynamic.counts_itself) - least > skew => {
                return Some(Refusal::Spread);
            }
            _ => {}
        }
    }
    None
}

/// The soft wishes of a bucket: how many pods to be apart from, and how much to be near to.
fn wishes(field: &Field<'_>, values: &[u32]) -> (i64, i64) {
    let (mut spread, mut near) = (0, 0);
    for (dynamic, value) in field.dynamics.iter().zip(values) {
        match dynamic.rule {
            Rule::Evenly => spread += field.pods(dynamic, *value),
            Rule::Near(weight) => near += weight * field.pods(dynamic, *value),
            _ => {}
        }
    }
    (spread, near)
}

//! Amounts of resources as numbers: what pods ask for and nodes have.

use crate::quantity::Amount;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Thousandths of a CPU, bytes, pods, and counts of anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Resources {
    pub cpu: i64,
    pub memory: i64,
    pub storage: i64,
    pub pods: i64,
    /// Extended resources, sorted by name.
    pub other: Vec<(String, i64)>,
}

impl Resources {
    pub(super) fn of_map(map: &BTreeMap<String, Quantity>) -> Resources {
        let mut resources = Resources::default();
        for (name, quantity) in map {
            let amount: Amount = quantity.0.parse().unwrap_or_default();
            match name.as_str() {
                "cpu" => resources.cpu = amount.millis(),
                "memory" => resources.memory = amount.units(),
                "ephemeral-storage" => resources.storage = amount.units(),
                "pods" => resources.pods = amount.units(),
                other => resources.other.push((other.to_owned(), amount.units())),
            }
        }
        resources
    }

    /// What a pod asks for: its containers and sidecars together, or its most demanding moment while it initialises, and its
    /// overhead (<https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>).
    pub(super) fn of_pod(spec: &PodSpec) -> Resources {
        let mut total = Resources::default();
        for container in &spec.containers {
            total.add(&of_container(container));
        }
        let (mut sidecars, mut peak) = (Resources::default(), Resources::default());
        for container in spec.init_containers.iter().flatten() {
            let mut own = of_container(container);
            if container.restart_policy.as_deref() == Some("Always") {
                total.add(&own);
                sidecars.add(&own);
                peak.raise(&sidecars);
            } else {
                own.add(&sidecars);
                peak.raise(&own);
            }
        }
        total.raise(&peak);
        if let Some(overhead) = &spec.overhead {
            total.add(&Resources::of_map(overhead));
        }
        total.pods = 1;
        total
    }

    pub(super) fn add(&mut self, more: &Resources) {
        self.combine(more, |a, b| a + b);
    }

    pub(super) fn subtract(&mut self, less: &Resources) {
        self.combine(less, |a, b| a - b);
    }

    fn raise(&mut self, least: &Resources) {
        self.combine(least, i64::max);
    }

    fn combine(&mut self, with: &Resources, by: impl Fn(i64, i64) -> i64) {
        self.cpu = by(self.cpu, with.cpu);
        self.memory = by(self.memory, with.memory);
        self.storage = by(self.storage, with.storage);
        self.pods = by(self.pods, with.pods);
        for (name, amount) in &with.other {
            match self.other.iter_mut().find(|(known, _)| known == name) {
                Some((_, mine)) => *mine = by(*mine, *amount),
                None => self.other.push((name.clone(), by(0, *amount))),
            }
        }
    }

    fn amount(&self, name: &str) -> i64 {
        let found = self.other.iter().find(|(known, _)| known == name);
        found.map_or(0, |(_, amount)| *amount)
    }

    /// Whether `wanted` fits into what `used` leaves of this. What is not asked for is not checked.
    #[inline]
    pub(super) fn has_room(&self, used: &Resources, wanted: &Resources) -> bool {
        let fits = |all: i64, used: i64, wanted: i64| wanted == 0 || used + wanted <= all;
        fits(self.cpu, used.cpu, wanted.cpu)
            && fits(self.memory, used.memory, wanted.memory)
            && fits(self.storage, used.storage, wanted.storage)
            && fits(self.pods, used.pods, wanted.pods)
            && (wanted.other.is_empty()
                || wanted
                    .other
                    .iter()
                    .all(|(name, wanted)| fits(self.amount(name), used.amount(name), *wanted)))
    }

    /// The names of what is missing, as `kubectl describe` shows them.
    pub(super) fn missing(&self, used: &Resources, wanted: &Resources) -> Vec<String> {
        let mut missing = Vec::new();
        let mut check = |name: &str, all: i64, used: i64, wanted: i64| {
            if wanted > 0 && used + wanted > all {
                missing.push(name.to_owned());
            }
        };
        check("Too many pods", self.pods, used.pods, wanted.pods);
        check("Insufficient cpu", self.cpu, used.cpu, wanted.cpu);
        check(
            "Insufficient memory",
            self.memory,
            used.memory,
            wanted.memory,
        );
        check(
            "Insufficient ephemeral-storage",
            self.storage,
            used.storage,
            wanted.storage,
        );
        for (name, wanted) in &wanted.other {
            let text = format!("Insufficient {name}");
            check(&text, self.amount(name), used.amount(name), *wanted);
        }
        missing
    }
}

fn of_container(container: &Container) -> Resources {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    requests.map(Resources::of_map).unwrap_or_default()
}

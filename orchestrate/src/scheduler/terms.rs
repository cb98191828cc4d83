//! Conditions on nodes, and on the pods around one.

use crate::selector::{Labels, Selector};
use k8s_openapi::api::core::v1::{
    NodeSelectorTerm, PodAffinityTerm, Taint, Toleration, TopologySpreadConstraint,
};

/// What one term of a node selector asks for; all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct NodeTerm {
    labels: Selector,
    fields: Selector,
}

impl NodeTerm {
    /// A term that is empty or broken matches no node, as in Kubernetes.
    pub(super) fn of(term: &NodeSelectorTerm) -> Option<NodeTerm> {
        let mut made = NodeTerm::default();
        let labels = term.match_expressions.iter().flatten().map(|r| (r, true));
        let fields = term.match_fields.iter().flatten().map(|r| (r, false));
        let mut any = false;
        for (requirement, on_labels) in labels.chain(fields) {
            let selector = if on_labels {
                &mut made.labels
            } else {
                &mut made.fields
            };
            let values = requirement.values.as_deref().unwrap_or_default();
            selector
                .require(&requirement.key, &requirement.operator, values)
                .ok()?;
            any = true;
        }
        any.then_some(made)
    }

    pub(super) fn matches(&self, name: &str, labels: &Labels) -> bool {
        let by_name = || {
            let fields = Labels::from([("metadata.name".to_owned(), name.to_owned())]);
            self.fields.matches(&fields)
        };
        self.labels.matches(labels) && (self.fields.is_everything() || by_name())
    }
}

/// A condition on the pods in the same topology domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PodTerm {
    pub topology: String,
    pub selector: Selector,
    /// The namespaces in which it looks; none for all.
    pub namespaces: Option<Vec<String>>,
}

impl PodTerm {
    pub(super) fn of(term: &PodAffinityTerm, namespace: &str) -> PodTerm {
        let mut listed = term.namespaces.clone().unwrap_or_default();
        // An empty namespace selector means all; a narrower one would need the namespaces' labels, and is taken as all too.
        let all = term.namespace_selector.is_some();
        if listed.is_empty() {
            listed.push(namespace.to_owned());
        }
        listed.sort();
        let selector = term
            .label_selector
            .as_ref()
            .and_then(|s| Selector::try_from(s).ok());
        PodTerm {
            topology: term.topology_key.clone(),
            selector: selector.unwrap_or_default(),
            namespaces: (!all).then_some(listed),
        }
    }

    pub(super) fn matches(&self, namespace: &str, labels: &Labels) -> bool {
        let inside = |list: &Vec<String>| list.iter().any(|one| one == namespace);
        self.namespaces.as_ref().is_none_or(inside) && self.selector.matches(labels)
    }
}

/// How evenly pods are to lie over the domains of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    pub term: PodTerm,
    pub skew: i64,
    pub hard: bool,
    pub min_domains: usize,
}

impl Spread {
    pub(super) fn of(
        constraint: &TopologySpreadConstraint,
        namespace: &str,
        labels: &Labels,
    ) -> Spread {
        let selector = constraint.label_selector.as_ref();
        let mut selector = selector
            .and_then(|s| Selector::try_from(s).ok())
            .unwrap_or_default();
        for key in constraint.match_label_keys.iter().flatten() {
            if let Some(value) = labels.get(key) {
                // A requirement with one value is always well formed.
                let _ = selector.require(key, "In", std::slice::from_ref(value));
            }
        }
        Spread {
            term: PodTerm {
                topology: constraint.topology_key.clone(),
                selector,
                namespaces: Some(vec![namespace.to_owned()]),
            },
            skew: constraint.max_skew.into(),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
        }
    }
}

/// Whether a pod with these tolerations puts up with a taint.
pub(super) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let effect = toleration
            .effect
            .as_deref()
            .filter(|effect| !effect.is_empty());
        let key = toleration.key.as_deref().unwrap_or_default();
        let value = toleration.value.as_deref().unwrap_or_default();
        let same_value = toleration.operator.as_deref() == Some("Exists")
            || value == taint.value.as_deref().unwrap_or_default();
        effect.is_none_or(|effect| effect == taint.effect)
            && (key.is_empty() || key == taint.key)
            && same_value
    })
}

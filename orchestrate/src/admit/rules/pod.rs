//! Rules for pods.

use super::container;
use super::meta::{invalid, labels, selector};
use super::names;
use crate::field::{Path, Problems};
use crate::selector::Selector;
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PodTemplateSpec, Toleration,
    TopologySpreadConstraint, Volume,
};
use std::collections::BTreeSet;

pub(crate) fn pod(p: &mut Problems, pod: &Pod) {
    let path = Path::root("spec");
    match &pod.spec {
        Some(spec) => pod_spec(p, &path, spec),
        None => p.required(path, ""),
    }
}

pub(super) fn template(p: &mut Problems, path: &Path, template: &PodTemplateSpec) {
    let meta = template.metadata.as_ref();
    if let Some(some) = meta.and_then(|meta| meta.labels.as_ref()) {
        labels(p, &path.child("labels"), some);
    }
    match &template.spec {
        Some(spec) => pod_spec(p, &path.child("spec"), spec),
        None => p.required(path.child("spec"), ""),
    }
}

fn pod_spec(p: &mut Problems, path: &Path, spec: &PodSpec) {
    let volumes = volumes(p, &path.child("volumes"), spec.volumes.as_deref());
    container::list(p, path, spec, &volumes);
    let policies = ["Always", "OnFailure", "Never"];
    p.one_of(
        path.child("restartPolicy"),
        spec.restart_policy.as_deref(),
        &policies,
    );
    let dns = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    p.one_of(path.child("dnsPolicy"), spec.dns_policy.as_deref(), &dns);
    let grace = path.child("terminationGracePeriodSeconds");
    p.non_negative(grace, spec.termination_grace_period_seconds);
    if let Some(deadline) = spec.active_deadline_seconds.filter(|seconds| *seconds < 1) {
        let path = path.child("activeDeadlineSeconds");
        p.invalid(path, deadline, "must be greater than or equal to 1");
    }
    if let Some(name) = &spec.hostname {
        invalid(p, path.child("hostname"), name, names::label(name));
    }
    if let Some(wanted) = &spec.node_selector {
        labels(p, &path.child("nodeSelector"), wanted);
    }
    for (index, one) in spec.tolerations.iter().flatten().enumerate() {
        toleration(p, &path.child("tolerations").index(index), one);
    }
    let constraints = spec.topology_spread_constraints.as_deref();
    spread(
        p,
        &path.child("topologySpreadConstraints"),
        constraints.unwrap_or_default(),
    );
    if let Some(some) = &spec.affinity {
        affinity(p, &path.child("affinity"), some);
    }
}

fn volumes<'s>(p: &mut Problems, path: &Path, volumes: Option<&'s [Volume]>) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        match volume.name.as_str() {
            "" => p.required(path.child("name"), ""),
            name => invalid(p, path.child("name"), name, names::label(name)),
        }
        if !names.insert(volume.name.as_str()) {
            p.duplicate(path.child("name"), &volume.name);
        }
        let sources = serde_json::to_value(volume).unwrap_or_default();
        match sources.as_object().map_or(0, |fields| fields.len() - 1) {
            0 => p.required(path.clone(), "must specify a volume type"),
            1 => {}
            _ => p.forbidden(path.clone(), "may not specify more than 1 volume type"),
        }
        let claim = volume.persistent_volume_claim.as_ref();
        if claim.is_some_and(|claim| claim.claim_name.is_empty()) {
            p.required(path.child("persistentVolumeClaim").child("claimName"), "");
        }
        if volume
            .host_path
            .as_ref()
            .is_some_and(|host| host.path.is_empty())
        {
            p.required(path.child("hostPath").child("path"), "");
        }
    }
    names
}

fn toleration(p: &mut Problems, path: &Path, toleration: &Toleration) {
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or("Equal");
    if key.is_empty() && operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        p.invalid(path.child("operator"), operator, detail);
    }
    match (operator, toleration.value.as_deref().unwrap_or_default()) {
        ("Equal", value) => invalid(p, path.child("operator"), value, names::label_value(value)),
        ("Exists", "") => {}
        ("Exists", value) => {
            p.invalid(
                path.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            );
        }
        (other, _) => p.not_supported(path.child("operator"), other, &["Equal", "Exists"]),
    }
    let effect = toleration
        .effect
        .as_deref()
        .filter(|effect| !effect.is_empty());
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    p.one_of(path.child("effect"), effect, &effects);
    if toleration.toleration_seconds.is_some() && effect != Some("NoExecute") {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        p.invalid(path.child("effect"), effect.unwrap_or_default(), detail);
    }
}

fn spread(p: &mut Problems, path: &Path, constraints: &[TopologySpreadConstraint]) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            p.invalid(
                path.child("maxSkew"),
                constraint.max_skew,
                "must be greater than zero",
            );
        }
        if constraint.topology_key.is_empty() {
            p.required(path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        let action = constraint.when_unsatisfiable.as_str();
        p.one_of(path.child("whenUnsatisfiable"), Some(action), &actions);
        if let Some(domains) = constraint.min_domains {
            if domains <= 0 {
                p.invalid(
                    path.child("minDomains"),
                    domains,
                    "must be greater than zero",
                );
            }
            if action != "DoNotSchedule" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                p.invalid(path.child("minDomains"), domains, detail);
            }
        }
        if let Some(labels) = &constraint.label_selector {
            selector(p, &path.child("labelSelector"), labels);
        }
    }
}

fn affinity(p: &mut Problems, path: &Path, affinity: &Affinity) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            let path = path.child(required).child("nodeSelectorTerms");
            if selector.node_selector_terms.is_empty() {
                p.required(path.clone(), "must have at least one node selector term");
            }
            for (index, term) in selector.node_selector_terms.iter().enumerate() {
                node_term(p, &path.index(index), term);
            }
        }
        let soft = node
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        for (index, term) in soft.enumerate() {
            let path = path.child(preferred).index(index);
            weight(p, &path, term.weight);
            node_term(p, &path.child("preference"), &term.preference);
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        let hard = pods
            .required_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        for (index, term) in hard.enumerate() {
            pod_term(p, &path.child(required).index(index), term);
        }
        let soft = pods
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        for (index, term) in soft.enumerate() {
            let path = path.child(preferred).index(index);
            weight(p, &path, term.weight);
            pod_term(p, &path.child("podAffinityTerm"), &term.pod_affinity_term);
        }
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        let hard = pods
            .required_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        for (index, term) in hard.enumerate() {
            pod_term(p, &path.child(required).index(index), term);
        }
        let soft = pods
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        for (index, term) in soft.enumerate() {
            let path = path.child(preferred).index(index);
            weight(p, &path, term.weight);
            pod_term(p, &path.child("podAffinityTerm"), &term.pod_affinity_term);
        }
    }
}

fn weight(p: &mut Problems, path: &Path, weight: i32) {
    if !(1..=100).contains(&weight) {
        p.invalid(path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_term(p: &mut Problems, path: &Path, term: &NodeSelectorTerm) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = requirement.values.as_deref().unwrap_or_default();
        let mut selector = Selector::default();
        if let Err(bad) = selector.require(&requirement.key, &requirement.operator, values) {
            p.invalid(path, &bad.what, bad.why);
        }
    }
}

fn pod_term(p: &mut Problems, path: &Path, term: &PodAffinityTerm) {
    if term.topology_key.is_empty() {
        p.required(path.child("topologyKey"), "can not be empty");
    }
    if let Some(labels) = &term.label_selector {
        selector(p, &path.child("labelSelector"), labels);
    }
}

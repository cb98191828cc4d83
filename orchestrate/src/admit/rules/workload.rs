//! Rules for what keeps pods running.

use super::meta::selector;
use super::pod::template;
use crate::field::{Path, Problems};
use crate::selector::Labels;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(crate) fn replica_set(p: &mut Problems, set: &ReplicaSet) {
    let path = Path::root("spec");
    let Some(spec) = &set.spec else {
        return p.required(path, "");
    };
    p.non_negative(path.child("replicas"), spec.replicas.map(i64::from));
    p.non_negative(
        path.child("minReadySeconds"),
        spec.min_ready_seconds.map(i64::from),
    );
    match &spec.template {
        Some(template) => selected(p, &path, &spec.selector, template),
        None => p.required(path.child("template"), ""),
    }
}

pub(crate) fn deployment(p: &mut Problems, deployment: &Deployment) {
    let path = Path::root("spec");
    let Some(spec) = &deployment.spec else {
        return p.required(path, "");
    };
    p.non_negative(path.child("replicas"), spec.replicas.map(i64::from));
    selected(p, &path, &spec.selector, &spec.template);
    p.non_negative(
        path.child("minReadySeconds"),
        spec.min_ready_seconds.map(i64::from),
    );
    p.non_negative(
        path.child("revisionHistoryLimit"),
        spec.revision_history_limit.map(i64::from),
    );
    let (deadline, ready) = (spec.progress_deadline_seconds, spec.min_ready_seconds);
    p.non_negative(
        path.child("progressDeadlineSeconds"),
        deadline.map(i64::from),
    );
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready.unwrap_or(0)) {
        let detail = "must be greater than minReadySeconds";
        p.invalid(path.child("progressDeadlineSeconds"), deadline, detail);
    }
    let Some(strategy) = &spec.strategy else {
        return;
    };
    let path = path.child("strategy");
    p.one_of(
        path.child("type"),
        strategy.type_.as_deref(),
        &["Recreate", "RollingUpdate"],
    );
    match (strategy.type_.as_deref(), &strategy.rolling_update) {
        (Some("Recreate"), Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            p.forbidden(path.child("rollingUpdate"), detail);
        }
        (_, Some(rolling)) => {
            let path = path.child("rollingUpdate");
            let down = share(
                p,
                path.child("maxUnavailable"),
                rolling.max_unavailable.as_ref(),
            );
            let up = share(p, path.child("maxSurge"), rolling.max_surge.as_ref());
            if down == Some(0) && up == Some(0) {
                let shown = rolling.max_unavailable.as_ref();
                p.invalid(
                    path.child("maxUnavailable"),
                    shown,
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            if rolling.max_unavailable.as_ref().is_some_and(over_all) {
                let shown = rolling.max_unavailable.as_ref();
                p.invalid(
                    path.child("maxUnavailable"),
                    shown,
                    "must not be greater than 100%",
                );
            }
        }
        _ => {}
    }
}

pub(crate) fn stateful_set(p: &mut Problems, set: &StatefulSet) {
    let path = Path::root("spec");
    let Some(spec) = &set.spec else {
        return p.required(path, "");
    };
    let policies = ["OrderedReady", "Parallel"];
    p.one_of(
        path.child("podManagementPolicy"),
        spec.pod_management_policy.as_deref(),
        &policies,
    );
    let strategy = spec.update_strategy.as_ref();
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref());
    p.one_of(
        path.child("updateStrategy").child("type"),
        kind,
        &["OnDelete", "RollingUpdate"],
    );
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition);
    let rolling_path = path.child("updateStrategy").child("rollingUpdate");
    p.non_negative(rolling_path.child("partition"), partition.map(i64::from));
    p.non_negative(path.child("replicas"), spec.replicas.map(i64::from));
    p.non_negative(
        path.child("minReadySeconds"),
        spec.min_ready_seconds.map(i64::from),
    );
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    p.non_negative(path.child("ordinals").child("start"), start.map(i64::from));
    let path = path.clone();
    // A claim's template is a volume of its name, which the pods' template does not list.
    let mut completed = spec.template.clone();
    if let Some(pod) = &mut completed.spec {
        let volumes = pod.volumes.get_or_insert_default();
        for claim in spec.volume_claim_templates.iter().flatten() {
            let name = claim.metadata.name.clone().unwrap_or_default();
            volumes.retain(|volume| volume.name != name);
            volumes.push(k8s_openapi::api::core::v1::Volume {
                name,
                empty_dir: Some(Default::default()),
                ..Default::default()
            });
        }
    }
    selected(p, &path, &spec.selector, &completed);
}

pub(crate) fn daemon_set(p: &mut Problems, set: &DaemonSet) {
    let path = Path::root("spec");
    let Some(spec) = &set.spec else {
        return p.required(path, "");
    };
    p.non_negative(
        path.child("minReadySeconds"),
        spec.min_ready_seconds.map(i64::from),
    );
    let strategy = spec.update_strategy.as_ref();
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref());
    let path_of = path.child("updateStrategy");
    p.one_of(path_of.child("type"), kind, &["OnDelete", "RollingUpdate"]);
    if let Some(rolling) = strategy.and_then(|strategy| strategy.rolling_update.as_ref()) {
        let path = path_of.child("rollingUpdate");
        let down = share(
            p,
            path.child("maxUnavailable"),
            rolling.max_unavailable.as_ref(),
        );
        let up = share(p, path.child("maxSurge"), rolling.max_surge.as_ref());
        if down == Some(0) && up == Some(0) {
            p.required(
                path.child("maxUnavailable"),
                "cannot be 0 when maxSurge is 0",
            );
        }
        if down.is_some_and(|n| n > 0) && up.is_some_and(|n| n > 0) {
            let shown = rolling.max_surge.as_ref();
            p.invalid(
                path.child("maxSurge"),
                shown,
                "may not be set when maxUnavailable is non-zero",
            );
        }
    }
    selected(p, &path, &spec.selector, &spec.template);
}

/// A selector that is not empty and means the pods of its own template, which restart always.
fn selected(p: &mut Problems, path: &Path, wanted: &LabelSelector, made: &PodTemplateSpec) {
    let no_labels = Labels::new();
    let meta = made.metadata.as_ref();
    let labels = meta
        .and_then(|meta| meta.labels.as_ref())
        .unwrap_or(&no_labels);
    match selector(p, &path.child("selector"), wanted) {
        Some(some) if *wanted == LabelSelector::default() || some.is_everything() => {
            let detail = "empty selector is invalid for deployment";
            p.invalid(path.child("selector"), wanted, detail);
        }
        Some(some) if !some.matches(labels) => {
            let path = path.child("template").child("metadata").child("labels");
            p.invalid(path, labels, "`selector` does not match template `labels`");
        }
        _ => {}
    }
    template(p, &path.child("template"), made);
    let spec = made.spec.as_ref();
    let policy = spec.and_then(|spec| spec.restart_policy.as_deref());
    let spec_path = path.child("template").child("spec");
    p.one_of(spec_path.child("restartPolicy"), policy, &["Always"]);
    if spec.is_some_and(|spec| spec.active_deadline_seconds.is_some()) {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        p.forbidden(spec_path.child("activeDeadlineSeconds"), detail);
    }
}

/// Checks a number or a percentage, and returns its number.
pub(super) fn share(p: &mut Problems, path: Path, share: Option<&IntOrString>) -> Option<i64> {
    let number = match share? {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(text) => {
            let digits = text
                .strip_suffix('%')
                .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            let Some(Ok(number)) = digits.map(str::parse) else {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
or '93%', regex used for validation is '[0-9]+%')";
                p.invalid(path, text, detail);
                return None;
            };
            number
        }
    };
    if number < 0 {
        p.invalid(path, number, "must be greater than or equal to 0");
        return None;
    }
    Some(number)
}

fn over_all(share: &IntOrString) -> bool {
    let IntOrString::String(text) = share else {
        return false;
    };
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|percent| percent > 100)
}

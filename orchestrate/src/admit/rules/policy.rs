//! Rules for disruption budgets and autoscalers.

use super::meta::selector;
use super::workload::share;
use crate::field::{Path, Problems};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

pub(crate) fn disruption_budget(p: &mut Problems, budget: &PodDisruptionBudget) {
    let path = Path::root("spec");
    let Some(spec) = &budget.spec else { return };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        p.invalid(
            path.clone(),
            spec,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    share(p, path.child("minAvailable"), spec.min_available.as_ref());
    share(
        p,
        path.child("maxUnavailable"),
        spec.max_unavailable.as_ref(),
    );
    if let Some(pods) = &spec.selector {
        selector(p, &path.child("selector"), pods);
    }
}

pub(crate) fn autoscaler(p: &mut Problems, autoscaler: &HorizontalPodAutoscaler) {
    let path = Path::root("spec");
    let Some(spec) = &autoscaler.spec else {
        return p.required(path, "");
    };
    let least = spec.min_replicas.unwrap_or(1);
    if least < 1 {
        p.invalid(
            path.child("minReplicas"),
            least,
            "must be greater than or equal to 1",
        );
    }
    if spec.max_replicas < 1 {
        p.invalid(
            path.child("maxReplicas"),
            spec.max_replicas,
            "must be greater than 0",
        );
    }
    if spec.max_replicas < least {
        let detail = "must be greater than or equal to `minReplicas`";
        p.invalid(path.child("maxReplicas"), spec.max_replicas, detail);
    }
    let target = path.child("scaleTargetRef");
    if spec.scale_target_ref.kind.is_empty() {
        p.required(target.child("kind"), "");
    }
    if spec.scale_target_ref.name.is_empty() {
        p.required(target.child("name"), "");
    }
}

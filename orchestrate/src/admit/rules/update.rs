//! What may not change once an object exists.

use crate::field::{Path, Problems};
use crate::object::Object;
use k8s_openapi::api::core::v1::PodSpec;

const IMMUTABLE: &str = "field is immutable";

pub(crate) fn unchanged(p: &mut Problems, old: &Object, new: &Object) {
    let path = Path::root("spec");
    match (old, new) {
        (Object::Pod(a), Object::Pod(b)) if !same_pod(a.spec.as_ref(), b.spec.as_ref()) => {
            let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
            p.forbidden(path, detail);
        }
        (Object::Deployment(a), Object::Deployment(b)) => {
            let (a, b) = (a.spec.as_ref(), b.spec.as_ref());
            fixed(
                p,
                path.child("selector"),
                a.map(|s| &s.selector),
                b.map(|s| &s.selector),
            );
        }
        (Object::ReplicaSet(a), Object::ReplicaSet(b)) => {
            let (a, b) = (a.spec.as_ref(), b.spec.as_ref());
            fixed(
                p,
                path.child("selector"),
                a.map(|s| &s.selector),
                b.map(|s| &s.selector),
            );
        }
        (Object::DaemonSet(a), Object::DaemonSet(b)) => {
            let (a, b) = (a.spec.as_ref(), b.spec.as_ref());
            fixed(
                p,
                path.child("selector"),
                a.map(|s| &s.selector),
                b.map(|s| &s.selector),
            );
        }
        (Object::StatefulSet(a), Object::StatefulSet(b)) => {
            let mut blanked = a.spec.clone().unwrap_or_default();
            if let Some(b) = &b.spec {
                blanked.replicas = b.replicas;
                blanked.ordinals.clone_from(&b.ordinals);
                blanked.template.clone_from(&b.template);
                blanked.update_strategy.clone_from(&b.update_strategy);
                blanked.min_ready_seconds = b.min_ready_seconds;
                blanked.revision_history_limit = b.revision_history_limit;
                let retention = &b.persistent_volume_claim_retention_policy;
                blanked
                    .persistent_volume_claim_retention_policy
                    .clone_from(retention);
            }
            if Some(&blanked) != b.spec.as_ref() {
                let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
                p.forbidden(path, detail);
            }
        }
        (Object::Job(a), Object::Job(b)) => {
            let (a, b) = (a.spec.as_ref(), b.spec.as_ref());
            fixed(
                p,
                path.child("completionMode"),
                a.map(|s| &s.completion_mode),
                b.map(|s| &s.completion_mode),
            );
            // A suspended job that never ran may still be given another place to run.
            if a.is_none_or(|a| a.suspend != Some(true)) {
                fixed(
                    p,
                    path.child("template"),
                    a.map(|s| &s.template),
                    b.map(|s| &s.template),
                );
            }
        }
        (Object::Service(a), Object::Service(b)) => {
            let address = |s: &k8s_openapi::api::core::v1::Service| {
                s.spec
                    .as_ref()
                    .and_then(|spec| spec.cluster_ip.clone())
                    .filter(|ip| !ip.is_empty())
            };
            if let (Some(old), Some(new)) = (address(a), address(b))
                && old != new
            {
                p.invalid(
                    path.child("clusterIPs").index(0),
                    new,
                    "may not change once set",
                );
            }
        }
        (Object::ConfigMap(a), Object::ConfigMap(b)) if a.immutable == Some(true) => {
            let same = a.data == b.data && a.binary_data == b.binary_data;
            frozen(p, same && b.immutable == Some(true));
        }
        (Object::Secret(a), Object::Secret(b)) if a.immutable == Some(true) => {
            frozen(p, a.data == b.data && b.immutable == Some(true));
        }
        _ => {}
    }
}

fn fixed<T: PartialEq + serde::Serialize>(p: &mut Problems, path: Path, old: T, new: T) {
    if old != new {
        p.invalid(path, new, IMMUTABLE);
    }
}

fn frozen(p: &mut Problems, same: bool) {
    if !same {
        let detail = "field is immutable when `immutable` is set";
        p.forbidden(Path::root("data"), detail);
    }
}

fn same_pod(old: Option<&PodSpec>, new: Option<&PodSpec>) -> bool {
    let (Some(old), Some(new)) = (old, new) else {
        return old == new;
    };
    let mut expected = old.clone();
    let lists = [
        (Some(&mut expected.containers), Some(&new.containers)),
        (
            expected.init_containers.as_mut(),
            new.init_containers.as_ref(),
        ),
    ];
    for (mine, theirs) in lists {
        for (mine, theirs) in mine.into_iter().flatten().zip(theirs.into_iter().flatten()) {
            mine.image.clone_from(&theirs.image);
        }
    }
    expected.active_deadline_seconds = new.active_deadline_seconds;
    let kept = old.tolerations.iter().flatten();
    let mut now = new.tolerations.iter().flatten();
    if kept
        .clone()
        .all(|toleration| now.any(|other| other == toleration))
    {
        expected.tolerations.clone_from(&new.tolerations);
    }
    expected == *new
}

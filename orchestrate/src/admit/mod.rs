//! Admission: what the API server does to an object before it is stored.
//!
//! [`complete`] fills in the defaults, [`check`] finds what is wrong, [`admit`] does both. The defaults are those of the
//! API reference (<https://kubernetes.io/docs/reference/kubernetes-api/>), the wording of the problems is the API server's.

mod defaults;
mod rules;

use crate::error::{Error, Result};
use crate::field::Problems;
use crate::object::Object;
use std::sync::Arc;

/// Completes an object with the defaults, and checks it.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid), with every problem that was found.
pub fn admit(object: &mut Object) -> Result<()> {
    complete(object);
    let problems = check(object);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid {
        kind: object.kind(),
        name: object.name().to_owned(),
        problems,
    })
}

/// Checks that an update leaves alone what may not change once an object exists.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid), with every field that may not change.
pub fn check_update(old: &Object, new: &Object) -> Result<()> {
    let mut problems = Problems::default();
    rules::update::unchanged(&mut problems, old, new);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid {
        kind: new.kind(),
        name: new.name().to_owned(),
        problems,
    })
}

/// Fills in what the API server fills in. Doing it twice changes nothing.
pub fn complete(object: &mut Object) {
    use defaults::{batch, pod, service, storage, workload};
    match object {
        Object::Pod(o) => pod::pod(Arc::make_mut(o)),
        Object::ReplicaSet(o) => workload::replica_set(Arc::make_mut(o)),
        Object::Deployment(o) => workload::deployment(Arc::make_mut(o)),
        Object::StatefulSet(o) => workload::stateful_set(Arc::make_mut(o)),
        Object::DaemonSet(o) => workload::daemon_set(Arc::make_mut(o)),
        Object::Job(o) => batch::job(Arc::make_mut(o)),
        Object::CronJob(o) => batch::cron_job(Arc::make_mut(o)),
        Object::Service(o) => service::service(Arc::make_mut(o)),
        Object::NetworkPolicy(o) => service::network_policy(Arc::make_mut(o)),
        Object::HorizontalPodAutoscaler(o) => workload::autoscaler(Arc::make_mut(o)),
        Object::PersistentVolume(o) => storage::volume(Arc::make_mut(o)),
        Object::PersistentVolumeClaim(o) => storage::claim(Arc::make_mut(o)),
        Object::StorageClass(o) => storage::class(Arc::make_mut(o)),
        Object::PriorityClass(o) => {
            let class = Arc::make_mut(o);
            let policy = class.preemption_policy.get_or_insert_default();
            if policy.is_empty() {
                "PreemptLowerPriority".clone_into(policy);
            }
        }
        Object::Namespace(o) => {
            let meta = &mut Arc::make_mut(o).metadata;
            if let Some(name) = meta.name.clone() {
                let labels = meta.labels.get_or_insert_default();
                labels.insert("kubernetes.io/metadata.name".to_owned(), name);
            }
        }
        _ => {}
    }
}

/// Finds what is wrong with an object that has been completed.
pub fn check(object: &Object) -> Problems {
    use rules::{batch, meta, pod, policy, service, storage, workload};
    let mut problems = Problems::default();
    let p = &mut problems;
    meta::object(p, object);
    match object {
        Object::Pod(o) => pod::pod(p, o),
        Object::ReplicaSet(o) => workload::replica_set(p, o),
        Object::Deployment(o) => workload::deployment(p, o),
        Object::StatefulSet(o) => workload::stateful_set(p, o),
        Object::DaemonSet(o) => workload::daemon_set(p, o),
        Object::Job(o) => batch::job(p, o),
        Object::CronJob(o) => batch::cron_job(p, o),
        Object::Service(o) => service::service(p, o),
        Object::NetworkPolicy(o) => service::network_policy(p, o),
        Object::HorizontalPodAutoscaler(o) => policy::autoscaler(p, o),
        Object::PodDisruptionBudget(o) => policy::disruption_budget(p, o),
        Object::PersistentVolume(o) => storage::volume(p, o),
        Object::PersistentVolumeClaim(o) => storage::claim(p, o),
        Object::StorageClass(o) => storage::class(p, o),
        Object::ConfigMap(o) => storage::config_map(p, o),
        Object::Secret(o) => storage::secret(p, o),
        _ => {}
    }
    problems
}

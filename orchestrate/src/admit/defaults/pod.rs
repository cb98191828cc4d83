//! Defaults of pods and their containers.

use super::text;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, Lifecycle,
    LifecycleHandler, Pod, PodSecurityContext, PodSpec, Probe, ResourceRequirements, Volume,
};

/// `0644`, as YAML's readers of Kubernetes write it.
const FILE_MODE: i32 = 0o644;

pub(crate) fn pod(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        pod_spec(spec);
    }
    text(&mut pod.status.get_or_insert_default().phase, "Pending");
}

pub(super) fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    spec.security_context
        .get_or_insert_with(PodSecurityContext::default);
    if let Some(account) = spec.service_account.clone() {
        text(&mut spec.service_account_name, &account);
    }
    let init = spec.init_containers.iter_mut().flatten();
    for one in init.chain(&mut spec.containers) {
        container(one);
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        text(&mut constraint.node_affinity_policy, "Honor");
        text(&mut constraint.node_taints_policy, "Ignore");
    }
}

fn container(container: &mut Container) {
    text(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    text(&mut container.termination_message_policy, "File");
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    text(&mut container.image_pull_policy, policy);
    container.ports.iter_mut().flatten().for_each(port);
    container.env.iter_mut().flatten().for_each(variable);
    container.resources.iter_mut().for_each(resources);
    if let Some(probe) = &mut container.liveness_probe {
        self::probe(probe);
    }
    if let Some(probe) = &mut container.readiness_probe {
        self::probe(probe);
    }
    if let Some(probe) = &mut container.startup_probe {
        self::probe(probe);
    }
    container.lifecycle.iter_mut().for_each(lifecycle);
}

/// An image that may change under its name is always asked for.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn port(port: &mut ContainerPort) {
    text(&mut port.protocol, "TCP");
}

fn variable(variable: &mut EnvVar) {
    let source = variable.value_from.as_mut();
    if let Some(field) = source.and_then(|source| source.field_ref.as_mut()) {
        text(&mut field.api_version, "v1");
    }
}

/// A limit without a request is a request too.
fn resources(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else {
        return;
    };
    let requests = resources.requests.get_or_insert_default();
    for (name, amount) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), amount.clone());
        }
    }
}

fn probe(probe: &mut Probe) {
    probe.timeout_seconds.get_or_insert(1);
    probe.period_seconds.get_or_insert(10);
    probe.success_threshold.get_or_insert(1);
    probe.failure_threshold.get_or_insert(3);
    probe.http_get.iter_mut().for_each(http);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    let hooks = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
    for hook in hooks.into_iter().flatten() {
        let LifecycleHandler { http_get, .. } = hook;
        http_get.iter_mut().for_each(http);
    }
}

fn http(get: &mut HTTPGetAction) {
    text(&mut get.scheme, "HTTP");
    text(&mut get.path, "/");
}

fn volume(volume: &mut Volume) {
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    } else if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    } else if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
    } else if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
    } else if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    } else if *volume
        == (Volume {
            name: volume.name.clone(),
            ..Volume::default()
        })
    {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
}

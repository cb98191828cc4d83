//! Rules for containers.

use super::meta::invalid;
use super::names;
use crate::field::{Path, Problems};
use crate::quantity::Amount;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, LifecycleHandler, PodSpec, Probe, ResourceRequirements,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

/// All containers of a pod: names are unique among them, host ports too.
pub(super) fn list(p: &mut Problems, path: &Path, spec: &PodSpec, volumes: &BTreeSet<&str>) {
    if spec.containers.is_empty() {
        p.required(path.child("containers"), "");
    }
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (list, field, is_init) in [
        (init, "initContainers", true),
        (&spec.containers, "containers", false),
    ] {
        for (index, one) in list.iter().enumerate() {
            let path = path.child(field).index(index);
            if !names.insert(one.name.as_str()) {
                p.duplicate(path.child("name"), &one.name);
            }
            container(p, &path, one, volumes);
            init_rules(p, &path, one, is_init);
            for (index, port) in one.ports.iter().flatten().enumerate() {
                let host_port = port.host_port.filter(|_| !is_init);
                let Some(number) = host_port else { continue };
                if !host_ports.insert((number, port.protocol.clone(), port.host_ip.clone())) {
                    let path = path.child("ports").index(index).child("hostPort");
                    p.duplicate(path, &number.to_string());
                }
            }
        }
    }
}

fn container(p: &mut Problems, path: &Path, container: &Container, volumes: &BTreeSet<&str>) {
    match container.name.as_str() {
        "" => p.required(path.child("name"), ""),
        name => invalid(p, path.child("name"), name, names::label(name)),
    }
    match container.image.as_deref() {
        None | Some("") => p.required(path.child("image"), ""),
        Some(image) if image.trim() != image => {
            p.invalid(
                path.child("image"),
                image,
                "must not have leading or trailing whitespace",
            );
        }
        Some(_) => {}
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    p.one_of(
        path.child("imagePullPolicy"),
        container.image_pull_policy.as_deref(),
        &policies,
    );
    ports(
        p,
        &path.child("ports"),
        container.ports.as_deref().unwrap_or_default(),
    );
    for (index, one) in container.env.iter().flatten().enumerate() {
        variable(p, &path.child("env").index(index), one);
    }
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    volume_mounts(p, &path.child("volumeMounts"), mounts, volumes);
    if let Some(some) = &container.resources {
        resources(p, &path.child("resources"), some);
    }
    if let Some(some) = &container.liveness_probe {
        probe(p, &path.child("livenessProbe"), some, true);
    }
    if let Some(some) = &container.startup_probe {
        probe(p, &path.child("startupProbe"), some, true);
    }
    if let Some(some) = &container.readiness_probe {
        probe(p, &path.child("readinessProbe"), some, false);
    }
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        if let Some(some) = &lifecycle.post_start {
            handler(p, &path.child("postStart"), some);
        }
        if let Some(some) = &lifecycle.pre_stop {
            handler(p, &path.child("preStop"), some);
        }
    }
}

/// Probes and hooks are for containers that stay, which an init container does only as a sidecar.
fn init_rules(p: &mut Problems, path: &Path, container: &Container, is_init: bool) {
    let restart = container.restart_policy.as_deref();
    if !is_init {
        if restart.is_some() {
            p.forbidden(
                path.child("restartPolicy"),
                "may not be set for non-init containers",
            );
        }
        return;
    }
    p.one_of(path.child("restartPolicy"), restart, &["Always"]);
    if restart == Some("Always") {
        return;
    }
    let detail = "may not be set for init containers without restartPolicy=Always";
    let set = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        p.forbidden(path.child(field), detail);
    }
}

fn ports(p: &mut Problems, path: &Path, ports: &[ContainerPort]) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            invalid(p, path.child("name"), name, names::port(name));
            if !names.insert(name) {
                p.duplicate(path.child("name"), name);
            }
        }
        number(p, path.child("containerPort"), port.container_port);
        if let Some(host) = port.host_port.filter(|port| *port != 0) {
            number(p, path.child("hostPort"), host);
        }
        p.one_of(
            path.child("protocol"),
            port.protocol.as_deref(),
            &["SCTP", "TCP", "UDP"],
        );
    }
}

/// A port's number.
pub(super) fn number(p: &mut Problems, path: Path, port: i32) {
    if !(1..=65_535).contains(&port) {
        p.invalid(path, port, "must be between 1 and 65535, inclusive");
    }
}

/// A port's number or name.
pub(super) fn number_or_name(p: &mut Problems, path: Path, port: &IntOrString) {
    match port {
        IntOrString::Int(port) => number(p, path, *port),
        IntOrString::String(name) => invalid(p, path, name, names::port(name)),
    }
}

fn variable(p: &mut Problems, path: &Path, variable: &EnvVar) {
    match variable.name.as_str() {
        "" => p.required(path.child("name"), ""),
        name => invalid(p, path.child("name"), name, names::variable(name)),
    }
    if variable.value_from.is_some() && variable.value.as_deref().is_some_and(|v| !v.is_empty()) {
        p.invalid(
            path.child("valueFrom"),
            "",
            "may not be specified when `value` is not empty",
        );
    }
}

fn volume_mounts(p: &mut Problems, path: &Path, mounts: &[VolumeMount], volumes: &BTreeSet<&str>) {
    let mut places = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = path.index(index);
        if !volumes.contains(mount.name.as_str()) {
            p.not_found(path.child("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            p.required(path.child("mountPath"), "");
        } else if !places.insert(mount.mount_path.as_str()) {
            p.invalid(path.child("mountPath"), &mount.mount_path, "must be unique");
        }
        let sub_path = mount.sub_path.as_deref().unwrap_or_default();
        if sub_path.starts_with('/') {
            p.invalid(path.child("subPath"), sub_path, "must be a relative path");
        }
        if sub_path.split('/').any(|part| part == "..") {
            p.invalid(path.child("subPath"), sub_path, "must not contain '..'");
        }
    }
}

fn resources(p: &mut Problems, path: &Path, resources: &ResourceRequirements) {
    let limits = resources.limits.iter().flatten();
    for (name, quantity) in limits {
        amount(p, path.child("limits").key(name), &quantity.0);
    }
    for (name, quantity) in resources.requests.iter().flatten() {
        let path = path.child("requests");
        let request = amount(p, path.key(name), &quantity.0);
        let limit = resources
            .limits
            .as_ref()
            .and_then(|limits| limits.get(name));
        let limit = limit.and_then(|limit| limit.0.parse::<Amount>().ok());
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            p.invalid(path, request.to_string(), &detail);
        }
    }
}

/// Checks an amount, and returns it if it is one.
pub(super) fn amount(p: &mut Problems, path: Path, text: &str) -> Option<Amount> {
    match text.parse::<Amount>() {
        Err(bad) => {
            p.invalid(path, text, &bad.to_string());
            None
        }
        Ok(amount) if amount.is_negative() => {
            p.invalid(path, text, "must be greater than or equal to 0");
            None
        }
        Ok(amount) => Some(amount),
    }
}

fn probe(p: &mut Problems, path: &Path, probe: &Probe, must_succeed_once: bool) {
    let actions = [
        probe.exec.is_some(),
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.grpc.is_some(),
    ];
    one_handler(p, path, &actions);
    if let Some(http) = &probe.http_get {
        number_or_name(p, path.child("httpGet").child("port"), &http.port);
    }
    if let Some(tcp) = &probe.tcp_socket {
        number_or_name(p, path.child("tcpSocket").child("port"), &tcp.port);
    }
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        p.non_negative(path.child(field), value.map(i64::from));
    }
    if must_succeed_once
        && probe
            .success_threshold
            .is_some_and(|threshold| threshold != 1)
    {
        p.invalid(
            path.child("successThreshold"),
            probe.success_threshold,
            "must be 1",
        );
    }
}

fn handler(p: &mut Problems, path: &Path, handler: &LifecycleHandler) {
    let actions = [
        handler.exec.is_some(),
        handler.http_get.is_some(),
        handler.tcp_socket.is_some(),
        handler.sleep.is_some(),
    ];
    one_handler(p, path, &actions);
}

fn one_handler(p: &mut Problems, path: &Path, actions: &[bool]) {
    match actions.iter().filter(|set| **set).count() {
        0 => p.required(path.clone(), "must specify a handler type"),
        1 => {}
        _ => p.forbidden(path.clone(), "may not specify more than 1 handler type"),
    }
}

//! Probes and hooks as a runtime is asked them.

use crate::runtime::Question;
use k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;

pub(super) fn of_probe(container: &Container, probe: &Probe) -> Question {
    if let Some(exec) = &probe.exec {
        return Question::Exec(exec.command.clone().unwrap_or_default());
    }
    if let Some(get) = &probe.http_get {
        return http(container, get);
    }
    if let Some(socket) = &probe.tcp_socket {
        return tcp(container, socket);
    }
    let grpc = probe.grpc.clone().unwrap_or_default();
    Question::Grpc {
        port: u16::try_from(grpc.port).unwrap_or_default(),
        service: grpc.service.unwrap_or_default(),
    }
}

pub(super) fn of_hook(container: &Container, hook: &LifecycleHandler) -> Question {
    if let Some(get) = &hook.http_get {
        return http(container, get);
    }
    if let Some(socket) = &hook.tcp_socket {
        return tcp(container, socket);
    }
    if let Some(sleep) = &hook.sleep {
        return Question::Sleep(Duration::from_secs(sleep.seconds.unsigned_abs()));
    }
    let exec = hook.exec.clone().unwrap_or_default();
    Question::Exec(exec.command.unwrap_or_default())
}

fn http(container: &Container, get: &HTTPGetAction) -> Question {
    let headers = get.http_headers.iter().flatten();
    Question::Http {
        scheme: get.scheme.as_deref().unwrap_or("HTTP").to_lowercase(),
        host: get.host.clone().unwrap_or_default(),
        port: number(container, &get.port),
        path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
        headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
    }
}

fn tcp(container: &Container, socket: &TCPSocketAction) -> Question {
    Question::Tcp {
        host: socket.host.clone().unwrap_or_default(),
        port: number(container, &socket.port),
    }
}

/// A port's number; a name is looked up among the container's ports. Zero, where nothing listens, if there is no such name.
fn number(container: &Container, port: &IntOrString) -> u16 {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let found = ports.find(|port| port.name.as_deref() == Some(name));
            found.map_or_else(|| name.parse().unwrap_or(0), |port| port.container_port)
        }
    };
    u16::try_from(number).unwrap_or_default()
}

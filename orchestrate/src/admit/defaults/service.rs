//! Defaults of services and network policies.

use super::text;
use k8s_openapi::api::core::v1::{ClientIPConfig, Service, SessionAffinityConfig};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Three hours.
const AFFINITY_SECONDS: i32 = 10_800;

pub(crate) fn service(service: &mut Service) {
    let Some(spec) = &mut service.spec else {
        return;
    };
    text(&mut spec.type_, "ClusterIP");
    text(&mut spec.session_affinity, "None");
    if spec.type_.as_deref() != Some("ExternalName") {
        text(&mut spec.internal_traffic_policy, "Cluster");
    }
    if matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        let config = SessionAffinityConfig {
            client_ip: Some(ClientIPConfig {
                timeout_seconds: Some(AFFINITY_SECONDS),
            }),
        };
        spec.session_affinity_config.get_or_insert(config);
    }
    for port in spec.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        port.target_port.get_or_insert(IntOrString::Int(port.port));
    }
}

pub(crate) fn network_policy(policy: &mut NetworkPolicy) {
    let Some(spec) = &mut policy.spec else { return };
    if spec.policy_types.as_deref().is_none_or(<[_]>::is_empty) {
        let mut types = vec!["Ingress".to_owned()];
        if spec
            .egress
            .as_deref()
            .is_some_and(|rules| !rules.is_empty())
        {
            types.push("Egress".to_owned());
        }
        spec.policy_types = Some(types);
    }
    let ingress = spec
        .ingress
        .iter_mut()
        .flatten()
        .flat_map(|rule| &mut rule.ports);
    let egress = spec
        .egress
        .iter_mut()
        .flatten()
        .flat_map(|rule| &mut rule.ports);
    let protocol = |port: &mut NetworkPolicyPort| text(&mut port.protocol, "TCP");
    ingress.chain(egress).flatten().for_each(protocol);
}

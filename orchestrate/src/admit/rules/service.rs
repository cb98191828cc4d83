//! Rules for services and network policies.

use super::container::{number, number_or_name};
use super::meta::{invalid, labels, selector};
use super::names;
use crate::field::{Path, Problems};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) fn service(p: &mut Problems, service: &Service) {
    let path = Path::root("spec");
    let Some(spec) = &service.spec else {
        return p.required(path, "");
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    p.one_of(path.child("type"), Some(kind), &kinds);
    p.one_of(
        path.child("sessionAffinity"),
        spec.session_affinity.as_deref(),
        &["ClientIP", "None"],
    );
    let ports = spec.ports.as_deref().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        p.required(path.child("ports"), "");
    }
    match (kind, spec.external_name.as_deref()) {
        ("ExternalName", None | Some("")) => p.required(path.child("externalName"), ""),
        ("ExternalName", Some(name)) => {
            let bare = name.strip_suffix('.').unwrap_or(name);
            invalid(p, path.child("externalName"), name, names::subdomain(bare));
        }
        _ => {}
    }
    if let Some(address) = spec
        .cluster_ip
        .as_deref()
        .filter(|a| !a.is_empty() && *a != "None")
        && address.parse::<IpAddr>().is_err()
    {
        let detail = "must be empty, 'None', or a valid IP address";
        p.invalid(path.child("clusterIPs").index(0), address, detail);
    }
    if let Some(wanted) = &spec.selector {
        labels(p, &path.child("selector"), wanted);
    }
    service_ports(p, &path.child("ports"), ports);
}

fn service_ports(p: &mut Problems, path: &Path, ports: &[ServicePort]) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        match port.name.as_deref().unwrap_or_default() {
            "" if ports.len() > 1 => p.required(path.child("name"), ""),
            "" => {}
            name => {
                invalid(p, path.child("name"), name, names::label(name));
                if !names.insert(name) {
                    p.duplicate(path.child("name"), name);
                }
            }
        }
        number(p, path.child("port"), port.port);
        p.one_of(
            path.child("protocol"),
            port.protocol.as_deref(),
            &["SCTP", "TCP", "UDP"],
        );
        if let Some(target) = &port.target_port {
            number_or_name(p, path.child("targetPort"), target);
        }
        if !numbers.insert((port.port, port.protocol.as_deref())) {
            p.duplicate(path, &port.port.to_string());
        }
    }
}

pub(crate) fn network_policy(p: &mut Problems, policy: &NetworkPolicy) {
    let path = Path::root("spec");
    let Some(spec) = &policy.spec else { return };
    if let Some(pods) = &spec.pod_selector {
        selector(p, &path.child("podSelector"), pods);
    }
    for (index, kind) in spec.policy_types.iter().flatten().enumerate() {
        p.one_of(
            path.child("policyTypes").index(index),
            Some(kind),
            &["Egress", "Ingress"],
        );
    }
    for (index, rule) in spec.ingress.iter().flatten().enumerate() {
        let path = path.child("ingress").index(index).child("from");
        peers(p, &path, rule.from.as_deref().unwrap_or_default());
    }
    for (index, rule) in spec.egress.iter().flatten().enumerate() {
        let path = path.child("egress").index(index).child("to");
        peers(p, &path, rule.to.as_deref().unwrap_or_default());
    }
}

fn peers(p: &mut Problems, path: &Path, peers: &[NetworkPolicyPeer]) {
    for (index, peer) in peers.iter().enumerate() {
        let path = path.index(index);
        let by_label = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        match &peer.ip_block {
            None if !by_label => p.required(path, "must specify a peer"),
            Some(_) if by_label => {
                p.forbidden(path, "may not specify both ipBlock and another peer");
            }
            Some(block) if parse_block(&block.cidr).is_none() => {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                p.invalid(path.child("ipBlock").child("cidr"), &block.cidr, detail);
            }
            _ => {}
        }
    }
}

/// An address block such as `10.0.0.0/8`.
pub(crate) fn parse_block(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then_some((address, prefix))
}

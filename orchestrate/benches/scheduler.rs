//! Placements per second on 10,000 nodes, every feasible node scored: from a pod's object to the node's name, accounted.
//!
//! Kubernetes' own `scheduler_perf` reports 680–1,100 pods a second at 5,000 nodes; its pods pass through an API server and
//! its scheduler looks at a sample of the nodes, so the figures are of different things.
//!
//! `cargo bench -p ampoule-orchestrate --bench scheduler`

#![allow(clippy::print_stdout)]

use ampoule_orchestrate::scheduler::Scheduling;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use std::time::Instant;

const NODES: usize = 10_000;

fn main() {
    let plain = [pod(json!({"app": "plain"}), json!({}))];
    let mixed = mixed();
    let empty = rate(
        "plain pods, empty cluster",
        &mut cluster(128),
        &plain,
        0,
        200_000,
    );
    rate(
        "20 shapes of plain pods",
        &mut cluster(128),
        &plain_shapes(),
        0,
        200_000,
    );
    rate("mixed constraints", &mut cluster(128), &mixed, 0, 50_000);
    let mut full = cluster(1_024);
    rate(
        "(filling with 1,000,000 pods)",
        &mut full,
        &plain,
        0,
        1_000_000,
    );
    let with = rate(
        "plain pods, 1,000,000 placed",
        &mut full,
        &plain,
        1_000_000,
        200_000,
    );
    println!("with 1,000,000 pods placed: {:.2} of empty", with / empty);
}

fn rate(what: &str, cluster: &mut Scheduling, pods: &[Pod], first: usize, count: usize) -> f64 {
    let begun = Instant::now();
    let mut placed = 0;
    for at in 0..count {
        let pod = &pods[at % pods.len()];
        let shape = cluster.shape(pod);
        if let Some(node) = cluster.place(shape) {
            cluster.assume(&format!("pod-{}", first + at), shape, 0, &node);
            placed += 1;
        }
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("{what:34} {rate:>10.0}/s  ({placed} of {count} placed)");
    rate
}

/// Nodes of three zones and 250 racks; each tenth is tainted, each fourth has fast disks.
fn cluster(cpus: usize) -> Scheduling {
    let mut cluster = Scheduling::default();
    for at in 0..NODES {
        let taints = if at % 10 == 0 {
            json!([{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        let node: Node = from(json!({
            "metadata": {"name": format!("node-{at}"), "labels": {
                "zone": format!("zone-{}", at % 3), "rack": format!("rack-{}", at % 250),
                "disk": if at % 4 == 0 { "fast" } else { "slow" },
            }},
            "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": cpus, "memory": format!("{}Gi", cpus * 4), "pods": 1_000_000}},
        }));
        cluster.set_node(&node);
    }
    cluster
}

fn plain_shapes() -> Vec<Pod> {
    let sized = |n: usize| {
        let mut pod = pod(json!({"app": "plain"}), json!({}));
        let requests = json!({"requests": {"cpu": format!("{}m", 50 + n), "memory": "64Mi"}});
        if let Some(spec) = &mut pod.spec {
            spec.containers[0].resources = Some(from(requests));
        }
        pod
    };
    (0..20).map(sized).collect()
}

/// Ten deployments each of: plain, selected nodes, tolerating, spread over zones, apart by host, near in a zone.
fn mixed() -> Vec<Pod> {
    let mut pods = Vec::new();
    for number in 0..10 {
        let app = format!("app-{number}");
        let meant = |what: &str| json!({"matchLabels": {"app": format!("{app}-{what}")}});
        let labels = |what: &str| json!({"app": format!("{app}-{what}")});
        pods.push(pod(labels("plain"), json!({})));
        pods.push(pod(
            labels("fast"),
            json!({"nodeSelector": {"disk": "fast"}}),
        ));
        pods.push(pod(
            labels("batch"),
            json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}),
        ));
        pods.push(pod(labels("spread"), json!({"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": meant("spread")}]})));
        pods.push(pod(
            labels("apart"),
            json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": meant("apart")}]}}}),
        ));
        pods.push(pod(labels("near"), json!({"affinity": {"podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "podAffinityTerm": {"topologyKey": "rack", "labelSelector": meant("spread")}}]}}})));
    }
    pods
}

fn pod(labels: Value, more: Value) -> Pod {
    let mut spec = json!({"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    from(json!({"metadata": {"namespace": "default", "labels": labels}, "spec": spec}))
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    match serde_json::from_value(value) {
        Ok(made) => made,
        Err(error) => panic!("the benchmark's own object: {error}"),
    }
}

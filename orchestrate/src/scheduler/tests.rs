//! Small clusters, and what is decided on them.

use super::*;
use crate::manifest;
use crate::object::Object;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// A cluster of nodes given as `name cpu zone`, and pods that are placed on it one after the other.
struct Cluster {
    scheduling: Scheduling,
    count: usize,
}

impl Cluster {
    fn new(nodes: &[(&str, u32, &str)]) -> Cluster {
        let mut cluster = Cluster {
            scheduling: Scheduling::default(),
            count: 0,
        };
        for (name, cpu, zone) in nodes {
            cluster.node(&format!(
                "{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{zone: {zone}}}}}, \
                 status: {{allocatable: {{cpu: {cpu}, memory: 64Gi, pods: 110}}}}}}"
            ));
        }
        cluster
    }

    fn node(&mut self, text: &str) {
        let objects = manifest::read("node", text).unwrap_or_else(|e| panic!("{e}"));
        let Some(Object::Node(node)) = objects.first() else {
            panic!("a node was written")
        };
        self.scheduling.set_node(node);
    }

    fn pod(&mut self, labels: &str, spec: &str) -> Arc<Pod> {
        self.count += 1;
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p{0}, uid: u{0}, labels: {labels}}}, \
             spec: {{containers: [{{name: c, image: i, resources: {{requests: {{cpu: 1}}}}}}], {spec}}}}}",
            self.count
        );
        let objects = manifest::read("pod", &text).unwrap_or_else(|e| panic!("{e}"));
        match objects.into_iter().next() {
            Some(Object::Pod(pod)) => pod,
            _ => panic!("a pod was written"),
        }
    }

    /// Places a pod, or says why not.
    fn place(&mut self, labels: &str, spec: &str) -> String {
        let pod = self.pod(labels, spec);
        let shape = self.scheduling.shape(&pod);
        let Some(node) = self.scheduling.place(shape) else {
            return self.scheduling.explain(shape).to_string();
        };
        let priority = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.priority)
            .unwrap_or(0);
        self.scheduling
            .assume(&format!("u{}", self.count), shape, priority, &node);
        node.to_string()
    }

    fn place_all(&mut self, count: usize, labels: &str, spec: &str) -> String {
        let places: Vec<String> = (0..count).map(|_| self.place(labels, spec)).collect();
        places.join(" ")
    }
}

#[test]
fn the_emptiest_node_is_best() {
    let mut cluster = Cluster::new(&[("a", 4, "x1"), ("b", 8, "x1")]);
    assert_eq!(
        cluster
            .place_all(12, "{}", "")
            .split(' ')
            .filter(|n| *n == "b")
            .count(),
        8
    );
    assert_eq!(
        cluster.place("{}", ""),
        "0/2 nodes are available: 2 Insufficient cpu."
    );
    cluster.scheduling.forget("u1");
    assert_eq!(cluster.place("{}", ""), "b");
}

#[test]
fn refusals_are_told() {
    let mut cluster = Cluster::new(&[("a", 4, "x1"), ("b", 0, "y1")]);
    cluster.node("{apiVersion: v1, kind: Node, metadata: {name: t}, spec: {taints: [{key: gpu, value: 'yes', effect: NoSchedule}]}, status: {allocatable: {cpu: 4, memory: 1Gi, pods: 9}}}");
    assert_eq!(
        cluster.place("{}", "nodeSelector: {zone: y1}"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {gpu: yes}."
    );
    assert_eq!(
        cluster.place(
            "{}",
            "nodeSelector: {kubernetes.io/hostname: t}, tolerations: [{key: gpu, operator: Exists}]"
        ),
        "t"
    );
    let port = "hostNetwork: true, nodeSelector: {zone: x1}";
    let pod = |cluster: &mut Cluster| {
        let mut pod = Pod::clone(&cluster.pod("{}", port));
        if let Some(spec) = &mut pod.spec {
            let port = k8s_openapi::api::core::v1::ContainerPort {
                container_port: 80,
                ..Default::default()
            };
            spec.containers[0].ports = Some(vec![port]);
        }
        pod
    };
    let first = pod(&mut cluster);
    let shape = cluster.scheduling.shape(&first);
    assert_eq!(cluster.scheduling.place(shape).as_deref(), Some("a"));
    cluster.scheduling.assume("port", shape, 0, "a");
    let text = cluster.scheduling.explain(shape).to_string();
    assert!(
        text.contains("1 node(s) didn't have free ports for the requested pod ports"),
        "{text}"
    );
}

#[test]
fn spreading_over_zones() {
    let mut cluster = Cluster::new(&[("a", 99, "x1"), ("b", 4, "y1"), ("c", 4, "z1")]);
    let even = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: w}}}]";
    let mut places: Vec<String> = cluster
        .place_all(12, "{app: w}", even)
        .split(' ')
        .map(str::to_owned)
        .collect();
    places.sort();
    assert_eq!(places.join(""), "aaaabbbbcccc");
    assert_eq!(
        cluster.place("{app: w}", even),
        "a",
        "one more than the emptiest zone"
    );
    assert_eq!(
        cluster.place("{app: w}", even),
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 Insufficient cpu."
    );
}

#[test]
fn apart_and_beside() {
    let mut cluster = Cluster::new(&[("a", 9, "x1"), ("b", 9, "y1"), ("c", 9, "y1")]);
    let apart = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: db}}}]}}";
    let mut places: Vec<String> = cluster
        .place_all(3, "{app: db}", apart)
        .split(' ')
        .map(str::to_owned)
        .collect();
    places.sort();
    assert_eq!(places.join(""), "abc");
    assert_eq!(
        cluster.place("{app: db}", apart),
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    );
    assert_eq!(
        cluster.place("{app: db}", ""),
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    );

    let beside = "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}]}}";
    assert_eq!(
        cluster.place("{app: cache}", beside),
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    );
    let first = cluster.place("{app: web}", beside);
    let zone = |node: &str| if node == "a" { "x1" } else { "y1" };
    for _ in 0..4 {
        assert_eq!(zone(&cluster.place("{app: cache}", beside)), zone(&first));
    }
}

#[test]
fn apart_on_many_nodes() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}")).collect();
    let nodes: Vec<(&str, u32, &str)> = names.iter().map(|name| (name.as_str(), 9, "x1")).collect();
    let mut cluster = Cluster::new(&nodes);
    let even = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: w}}}]";
    let mut places: Vec<String> = cluster
        .place_all(100, "{app: w}", even)
        .split(' ')
        .map(str::to_owned)
        .collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 50);
    assert!(
        cluster
            .scheduling
            .nodes
            .iter()
            .all(|node| node.pods.len() == 2)
    );
}

#[test]
fn wishes_count() {
    let mut cluster = Cluster::new(&[("a", 9, "x1"), ("b", 9, "y1")]);
    let wish = "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, preference: {matchExpressions: [{key: zone, operator: In, values: [y1]}]}}]}}";
    assert_eq!(cluster.place_all(3, "{}", wish), "b b b");
    let near = "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: web}}}}]}}";
    let first = cluster.place("{app: web}", "");
    assert_eq!(cluster.place("{app: api}", near), first);
}

#[test]
fn the_important_take_the_place_of_the_least_important() {
    let mut cluster = Cluster::new(&[("a", 2, "x1"), ("b", 2, "y1")]);
    for priority in [5, 5, 1, 9] {
        cluster.place("{}", &format!("priority: {priority}"));
    }
    let pod = cluster.pod("{}", "priority: 7");
    let shape = cluster.scheduling.shape(&pod);
    assert_eq!(cluster.scheduling.place(shape), None);
    let preemption = cluster.scheduling.preempt(shape, 7);
    assert_eq!(preemption.map(|p| p.victims), Some(vec!["u3".into()]));
    assert_eq!(cluster.scheduling.preempt(shape, 1), None);
}

/// The incremental ranking decides as a fresh one does, whatever happened in between.
#[test]
fn rankings_do_not_drift() {
    let names: Vec<String> = (0..24).map(|n| format!("n{n}")).collect();
    let zones = ["x1", "y1", "z1"];
    let nodes: Vec<(&str, u32, &str)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), 6 + at as u32 % 5, zones[at % 3]))
        .collect();
    let mut cluster = Cluster::new(&nodes);
    let specs = [
        "",
        "nodeSelector: {zone: y1}",
        "topologySpreadConstraints: [{maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: a}}}]",
        "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: b}}}]}}",
        "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: a}}}}]}}",
    ];
    let mut random = 12345_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) as usize % below
    };
    for step in 0..600 {
        let spec = specs[next(specs.len())];
        let labels = ["{app: a}", "{app: b}", "{app: c}"][next(3)];
        let pod = cluster.pod(labels, spec);
        let shape = cluster.scheduling.shape(&pod);
        let kept = cluster.scheduling.place(shape);
        cluster.scheduling.shapes[shape.0 as usize].ranking = None;
        let fresh = cluster.scheduling.place(shape);
        assert_eq!(kept, fresh, "at step {step} for {labels} {spec}");
        if let Some(node) = kept {
            cluster
                .scheduling
                .assume(&format!("u{}", cluster.count), shape, 0, &node);
        }
        let gone = format!("u{}", 1 + next(cluster.count));
        cluster.scheduling.forget(&gone);
    }
}

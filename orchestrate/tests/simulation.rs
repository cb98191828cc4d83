//! Whole clusters in virtual time.

#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/invariants.rs"]
mod invariants;
#[path = "simulation/rollout.rs"]
mod rollout;
#[path = "simulation/seeds.rs"]
mod seeds;

use ampoule_orchestrate::manifest;
use ampoule_orchestrate::object::Object;
use ampoule_orchestrate::simulate::{NodeSize, Simulation};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;

fn objects(text: &str) -> Vec<Object> {
    manifest::read("test.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A deployment named `web` of an image, with more of its specification.
fn web(image: &str, replicas: usize, spec: &str) -> Vec<Object> {
    objects(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: {replicas}, \
          selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, \
          spec: {{containers: [{{name: web, image: '{image}', readinessProbe: {{tcpSocket: {{port: 80}}, periodSeconds: 1}}, \
          resources: {{requests: {{cpu: 100m}}}}}}]}}}}, {spec}}}}}"
    ))
}

fn cluster(seed: u64, nodes: usize) -> Simulation {
    let mut simulation = Simulation::new(seed);
    simulation.add_nodes(nodes, NodeSize::default());
    simulation
}

fn ready(simulation: &Simulation) -> usize {
    simulation
        .pods_by_state()
        .get("Ready")
        .copied()
        .unwrap_or(0)
}

fn is_rolled_out(view: &ampoule_orchestrate::control::View) -> bool {
    let done = |deployment: &Deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == replicas
            && status.available_replicas == replicas
            && status.replicas == replicas
    };
    view.all::<Deployment>().next().is_some()
        && view.all::<Deployment>().all(|deployment| done(deployment))
}

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

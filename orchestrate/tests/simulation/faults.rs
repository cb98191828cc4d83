//! Nodes that die, are cut off, and come back.

use super::*;
use ampoule_orchestrate::object::{Builtin, Key};
use k8s_openapi::api::core::v1::Pod;

fn on_node(simulation: &Simulation, node: &str) -> usize {
    simulation.view().pods_on(node).count()
}

#[test]
fn a_dead_node_is_evacuated_after_five_minutes() {
    let mut simulation = cluster(11, 3);
    simulation
        .apply(web("web:1", 6, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(1))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((ready(&simulation), on_node(&simulation, "node-0")), (6, 2));
    simulation.crash_node(0);
    simulation
        .run_for(minutes(4))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        simulation.view().all::<Pod>().count(),
        6,
        "before its patience ends nothing is replaced"
    );
    simulation
        .run_for(minutes(3))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (
            on_node(&simulation, "node-1"),
            on_node(&simulation, "node-2")
        ),
        (3, 3)
    );
    assert_eq!(
        simulation.pods_by_state().get("Ending"),
        Some(&2),
        "nobody can say that they have ended"
    );
    simulation.restore_node(0);
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (ready(&simulation), simulation.view().all::<Pod>().count()),
        (6, 6)
    );
    simulation
        .apply(web("web:1", 12, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        on_node(&simulation, "node-0") > 0,
        "a node that came back is used again"
    );
}

#[test]
fn a_short_cut_changes_nothing() {
    let mut simulation = cluster(12, 2);
    simulation
        .apply(web("web:1", 4, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(1))
        .unwrap_or_else(|e| panic!("{e}"));
    let names = |simulation: &Simulation| -> Vec<String> {
        simulation
            .view()
            .all::<Pod>()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect()
    };
    let before = names(&simulation);
    simulation.cut_off_node(0);
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation.restore_node(0);
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((names(&simulation), ready(&simulation)), (before, 4));
}

#[test]
fn services_follow_the_pods() {
    let mut simulation = cluster(13, 3);
    simulation
        .apply(web("web:1", 3, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}";
    simulation
        .apply(objects(service))
        .unwrap_or_else(|e| panic!("{e}"));
    let key = Key::new(Builtin::Service, "default", "web");
    let endpoints = |simulation: &Simulation| {
        let routes = simulation.network().routes(&key);
        routes
            .map(|routes| routes.ports[0].endpoints.clone())
            .unwrap_or_default()
    };
    simulation
        .run_for(SignedDuration::from_secs(1))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(endpoints(&simulation).len(), 0, "nothing is ready yet");
    simulation
        .run_for(minutes(1))
        .unwrap_or_else(|e| panic!("{e}"));
    let before = endpoints(&simulation);
    assert_eq!((before.len(), before[0].port), (3, 8080));
    simulation
        .apply(web("web:2", 3, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    let after = endpoints(&simulation);
    assert_eq!(after.len(), 3);
    assert!(
        after.iter().all(|endpoint| !before.contains(endpoint)),
        "all endpoints are new"
    );
}

#[test]
fn a_seed_repeats_itself() {
    let run = |seed| {
        let mut simulation = cluster(seed, 5);
        simulation.set_faults(ampoule_orchestrate::simulate::Faults {
            container_crash: 2_000,
            node_crash: 1_000,
            partition: 1_000,
        });
        simulation
            .apply(web("web:1", 10, ""))
            .unwrap_or_else(|e| panic!("{e}"));
        simulation
            .run_for(minutes(20))
            .unwrap_or_else(|e| panic!("{e}"));
        simulation.timeline().to_json().to_string()
    };
    assert_eq!(run(21), run(21));
    assert_ne!(run(21), run(22));
    let mut simulation = cluster(1, 1);
    simulation
        .apply(web("web:1", 2, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(1))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        simulation
            .timeline()
            .to_svg()
            .contains("<title>Ready</title>")
    );
}

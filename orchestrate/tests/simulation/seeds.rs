//! Random workloads, random faults: the invariants hold after every step, and once the faults stop, all is as declared.
//!
//! `AMPOULE_SEEDS=10000 cargo test -p ampoule-orchestrate --test simulation` runs more seeds, `AMPOULE_SEED=7` only that one.

use super::*;
use ampoule_orchestrate::object::{Builtin, Key};
use ampoule_orchestrate::simulate::{Faults, Random};
use ampoule_orchestrate::store::{Store, Write};
use k8s_openapi::api::core::v1::Pod;

/// How many seeds are run unless the environment says otherwise.
const SEEDS: u64 = 40;

#[test]
fn random_workloads_and_faults() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("AMPOULE_SEED") {
        return live_through(seed);
    }
    let count = number("AMPOULE_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (thread..count).step_by(threads as usize) {
                    let life = std::panic::catch_unwind(|| live_through(seed));
                    assert!(
                        life.is_ok(),
                        "seed {seed} failed: AMPOULE_SEED={seed} replays it"
                    );
                }
            });
        }
    });
}

fn live_through(seed: u64) {
    let mut random = Random::new(!seed);
    let mut simulation = Simulation::new(seed);
    simulation.add_nodes(
        2 + random.below(4),
        NodeSize {
            cpus: 2,
            ..NodeSize::default()
        },
    );
    let apps = 1 + random.below(3);
    let mut declared = vec![0; apps];
    simulation.set_faults(Faults {
        container_crash: 3_000,
        node_crash: 1_500,
        partition: 1_500,
    });
    for round in 0..4 {
        let app = random.below(apps);
        let (replicas, objects) = deployment(app, round, &mut random);
        declared[app] = replicas;
        simulation.apply(objects).unwrap_or_else(|e| panic!("{e}"));
        let end = simulation.now() + SignedDuration::from_secs(20 + random.below(100) as i64);
        simulation
            .run_until(end.duration_since(simulation.now()), |view| {
                invariants::check(view);
                false
            })
            .unwrap_or_else(|e| panic!("{e}"));
    }
    let deleted = random.below(apps);
    let key = Key::new(Builtin::Deployment, "default", &format!("app-{deleted}"));
    if simulation
        .store()
        .write_one(Write::Delete(key, Default::default()))
        .is_ok()
    {
        declared[deleted] = 0;
    }
    simulation.set_faults(Faults::default());
    simulation
        .run_for(minutes(25))
        .unwrap_or_else(|e| panic!("{e}"));
    invariants::check(simulation.view());
    invariants::nothing_orphaned(simulation.view());
    let wanted: usize = declared.iter().sum();
    let states = simulation.pods_by_state();
    let alive = states.get("Ready").copied().unwrap_or(0);
    assert_eq!(
        alive,
        wanted,
        "seed {seed}: {states:?}\n{}",
        simulation.timeline()
    );
    let ended = |pod: &&std::sync::Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
    assert_eq!(
        simulation.view().all::<Pod>().filter(ended).count(),
        0,
        "seed {seed}: a pod that never ends"
    );
}

fn deployment(app: usize, round: usize, random: &mut Random) -> (usize, Vec<Object>) {
    let replicas = random.below(6);
    let surge = ["1", "25%", "100%"][random.below(3)];
    let unavailable = ["0", "1", "50%"][random.below(3)];
    let port = ["", "ports: [{containerPort: 80, hostPort: 8080}],"][random.below(4) / 3];
    // Pods that want one port of their node need a node each, also while one replaces another.
    let replicas = if port.is_empty() {
        replicas
    } else {
        replicas.min(1)
    };
    let objects = objects(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: app-{app}}}, spec: {{replicas: {replicas}, \
          strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}, \
          selector: {{matchLabels: {{app: a{app}}}}}, template: {{metadata: {{labels: {{app: a{app}}}}}, \
          spec: {{terminationGracePeriodSeconds: 5, containers: [{{name: c, image: 'app:{round}', {port} \
          resources: {{requests: {{cpu: 100m}}}}}}]}}}}}}}}"
    ));
    (replicas, objects)
}

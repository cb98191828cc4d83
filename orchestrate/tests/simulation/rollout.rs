//! Deployments in motion.

use super::*;
use ampoule_orchestrate::controllers::deployment::{Bounds, ROLLBACK, bounds, undo};
use ampoule_orchestrate::object::{Builtin, Key};
use ampoule_orchestrate::store::{Store, Write};
use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

fn key() -> Key {
    Key::new(Builtin::Deployment, "default", "web")
}

fn images(simulation: &Simulation) -> Vec<String> {
    let pods = simulation.view().all::<Pod>();
    let mut images: Vec<String> = pods
        .filter_map(|pod| pod.spec.as_ref()?.containers[0].image.clone())
        .collect();
    images.sort();
    images.dedup();
    images
}

/// Tables of `maxSurge` and `maxUnavailable`: the surge rounds up, what may be missing rounds down, and both cannot be zero
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable>).
#[test]
fn rounding() {
    for (replicas, surge, unavailable, expect) in [
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, "0", "1%", (0, 1)),
        (10, "30%", "0", (3, 0)),
        (5, "2", "10", (2, 5)),
        (0, "50%", "50%", (0, 1)),
    ] {
        let share = |text: &str| match text.parse::<i32>() {
            Ok(number) => serde_json::json!(number),
            Err(_) => serde_json::json!(text),
        };
        let spec: DeploymentSpec = serde_json::from_value(serde_json::json!({
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": share(surge), "maxUnavailable": share(unavailable)}},
        }))
        .unwrap_or_else(|e| panic!("{e}"));
        let expect = Bounds {
            surge: expect.0,
            unavailable: expect.1,
        };
        assert_eq!(
            bounds(&spec),
            expect,
            "{replicas} pods, {surge} more, {unavailable} fewer"
        );
    }
}

#[test]
fn a_rolling_update_keeps_its_bounds_at_every_step() {
    for (surge, unavailable, least, most) in [
        ("25%", "25%", 6, 10),
        ("1", "0", 8, 9),
        ("0", "2", 6, 8),
        ("100%", "0", 8, 16),
    ] {
        let strategy = format!(
            "strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}"
        );
        let mut simulation = cluster(1, 4);
        simulation
            .apply(web("web:1", 8, &strategy))
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(
            simulation
                .run_until(minutes(5), is_rolled_out)
                .unwrap_or(false)
        );
        simulation
            .apply(web("web:2", 8, &strategy))
            .unwrap_or_else(|e| panic!("{e}"));
        let done = simulation.run_until(minutes(30), |view| {
            invariants::check(view);
            let available = invariants::available(view, ("app", "web"));
            assert!(
                available >= least,
                "{surge}/{unavailable}: only {available} available"
            );
            let active = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none();
            let active = view.all::<Pod>().filter(active).count();
            assert!(
                active <= most,
                "{surge}/{unavailable}: {active} pods at once"
            );
            is_rolled_out(view)
        });
        assert!(
            done.unwrap_or(false),
            "{surge}/{unavailable}: the roll-out must end"
        );
        simulation
            .run_for(minutes(2))
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (images(&simulation), ready(&simulation)),
            (vec!["web:2".to_owned()], 8)
        );
    }
}

#[test]
fn recreate_leaves_a_gap_and_never_mixes() {
    let mut simulation = cluster(2, 2);
    let strategy = "strategy: {type: Recreate}";
    simulation
        .apply(web("web:1", 4, strategy))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        simulation
            .run_until(minutes(5), is_rolled_out)
            .unwrap_or(false)
    );
    simulation
        .apply(web("web:2", 4, strategy))
        .unwrap_or_else(|e| panic!("{e}"));
    let done = simulation.run_until(minutes(5), |view| {
        let pods = view.all::<Pod>();
        let mut images: Vec<_> = pods
            .filter_map(|pod| pod.spec.as_ref()?.containers[0].image.clone())
            .collect();
        images.dedup();
        assert!(images.len() <= 1, "old and new at once: {images:?}");
        is_rolled_out(view)
    });
    assert!(done.unwrap_or(false));
}

#[test]
fn undo_comes_back_to_the_template_before() {
    let mut simulation = cluster(3, 2);
    for image in ["web:1", "web:2", "web:3"] {
        simulation
            .apply(web(image, 3, ""))
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(
            simulation
                .run_until(minutes(5), is_rolled_out)
                .unwrap_or(false),
            "{image}"
        );
    }
    for (to, image) in [(None, "web:2"), (Some(1), "web:1")] {
        undo(simulation.store().as_ref(), &key(), to).unwrap_or_else(|e| panic!("{e}"));
        simulation
            .run_for(minutes(3))
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(images(&simulation), [image]);
    }
    assert!(undo(simulation.store().as_ref(), &key(), Some(99)).is_err());
    assert_eq!(
        simulation.view().all::<ReplicaSet>().count(),
        3,
        "a template that comes back keeps its set"
    );
}

#[test]
fn a_broken_template_is_rolled_back_when_its_deadline_passes() {
    let mut simulation = cluster(4, 2);
    let mut good = web("web:1", 4, "progressDeadlineSeconds: 60");
    let mut broken = web("web:2", 4, "progressDeadlineSeconds: 60");
    for objects in [&mut good, &mut broken] {
        let annotations = objects[0].meta_mut().annotations.get_or_insert_default();
        annotations.insert(ROLLBACK.to_owned(), "true".to_owned());
    }
    if let Object::Deployment(deployment) = &mut broken[0]
        && let Some(spec) = &mut Arc::make_mut(deployment).spec
    {
        let meta = spec.template.metadata.get_or_insert_default();
        let annotations = meta.annotations.get_or_insert_default();
        annotations.insert(
            "simulate.ampoule.dev/image".to_owned(),
            "missing".to_owned(),
        );
    }
    simulation.apply(good).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        simulation
            .run_until(minutes(5), is_rolled_out)
            .unwrap_or(false)
    );
    simulation.apply(broken).unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(SignedDuration::from_secs(50))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(images(&simulation), ["web:1", "web:2"]);
    simulation
        .run_for(minutes(3))
        .unwrap_or_else(|e| panic!("{e}"));
    let text = simulation.timeline().to_string();
    assert!(text.contains("Rolled back to revision 1"), "{text}");
    assert_eq!(
        (images(&simulation), ready(&simulation)),
        (vec!["web:1".to_owned()], 4)
    );
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut simulation = cluster(5, 2);
    simulation
        .apply(web("web:1", 2, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        simulation
            .run_until(minutes(5), is_rolled_out)
            .unwrap_or(false)
    );
    simulation
        .apply(web("web:2", 5, "paused: true"))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (images(&simulation), ready(&simulation)),
        (vec!["web:1".to_owned()], 5)
    );
    simulation
        .apply(web("web:2", 5, "paused: false"))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(3))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (images(&simulation), ready(&simulation)),
        (vec!["web:2".to_owned()], 5)
    );
}

#[test]
fn what_is_deleted_takes_everything_with_it() {
    let mut simulation = cluster(6, 2);
    simulation
        .apply(web("web:1", 5, ""))
        .unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(1))
        .unwrap_or_else(|e| panic!("{e}"));
    let gone = simulation
        .store()
        .write_one(Write::Delete(key(), Default::default()));
    gone.unwrap_or_else(|e| panic!("{e}"));
    simulation
        .run_for(minutes(2))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(simulation.view().all::<Pod>().count(), 0);
    assert_eq!(simulation.view().all::<ReplicaSet>().count(), 0);
}

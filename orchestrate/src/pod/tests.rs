//! Lives of pods, told second by second.

use super::*;
use crate::clock::after;
use crate::manifest;
use crate::object::Object;
use crate::runtime::{ContainerRef, Event, Question, Ticket};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// A machine with its clock, and what it asked for since last looked at.
struct Life {
    machine: Machine,
    now: Timestamp,
}

impl Life {
    fn new(spec: &str) -> Life {
        let text =
            format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p, uid: u}}\nspec: {spec}\n");
        let objects = manifest::read("test", &text).unwrap_or_else(|e| panic!("{e}"));
        let Some(Object::Pod(pod)) = objects.into_iter().next() else {
            panic!("a pod was written")
        };
        let now = Timestamp::UNIX_EPOCH;
        let machine = Machine::new(pod, now);
        Life { machine, now }
    }

    /// A pod whose sandbox is ready.
    fn ready(spec: &str) -> Life {
        let mut life = Life::new(spec);
        life.expect("run");
        life.happens(Event::PodReady {
            pod: "u".into(),
            addresses: vec![[10, 0, 0, 1].into()],
        });
        life
    }

    fn happens(&mut self, event: Event) {
        self.machine.handle(&event, self.now);
    }

    fn started(&mut self, name: &str, attempt: u32) {
        self.happens(Event::Started {
            container: container(name, attempt),
        });
    }

    fn exits(&mut self, name: &str, attempt: u32, code: i32) {
        self.happens(Event::Exited {
            container: container(name, attempt),
            code,
            out_of_memory: false,
        });
    }

    fn answers(&mut self, name: &str, attempt: u32, ticket: Ticket, yes: bool) {
        let answer = if yes { Ok(()) } else { Err("no".to_owned()) };
        self.happens(Event::Answered {
            container: container(name, attempt),
            ticket,
            answer,
        });
    }

    fn waits(&mut self, seconds: i64) {
        self.now = after(self.now, seconds);
        self.machine.tick(self.now);
    }

    fn deleted(&mut self, grace: i64) {
        let mut pod = Pod::clone(self.machine.pod());
        pod.metadata.deletion_timestamp = Some(Time(after(self.now, grace)));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.machine.update(Arc::new(pod), self.now);
    }

    /// What was asked for since the last look, in short words.
    #[track_caller]
    fn expect(&mut self, expect: &str) {
        let words = self
            .machine
            .take_actions()
            .into_iter()
            .map(|action| match action {
                Action::Run => "run".to_owned(),
                Action::Start(c) => format!("start {}{}", c.name, c.attempt),
                Action::Stop(c, grace) => {
                    format!("stop {}{} in {}", c.name, c.attempt, grace.as_secs())
                }
                Action::Ask(c, Question::Exec(argv), _, ticket) => {
                    format!("ask {} {} #{ticket}", c.name, argv.join(" "))
                }
                Action::Ask(c, _, _, ticket) => format!("ask {} #{ticket}", c.name),
                Action::Remove => "remove".to_owned(),
                Action::Forget => "forget".to_owned(),
            });
        assert_eq!(words.collect::<Vec<_>>().join(", "), expect);
    }

    #[track_caller]
    fn phase(&self, expect: &str, ready: bool) {
        let status = self.machine.status(self.now);
        assert_eq!(status.phase.as_deref(), Some(expect));
        let conditions = status.conditions.unwrap_or_default();
        assert_eq!(status::holds(&conditions, "Ready"), ready, "{conditions:?}");
    }
}

fn container(name: &str, attempt: u32) -> ContainerRef {
    ContainerRef {
        pod: "u".into(),
        name: name.into(),
        attempt,
    }
}

#[test]
fn a_container_starts_and_is_restarted_with_back_off() {
    let mut life = Life::ready("{containers: [{name: c, image: i}]}");
    life.expect("start c0");
    life.phase("Pending", false);
    life.started("c", 0);
    life.phase("Running", true);
    life.exits("c", 0, 1);
    life.expect("start c1");
    life.started("c", 1);
    life.exits("c", 1, 1);
    life.expect("");
    life.phase("Running", false);
    assert_eq!(life.machine.deadline(), Some(after(life.now, 10)));
    life.waits(9);
    life.expect("");
    life.waits(1);
    life.expect("start c2");
    life.started("c", 2);
    life.waits(600);
    life.exits("c", 2, 0);
    life.expect("start c3");
    let statuses = life
        .machine
        .status(life.now)
        .container_statuses
        .unwrap_or_default();
    assert_eq!(statuses[0].restart_count, 3);
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut life = Life::ready(
        "{initContainers: [{name: a, image: i}, {name: s, image: i, restartPolicy: Always}, {name: b, image: i}], \
          containers: [{name: c, image: i}], restartPolicy: Never}",
    );
    life.expect("start a0");
    life.started("a", 0);
    life.expect("");
    life.exits("a", 0, 0);
    life.expect("start s0");
    life.started("s", 0);
    life.expect("start b0");
    life.started("b", 0);
    life.phase("Pending", false);
    life.exits("b", 0, 0);
    life.expect("start c0");
    life.started("c", 0);
    life.phase("Running", true);
    life.exits("s", 0, 1);
    life.expect("start s1");
    life.started("s", 1);
    life.exits("c", 0, 0);
    life.expect("stop s1 in 30");
    life.phase("Running", false);
    life.exits("s", 1, 143);
    life.phase("Succeeded", false);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut life = Life::ready(
        "{initContainers: [{name: a, image: i}], containers: [{name: c, image: i}], restartPolicy: Never}",
    );
    life.expect("start a0");
    life.started("a", 0);
    life.exits("a", 0, 1);
    life.expect("");
    life.phase("Failed", false);
}

#[test]
fn a_startup_probe_holds_back_the_others() {
    let mut life = Life::ready(
        "{containers: [{name: c, image: i, \
           startupProbe: {exec: {command: [up]}, periodSeconds: 5, failureThreshold: 2}, \
           livenessProbe: {exec: {command: [live]}, failureThreshold: 1}, \
           readinessProbe: {exec: {command: [ready]}, periodSeconds: 3}}]}",
    );
    life.expect("start c0");
    life.started("c", 0);
    life.expect("ask c up #1");
    life.answers("c", 0, 1, false);
    life.phase("Running", false);
    life.waits(5);
    life.expect("ask c up #2");
    life.answers("c", 0, 2, true);
    life.expect("ask c live #3, ask c ready #4");
    life.answers("c", 0, 3, true);
    life.answers("c", 0, 4, true);
    life.phase("Running", true);
    life.waits(3);
    life.expect("ask c ready #5");
    for _ in 0..3 {
        let ticket = life.machine.slots[0].probers[2].ticket;
        life.answers("c", 0, ticket, false);
        life.waits(3);
        life.machine.take_actions();
    }
    life.phase("Running", false);
    let live = life.machine.slots[0].probers[1].ticket;
    life.answers("c", 0, live, false);
    life.expect("stop c0 in 30");
    life.exits("c", 0, 137);
    life.expect("start c1");
}

#[test]
fn hooks_surround_a_container() {
    let mut life = Life::ready(
        "{terminationGracePeriodSeconds: 20, containers: [{name: c, image: i, \
           lifecycle: {postStart: {exec: {command: [hello]}}, preStop: {exec: {command: [bye]}}}}]}",
    );
    life.expect("start c0");
    life.started("c", 0);
    life.expect("ask c hello #1");
    life.phase("Running", false);
    life.answers("c", 0, 1, true);
    life.phase("Running", true);
    life.deleted(20);
    life.expect("ask c bye #2");
    life.waits(5);
    life.answers("c", 0, 2, true);
    life.expect("stop c0 in 20");
    life.exits("c", 0, 0);
    life.expect("remove");
    life.happens(Event::Removed { pod: "u".into() });
    life.expect("forget");
}

#[test]
fn a_hook_that_hangs_is_cut_short() {
    let mut life = Life::ready(
        "{containers: [{name: c, image: i, lifecycle: {preStop: {exec: {command: [bye]}}}}]}",
    );
    life.expect("start c0");
    life.started("c", 0);
    life.deleted(10);
    life.expect("ask c bye #1");
    assert_eq!(life.machine.deadline(), Some(after(life.now, 10)));
    life.waits(10);
    life.expect("stop c0 in 10");
}

#[test]
fn a_deadline_fails_a_pod() {
    let mut life = Life::ready(
        "{activeDeadlineSeconds: 60, restartPolicy: Never, containers: [{name: c, image: i}]}",
    );
    life.expect("start c0");
    life.started("c", 0);
    life.waits(60);
    life.expect("stop c0 in 30");
    life.exits("c", 0, 0);
    life.phase("Failed", false);
    assert_eq!(
        life.machine.status(life.now).reason.as_deref(),
        Some("DeadlineExceeded")
    );
}

#[test]
fn an_image_that_cannot_be_fetched_is_tried_again() {
    let mut life = Life::ready("{containers: [{name: c, image: i}]}");
    life.expect("start c0");
    life.happens(Event::StartFailed {
        container: container("c", 0),
        reason: "ErrImagePull".to_owned(),
        message: "no such image".to_owned(),
    });
    life.phase("Pending", false);
    let statuses = life
        .machine
        .status(life.now)
        .container_statuses
        .unwrap_or_default();
    let waiting = statuses[0]
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    assert_eq!(
        waiting.and_then(|w| w.reason.as_deref()),
        Some("ImagePullBackOff")
    );
    life.waits(10);
    life.expect("start c1");
}

#[test]
fn a_pod_deleted_before_it_began_leaves_nothing() {
    let mut life = Life::new("{containers: [{name: c, image: i}]}");
    life.expect("run");
    life.deleted(30);
    life.expect("remove");
    // What was on its way when the pod was removed starts nothing any more.
    life.happens(Event::PodReady {
        pod: "u".into(),
        addresses: vec![[10, 0, 0, 1].into()],
    });
    life.expect("");
    life.happens(Event::Removed { pod: "u".into() });
    life.expect("forget");
}

#[test]
fn a_pod_that_is_lost_before_it_is_deleted_goes_too() {
    let mut life = Life::ready("{containers: [{name: c, image: i}]}");
    life.expect("start c0");
    life.started("c", 0);
    life.happens(Event::Removed { pod: "u".into() });
    life.expect("");
    life.phase("Failed", false);
    life.deleted(30);
    life.expect("forget");
}

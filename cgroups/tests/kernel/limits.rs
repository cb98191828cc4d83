//! Limits that hold, and what is counted when they do.

use super::harness::{GREEDY, eventually, on_every_layout, shell};
use ampoule_cgroups::{Controller, ErrorKind, Limit, Resources};
use needs::needs;
use std::time::Duration;

needs!(root => out_of_memory_is_killed_and_counted);
fn out_of_memory_is_killed_and_counted() {
    on_every_layout("oom", |scene| {
        let mut limits = Resources::new();
        limits.memory(16 << 20);
        let cgroup = scene.parent.create("one", &limits).unwrap();
        let mut running = shell(&cgroup, GREEDY);
        assert!(!running.child.wait().unwrap().success());
        eventually("the kill is counted", || {
            cgroup.stats().unwrap().memory.unwrap().oom_kill.unwrap() >= 1
        });
        let memory = cgroup.stats().unwrap().memory.unwrap();
        if let Some(peak) = memory.peak {
            assert!((8 << 20..=16 << 20).contains(&peak), "peak {peak}");
        }
        assert!(memory.max_hits.unwrap() >= 1);
    });
}

needs!(root => the_task_limit_stops_forks);
fn the_task_limit_stops_forks() {
    on_every_layout("pids", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().pids(3))
            .unwrap();
        let mut running = shell(&cgroup, "sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait");
        running.child.wait().unwrap();
        let pids = cgroup.stats().unwrap().pids.unwrap();
        assert!(pids.max_hits.unwrap() >= 1, "{pids:?}");
        assert!(pids.current <= 3);
        assert!(pids.peak.is_none_or(|peak| peak <= 3));
    });
}

needs!(root => a_quota_throttles_when_it_is_applied);
fn a_quota_throttles_when_it_is_applied() {
    on_every_layout("quota", |scene| {
        let mut limits = Resources::new();
        limits.cpus(0.1).account(Controller::CpuAcct);
        let cgroup = scene.parent.create_without_quota("one", &limits).unwrap();
        let cpu = || cgroup.stats().unwrap().cpu.unwrap();
        let mut running = shell(&cgroup, "echo started; while :; do :; done");
        assert_eq!(running.line(), "started");
        eventually("200 ms of CPU", || {
            cpu().usage.unwrap() > Duration::from_millis(200)
        });
        assert_eq!(cpu().throttled_periods, Some(0));
        cgroup.apply_quota(&limits).unwrap();
        eventually("throttled", || cpu().throttled_periods.unwrap() >= 3);
        assert!(cpu().throttled.unwrap() > Duration::ZERO);
    });
}

needs!(root => limits_can_be_raised_and_lowered);
fn limits_can_be_raised_and_lowered() {
    on_every_layout("change", |scene| {
        let mut limits = Resources::new();
        limits
            .memory(16 << 20)
            .swap(0)
            .pids(5)
            .cpus(0.5)
            .cpu_weight(50);
        let cgroup = scene.parent.create("one", &limits).unwrap();
        // v1 allows neither order of memory and memory+swap in both directions.
        limits.memory(64 << 20).pids(50).cpus(1.0);
        cgroup.apply(&limits).unwrap();
        limits
            .memory(8 << 20)
            .pids(Limit::Unlimited)
            .cpu_weight(10_000);
        cgroup.apply(&limits).unwrap();
        cgroup
            .apply(
                Resources::new()
                    .memory(Limit::Unlimited)
                    .swap(Limit::Unlimited),
            )
            .unwrap();
    });
}

needs!(root => a_controller_that_was_not_asked_for_is_named);
fn a_controller_that_was_not_asked_for_is_named() {
    on_every_layout("joined", |scene| {
        // Another cgroup below the same parent has it: on v2 its siblings then have it, too.
        let cgroup = scene.parent.create("one", &Resources::new()).unwrap();
        let error = cgroup.apply(Resources::new().memory(8 << 20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("without the memory controller"),
            "{error}"
        );
    });
}

needs!(root => cpusets_work_from_the_first_process_on);
fn cpusets_work_from_the_first_process_on() {
    on_every_layout("cpuset", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().cpuset_cpus("0"))
            .unwrap();
        let mut running = shell(&cgroup, "grep Cpus_allowed_list /proc/self/status");
        assert_eq!(running.line().split_whitespace().last(), Some("0"));
        let plain = scene
            .parent
            .create("two", Resources::new().account(Controller::CpuSet))
            .unwrap();
        assert_eq!(shell(&plain, "echo in").line(), "in");
    });
}

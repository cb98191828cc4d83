//! Limits that hold, and what is counted when they do.

use super::harness::{GREEDY, controllers, eventually, on_every_layout, shell};
use ampoule_cgroups::{Controller, ErrorKind, IoLimit, Limit, Resources};
use needs::needs;
use std::time::Duration;

needs!(root, controllers => out_of_memory_is_killed_and_counted);
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

needs!(root, controllers => the_task_limit_stops_forks);
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

needs!(root, controllers => a_quota_throttles_when_it_is_applied);
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
        eventually("throttled for some time", || {
            cpu().throttled.unwrap() > Duration::ZERO
        });
    });
}

needs!(root, controllers => limits_can_be_raised_and_lowered);
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

needs!(root, controllers => a_controller_that_was_not_asked_for_is_named);
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

needs!(root, controllers => cpusets_work_from_the_first_process_on);
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

needs!(root, controllers => every_limit_that_is_available_is_set);
fn every_limit_that_is_available_is_set() {
    let root_control = "/sys/fs/cgroup/unified/cgroup.subtree_control";
    let before = std::fs::read_to_string(root_control).unwrap_or_default();
    on_every_layout("all", |scene| {
        let available = scene.parent.controllers();
        let mut limits = Resources::new();
        limits
            .memory(32 << 20)
            .memory_low(1 << 20)
            .pids(7)
            .cpus(0.5)
            .cpu_weight(50);
        limits
            .cpu_burst(Duration::from_millis(10))
            .cpuset_cpus("0")
            .cpuset_mems("0");
        if available.contains(Controller::HugeTlb) {
            limits.hugetlb("2MB", 4 << 20);
        }
        let disk = std::fs::read_to_string("/sys/block/vda/dev").unwrap_or_default();
        if let Some((major, minor)) = disk.trim().split_once(':') {
            limits.io(IoLimit {
                major: major.parse().unwrap(),
                minor: minor.parse().unwrap(),
                read_bps: Some(Limit::Max(1 << 20)),
                write_iops: Some(Limit::Max(100)),
                ..IoLimit::default()
            });
        }
        let cgroup = scene.parent.create("one", &limits).unwrap();
        let read = |names: [&str; 2]| {
            let mut files = cgroup
                .paths()
                .flat_map(|(_, path)| names.map(|name| path.join(name)));
            std::fs::read_to_string(files.find(|file| file.exists()).unwrap()).unwrap()
        };
        assert_eq!(
            read(["memory.max", "memory.limit_in_bytes"]).trim(),
            "33554432"
        );
        assert_eq!(read(["pids.max", "pids.max"]).trim(), "7");
        assert_eq!(read(["cpu.max.burst", "cpu.cfs_burst_us"]).trim(), "10000");
        assert_eq!(read(["cpuset.cpus", "cpuset.cpus"]).trim(), "0");
        if available.contains(Controller::HugeTlb) {
            let bytes = read(["hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes"]);
            assert_eq!(bytes.trim(), "4194304");
            let hugetlb = cgroup.stats().unwrap().hugetlb;
            assert!(hugetlb.contains(&("2MB".into(), 0)), "{hugetlb:?}");
        }
        if !disk.is_empty() {
            let rates = read(["io.max", "blkio.throttle.read_bps_device"]);
            assert!(rates.contains("1048576"), "{rates}");
        }
    });
    if std::fs::read_to_string(root_control).is_ok_and(|now| now != before) {
        std::fs::write(root_control, "-hugetlb").unwrap();
    }
}

needs!(root, controllers => a_missing_device_and_a_missing_cpu_are_told);
fn a_missing_device_and_a_missing_cpu_are_told() {
    on_every_layout("missing", |scene| {
        let limit = IoLimit {
            major: 4095,
            minor: 5,
            read_bps: Some(Limit::Max(5)),
            ..IoLimit::default()
        };
        let error = scene
            .parent
            .create("one", Resources::new().io(limit))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("4095:5"), "{error}");
        let error = scene
            .parent
            .create("one", Resources::new().cpuset_cpus("60000"))
            .unwrap_err();
        assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    });
}

needs!(root, controllers, cgroup_v2 => raw_values_reach_their_files);
fn raw_values_reach_their_files() {
    on_every_layout("raw", |scene| {
        let mut limits = Resources::new();
        limits
            .unified("memory.high", "16777216")
            .unified("cgroup.max.depth", "2")
            .oom_group(true);
        let cgroup = scene.parent.create("one", &limits).unwrap();
        let (_, path) = cgroup.paths().next().unwrap();
        assert_eq!(
            std::fs::read_to_string(path.join("memory.high"))
                .unwrap()
                .trim(),
            "16777216"
        );
        assert_eq!(
            std::fs::read_to_string(path.join("cgroup.max.depth"))
                .unwrap()
                .trim(),
            "2"
        );
        assert_eq!(
            std::fs::read_to_string(path.join("memory.oom.group"))
                .unwrap()
                .trim(),
            "1"
        );
    });
}

needs!(root, controllers, cgroup_v1 => what_v1_lacks_is_an_error_and_leaves_nothing);
fn what_v1_lacks_is_an_error_and_leaves_nothing() {
    on_every_layout("lacks", |scene| {
        for limits in [
            Resources::new().memory_high(1 << 20).clone(),
            Resources::new().memory(1 << 20).oom_group(true).clone(),
            Resources::new().unified("memory.max", "1000000").clone(),
        ] {
            let error = scene.parent.create("one", &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        assert_eq!(scene.parent.names().unwrap(), Vec::<String>::new());
    });
}

needs!(root, controllers, cgroup_v2 => a_threaded_cgroup_is_told);
fn a_threaded_cgroup_is_told() {
    on_every_layout("threaded", |scene| {
        let threaded = scene.parent.create("one", &Resources::new()).unwrap();
        let (_, path) = threaded.paths().next().unwrap();
        // Makes the parent a threaded domain, in which no other cgroup may have processes.
        std::fs::write(path.join("cgroup.type"), "threaded").unwrap();
        let cgroup = scene.parent.create("two", &Resources::new()).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let error = cgroup.add(child.id()).unwrap_err();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(error.to_string().contains("threaded domain"), "{error}");
    });
}

needs!(root, controllers, cgroup_v2, pressure => waiting_is_counted_as_pressure);
fn waiting_is_counted_as_pressure() {
    on_every_layout("pressure", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().cpus(0.05))
            .unwrap();
        let _running = shell(&cgroup, "while :; do :; done");
        eventually("pressure", || {
            let pressure = cgroup.stats().unwrap().pressure.cpu.unwrap();
            pressure.some.total > Duration::ZERO
        });
    });
}

fn pressure() -> Result<(), String> {
    let read = std::fs::read_to_string("/proc/pressure/cpu");
    read.map(drop)
        .map_err(|error| format!("/proc/pressure/cpu: {error}: boot with psi=1"))
}

//! From creation to removal, with every way that an owner can end.

use super::harness::{SECONDS, Scene, controllers, eventually, on_every_layout, shell};
use super::role;
use ampoule_cgroups::{Cgroup, Controller, ErrorKind, Layout, Resources};
use needs::needs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

needs!(root, controllers => what_is_dropped_is_gone);
fn what_is_dropped_is_gone() {
    on_every_layout("drop", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().pids(5).memory(8 << 20))
            .unwrap();
        let paths = directories(&cgroup);
        assert!(paths.iter().all(|path| path.is_dir()));
        let mut running = shell(&cgroup, "sleep 100 & echo started; wait");
        assert_eq!(running.line(), "started");
        assert_eq!(cgroup.processes().unwrap().len(), 2);
        drop(cgroup);
        assert!(paths.iter().all(|path| !path.exists()));
        assert!(!running.child.wait().unwrap().success());
    });
}

needs!(root, controllers => directories_are_made_only_where_limits_need_them);
fn directories_are_made_only_where_limits_need_them() {
    on_every_layout("where", |scene| {
        let plain = scene.parent.create("plain", &Resources::new()).unwrap();
        assert_eq!(plain.paths().count(), 1);
        let limited = scene
            .parent
            .create("limited", Resources::new().pids(5).memory(8 << 20))
            .unwrap();
        let v1 = limited
            .paths()
            .filter(|(v, _)| *v == ampoule_cgroups::Version::V1)
            .count();
        assert!(v1 == 0 || v1 >= 2, "{limited:?}");
    });
}

needs!(root, controllers => a_name_is_owned_once);
fn a_name_is_owned_once() {
    on_every_layout("once", |scene| {
        let first = scene.parent.create("one", &Resources::new()).unwrap();
        let second = scene.again().create("one", &Resources::new()).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::AlreadyExists);
        assert!(directories(&first).iter().all(|path| path.is_dir()));
        first.remove().unwrap();
        scene.parent.create("one", &Resources::new()).unwrap();
    });
}

needs!(root, controllers => gc_sweeps_what_lost_its_owner);
fn gc_sweeps_what_lost_its_owner() {
    on_every_layout("gc", |scene| {
        let kept = scene.parent.create("kept", &Resources::new()).unwrap();
        let orphan = scene
            .parent
            .create("orphan", Resources::new().pids(9))
            .unwrap();
        let paths = directories(&orphan);
        let mut running = shell(&orphan, "echo started; sleep 100");
        assert_eq!(running.line(), "started");
        let lock = orphan.keep().unwrap();
        assert_eq!(scene.again().gc().unwrap(), Vec::<String>::new());
        drop(lock); // as the kernel does when the owner is killed
        // A child that another test has forked but not yet exec'd may still have a copy of it.
        eventually("the orphan is swept", || {
            scene.again().gc().unwrap() == ["orphan"]
        });
        assert!(paths.iter().all(|path| !path.exists()));
        assert!(directories(&kept).iter().all(|path| path.is_dir()));
    });
}

needs!(root, controllers => a_stale_cgroup_of_the_same_name_is_replaced);
fn a_stale_cgroup_of_the_same_name_is_replaced() {
    on_every_layout("stale", |scene| {
        let orphan = scene
            .parent
            .create("one", Resources::new().pids(9))
            .unwrap();
        let running = shell(&orphan, "sleep 100");
        drop(orphan.keep());
        eventually("the lock is free", || {
            match scene.parent.create("one", &Resources::new()) {
                Ok(fresh) => fresh.processes().unwrap().is_empty(),
                Err(error) => error.kind() != ErrorKind::AlreadyExists,
            }
        });
        drop(running);
    });
}

needs!(root, controllers => ownership_is_handed_over);
fn ownership_is_handed_over() {
    on_every_layout("adopt", |scene| {
        let cgroup = scene.parent.create("one", &Resources::new()).unwrap();
        let paths = directories(&cgroup);
        let lock = cgroup.keep().unwrap();
        let foreign = std::fs::File::open("/dev/null").unwrap().into();
        assert_eq!(
            scene.again().adopt("one", foreign).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let adopted = scene.again().adopt("one", lock).unwrap();
        assert!(paths.iter().all(|path| path.is_dir()));
        drop(adopted);
        assert!(paths.iter().all(|path| !path.exists()));
    });
}

needs!(root, controllers => a_persistent_cgroup_outlives_gc);
fn a_persistent_cgroup_outlives_gc() {
    on_every_layout("persist", |scene| {
        scene
            .parent
            .create("one", &Resources::new())
            .unwrap()
            .persist()
            .unwrap();
        assert_eq!(scene.parent.gc().unwrap(), Vec::<String>::new());
        assert_eq!(scene.parent.names().unwrap(), ["one"]);
        let taken = scene.parent.create("one", &Resources::new()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        scene.parent.find("one").unwrap().remove().unwrap();
        assert_eq!(
            scene.parent.find("one").unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

needs!(root, controllers => child_cgroups_made_inside_go_too);
fn child_cgroups_made_inside_go_too() {
    on_every_layout("nested", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().account(Controller::Pids))
            .unwrap();
        let deep = &["x"; 200].join("/");
        for path in directories(&cgroup) {
            // Deeper than anybody should hold descriptors or recurse.
            std::fs::create_dir_all(path.join(deep)).unwrap();
            std::fs::create_dir_all(path.join("a/b/c")).unwrap();
        }
        let running = shell(&cgroup, "sleep 100");
        for path in directories(&cgroup) {
            let procs = path.join(deep).join("cgroup.procs");
            std::fs::write(procs, running.child.id().to_string()).unwrap();
        }
        assert!(cgroup.processes().unwrap().contains(&running.child.id()));
        let paths = directories(&cgroup);
        cgroup.remove().unwrap();
        assert!(paths.iter().all(|path| !path.exists()));
    });
}

needs!(root, controllers => a_failed_creation_leaves_nothing);
fn a_failed_creation_leaves_nothing() {
    on_every_layout("failed", |scene| {
        let wrong = scene
            .parent
            .create("one", Resources::new().memory(1 << 20).cpuset_cpus("60000"));
        assert!(wrong.is_err());
        assert_eq!(scene.parent.names().unwrap(), Vec::<String>::new());
        scene.parent.create("one", &Resources::new()).unwrap();
    });
}

needs!(root, controllers => a_child_enters_by_the_entry);
fn a_child_enters_by_the_entry() {
    on_every_layout("entry", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().pids(9).memory(8 << 20))
            .unwrap();
        let entry = cgroup.entry().unwrap();
        assert_eq!(entry.directory.is_some(), cgroup.fd().is_some());
        // Dash has descriptors up to 9; the test gives it these by /proc.
        let pid = std::process::id();
        let tasks = entry
            .tasks
            .iter()
            .map(|fd| format!("/proc/{pid}/fd/{}", fd.as_raw_fd()));
        let writes: String = tasks.map(|path| format!("echo 0 >{path}; ")).collect();
        let v2 = entry
            .directory
            .as_ref()
            .map(|fd| format!("echo 0 >/proc/{pid}/fd/{}/cgroup.procs;", fd.as_raw_fd()));
        let script = format!(
            "{writes}{} cat /proc/self/cgroup; echo",
            v2.unwrap_or_default()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let inside = text
            .lines()
            .filter(|line| line.ends_with(&format!("{}/one", scene.name)))
            .count();
        assert_eq!(inside, cgroup.paths().count(), "{text}");
        eventually("the shell has left", || {
            cgroup.processes().unwrap().is_empty()
        });
    });
}

needs!(root, controllers => the_calling_process_enters_by_itself);
fn the_calling_process_enters_by_itself() {
    let scene = Scene::new("self", Layout::discover().unwrap());
    let cgroup = scene
        .parent
        .create("one", Resources::new().account(Controller::Memory))
        .unwrap();
    // In a helper, since the test must not move itself.
    let helper = Command::new(role::this_binary());
    let status = role::start(helper, "enter", &scene.name).wait().unwrap();
    assert!(status.success());
    let peak = cgroup.stats().unwrap().memory.unwrap().peak;
    assert!(
        peak.is_none_or(|bytes| bytes > 0),
        "nothing was ever inside"
    );
    cgroup.kill(SECONDS).unwrap();
}

needs!(root, controllers => an_empty_parent_can_be_removed);
fn an_empty_parent_can_be_removed() {
    on_every_layout("parent", |scene| {
        let cgroup = scene
            .parent
            .create("one", Resources::new().pids(3))
            .unwrap();
        let paths = directories(&cgroup);
        assert_eq!(scene.again().remove().unwrap_err().kind(), ErrorKind::Busy);
        cgroup.remove().unwrap();
        scene.again().remove().unwrap();
        assert!(paths.iter().all(|path| !path.parent().unwrap().exists()));
        let error = scene.parent.create("one", &Resources::new()).unwrap_err();
        assert!(error.to_string().contains("open it again"), "{error}");
        scene.again().create("one", &Resources::new()).unwrap();
    });
}

needs!(root, controllers => many_threads_and_a_sweeper_do_not_meet);
fn many_threads_and_a_sweeper_do_not_meet() {
    on_every_layout("threads", |scene| {
        let busy = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = scene.again();
                while busy.load(Ordering::Relaxed) {
                    // The others are alive, so there is nothing to sweep.
                    assert_eq!(other.gc().unwrap(), Vec::<String>::new());
                }
            });
            let workers: Vec<_> = (0..8)
                .map(|worker| {
                    scope.spawn(move || {
                        for round in 0..20 {
                            let name = format!("{worker}-{round}");
                            let cgroup = scene
                                .parent
                                .create(&name, Resources::new().pids(3))
                                .unwrap();
                            assert!(directories(&cgroup).iter().all(|path| path.is_dir()));
                            cgroup.remove().unwrap();
                        }
                    })
                })
                .collect();
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            busy.store(false, Ordering::Relaxed);
            results.into_iter().for_each(|result| result.unwrap());
        });
    });
}

fn directories(cgroup: &Cgroup) -> Vec<PathBuf> {
    cgroup.paths().map(|(_, path)| path.to_owned()).collect()
}

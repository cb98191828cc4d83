//! Killing and freezing.

use super::harness::{SECONDS, controllers, eventually, on_every_layout, shell};
use ampoule_cgroups::Resources;
use needs::needs;
use std::time::{Duration, Instant};

needs!(root, controllers => a_fork_bomb_ends);
fn a_fork_bomb_ends() {
    on_every_layout("bomb", |scene| {
        // Perl goes on where a fork fails; a shell's bomb ends by itself when it meets the limit.
        let cgroup = scene
            .parent
            .create("bomb", Resources::new().pids(200))
            .unwrap();
        let mut running = shell(&cgroup, "echo started; exec perl -e 'fork while 1'");
        assert_eq!(running.line(), "started");
        eventually("100 processes", || cgroup.processes().unwrap().len() > 100);
        let begun = Instant::now();
        cgroup.kill(SECONDS).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [0u32; 0]);
        assert!(begun.elapsed() < SECONDS);
    });
}

needs!(root, controllers => a_frozen_cgroup_stands_still_and_can_be_killed);
fn a_frozen_cgroup_stands_still_and_can_be_killed() {
    on_every_layout("freeze", |scene| {
        let mut limits = Resources::new();
        limits.account(ampoule_cgroups::Controller::CpuAcct);
        let cgroup = scene.parent.create("one", &limits).unwrap();
        let usage = || cgroup.stats().unwrap().cpu.unwrap().usage.unwrap();
        let mut running = shell(&cgroup, "echo started; while :; do :; done");
        assert_eq!(running.line(), "started");
        cgroup.freeze(SECONDS).unwrap();
        assert!(cgroup.is_frozen().unwrap());
        let before = usage();
        std::thread::sleep(Duration::from_millis(200));
        assert!(
            usage() - before < Duration::from_millis(20),
            "it ran while frozen"
        );
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        eventually("it runs again", || {
            usage() - before > Duration::from_millis(50)
        });
        cgroup.freeze(SECONDS).unwrap();
        cgroup.kill(SECONDS).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [0u32; 0]);
        assert!(running.child.wait().is_ok());
    });
}

needs!(root, controllers => killing_an_empty_cgroup_is_nothing);
fn killing_an_empty_cgroup_is_nothing() {
    on_every_layout("empty", |scene| {
        let cgroup = scene.parent.create("one", &Resources::new()).unwrap();
        cgroup.kill(SECONDS).unwrap();
        cgroup.kill(Duration::ZERO).unwrap();
        cgroup.kill(Duration::MAX).unwrap();
    });
}

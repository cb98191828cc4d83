//! What is left when somebody dies in the middle of a start.

use ampoule::plan::{Phase, Undo};
use ampoule::{Container, ErrorKind};
use needs::needs;
use rustix::process::{Pid, Signal, getpid, kill_process, pidfd_send_signal};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set for the host that dies: at which step.
const DIE_AT: &str = "AMPOULE_TEST_DIE_AT";

/// A number that tells these sleepers from all others.
const SECONDS: &str = "1000003";

fn container() -> Container {
    let mut container = Container::new("sleep");
    container.arg(SECONDS).memory(64 << 20).pids(16);
    container
}

/// Where a host's step can stand: the program closes every descriptor, the gate's as well, right before it begins.
fn places() -> usize {
    let plan = container().plan().unwrap();
    let closing = |step: &ampoule::plan::Step| {
        format!("{step:?}").contains("CloseFrom") || step.phase >= Phase::Filter
    };
    plan.steps()
        .iter()
        .position(closing)
        .unwrap_or(plan.steps().len())
}

/// The other side of [`nothing_is_left_of_a_host_that_dies`]; called by `main` before anything else.
pub fn die_if_asked() {
    let Some(index) = std::env::var(DIE_AT)
        .ok()
        .and_then(|index| index.parse().ok())
    else {
        return;
    };
    let started = container().spawn_adjusted(|plan| {
        plan.insert_host(index, "die", |_| {
            kill_process(getpid(), Signal::KILL)?;
            Ok(Undo::nothing())
        });
    });
    // Past the last place, the host dies with a running container.
    kill_process(getpid(), Signal::KILL).unwrap();
    drop(started);
}

needs!(root => nothing_is_left_of_a_host_that_dies);
fn nothing_is_left_of_a_host_that_dies() {
    let before = Left::here();
    let last = places();
    for index in (0..=last).chain([usize::MAX]) {
        let mut host = Command::new(std::env::current_exe().unwrap())
            .env(DIE_AT, index.to_string())
            .spawn()
            .unwrap();
        assert!(!host.wait().unwrap().success());
        before.assert_nothing_more(&format!(
            "the host died at step {}",
            index.saturating_add(2)
        ));
    }
}

needs!(root => nothing_is_left_of_a_child_that_dies);
fn nothing_is_left_of_a_child_that_dies() {
    let before = Left::here();
    for index in 0..places() {
        let error = container()
            .spawn_adjusted(|plan| {
                plan.insert_host(index, "kill the child", |child| {
                    pidfd_send_signal(child.pidfd()?, Signal::KILL)?;
                    Ok(Undo::nothing())
                });
            })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Killed, "{error}");
    }
    before.assert_nothing_more("children died");
}

/// What a start could leave on the machine.
struct Left {
    mounts: BTreeSet<String>,
}

impl Left {
    fn here() -> Left {
        Left { mounts: mounts() }
    }

    /// Processes, mounts, and after a sweep cgroups. Bounded, because the kernel takes a namespace back in the background.
    fn assert_nothing_more(&self, when: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let sleepers = sleepers();
            let mounts: Vec<String> = mounts().difference(&self.mounts).cloned().collect();
            let swept = ampoule::cgroups::Parent::open("ampoule")
                .unwrap()
                .gc()
                .map(|_| ());
            if sleepers.is_empty() && mounts.is_empty() && swept.is_ok() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{when}: processes {sleepers:?}, mounts {mounts:?}, sweep {swept:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn mounts() -> BTreeSet<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .map(str::to_string)
        .collect()
}

/// Processes of these tests' containers: the program, or a child on its way there, which still shows its host's environment.
fn sleepers() -> Vec<Pid> {
    let ours = |pid: &Pid| {
        let read = |file: &str| {
            fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
        };
        let environment = read("environ");
        let dies = environment
            .split(|byte| *byte == 0)
            .any(|word| word.starts_with(DIE_AT.as_bytes()));
        dies || read("cmdline") == format!("sleep\0{SECONDS}\0").as_bytes()
    };
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter_map(Pid::from_raw).filter(ours).collect()
}

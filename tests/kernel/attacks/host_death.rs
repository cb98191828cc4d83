//! A host that is killed while somebody inside wants to outlive it.

use super::{python, python3};
use crate::elsewhere::{self, case};
use ampoule::cgroups::Parent;
use needs::needs;
use rustix::process::{Pid, Signal, getpid, kill_process, test_kill_process};
use std::time::{Duration, Instant};

/// Takes back PR_SET_PDEATHSIG, its own and that of process 1 by tracing it.
const UNTIE: &str = r#"
own = libc.prctl(1, 0, 0, 0, 0)
traced = attempt(call, 101, 16, 1, 0, 0) if os.getpid() != 1 else ""
print(own, traced, flush=True)
while True: time.sleep(1)
"#;

/// Starts it, says its process id, and dies.
fn start_and_die(init: bool) {
    use std::io::Read;
    let mut container = python(UNTIE);
    container
        .init(init)
        .pids(16)
        .timeout(Duration::from_secs(60));
    let mut child = container.stdout(ampoule::Stdio::Piped).spawn().unwrap();
    let mut told = [0; 16];
    let count = child.stdout.as_mut().unwrap().read(&mut told).unwrap();
    println!(
        "{} {}",
        child.id(),
        String::from_utf8_lossy(&told[..count]).trim()
    );
    kill_process(getpid(), Signal::KILL).unwrap();
}

case!(die_with_an_untied_program);
fn die_with_an_untied_program() {
    start_and_die(false);
}

case!(die_with_an_untied_program_behind_init);
fn die_with_an_untied_program_behind_init() {
    start_and_die(true);
}

/// The process, and what the attacker said.
fn host(case: &str) -> (Pid, String) {
    let output = elsewhere::start(case, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (pid, told) = said.split_once(' ').unwrap();
    (
        Pid::from_raw(pid.parse().unwrap()).unwrap(),
        told.trim().to_string(),
    )
}

fn gone(pid: Pid, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while test_kill_process(pid).is_ok() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

needs!(root, python3 => a_sweep_ends_what_outlives_its_host);
fn a_sweep_ends_what_outlives_its_host() {
    let (pid, told) = host("die_with_an_untied_program");
    assert_eq!(told, "0");
    // A program that is process 1 itself can do this; changing its user has the same effect.
    assert!(
        !gone(pid, Duration::from_millis(200)),
        "it should have outlived its host"
    );
    let swept = Parent::open("ampoule").unwrap().gc();
    assert!(gone(pid, Duration::from_secs(5)), "{swept:?}");
}

needs!(root, python3 => behind_init_nothing_outlives_its_host);
fn behind_init_nothing_outlives_its_host() {
    let (pid, told) = host("die_with_an_untied_program_behind_init");
    assert_eq!(told, "0 EPERM", "process 1 must not be traced");
    assert!(gone(pid, Duration::from_secs(5)));
}

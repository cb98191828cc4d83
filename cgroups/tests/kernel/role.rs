//! What helper processes do: this binary again, in a role instead of the tests. A role says "ready" when it has done its part.

use super::harness;
use ampoule_cgroups::{Controller, ErrorKind, Options, Resources, enter_scope};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

/// The environment variable with the role and the parent's name.
pub const VARIABLE: &str = "AMPOULE_TEST_ROLE";

/// Starts a role and waits until it is ready.
pub fn start(mut command: Command, role: &str, parent: &str) -> Child {
    let mut child = command
        .env(VARIABLE, format!("{role} {parent}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        match line.unwrap() {
            line if line == "ready" => return child,
            line => told.push(line),
        }
    }
    panic!("the helper said: {}", told.join("\n"));
}

pub fn this_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub fn play(role: &str) -> ExitCode {
    let (role, parent) = role.split_once(' ').unwrap();
    match role {
        "own" => own(parent),
        "enter" => enter(parent),
        "delegated" => delegated(parent),
        "step-aside" => step_aside(parent),
        "scoped" => scoped(parent),
        "unscoped" => unscoped(),
        "undelegated" => undelegated(parent),
        other => panic!("no role {other}"),
    }
    ExitCode::SUCCESS
}

fn ready() {
    // Nobody may listen any more.
    let _ = writeln!(std::io::stderr(), "ready");
}

/// Owns a cgroup with a process in it until it is killed.
fn own(parent: &str) {
    let parent = Options::new(parent)
        .locks(harness::locks(parent))
        .open()
        .unwrap();
    let cgroup = parent
        .create("one", Resources::new().pids(9).memory(8 << 20))
        .unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    cgroup.add(child.id()).unwrap();
    ready();
    child.wait().unwrap();
}

/// Enters a cgroup by itself.
fn enter(parent: &str) {
    let parent = Options::new(parent)
        .locks(harness::locks(parent))
        .open()
        .unwrap();
    parent.find("one").unwrap().add_self().unwrap();
    ready();
}

/// Uses a subtree that was delegated to this ordinary user.
fn delegated(parent: &str) {
    let parent = Options::new(parent).locks(user_locks()).open().unwrap();
    assert!(parent.controllers().contains(Controller::Memory));
    let mut limits = Resources::new();
    limits.memory(16 << 20).pids(5).cpus(0.5);
    let cgroup = parent.create("one", &limits).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "read go; cat /proc/self/cgroup"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cgroup.add(child.id()).unwrap();
    drop(child.stdin.take());
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.ends_with("/mine/one\n"), "{text}");

    let error = cgroup.apply(Resources::new().devices([])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("CAP_BPF"), "{error}");
    drop(cgroup);
    let error = parent
        .create("two", Resources::new().io_weight(5))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated, "{error}");
    assert!(error.to_string().contains("io controller"), "{error}");
    assert_eq!(parent.names().unwrap(), Vec::<String>::new());
    ready();
}

/// Sits in the very cgroup that was delegated to it, as systemd-run leaves a program.
fn step_aside(parent: &str) {
    let mut options = Options::new(parent);
    options.locks(user_locks());
    let limits = Resources::new().pids(5).clone();
    let error = options.open().unwrap().create("one", &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("internal processes"), "{error}");

    let parent = options.step_aside(true).open().unwrap();
    let cgroup = parent.create("one", &limits).unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(own.trim_end().ends_with("/ampoule.self"), "{own}");
    drop(cgroup);
    ready();
}

/// Has nothing delegated.
fn undelegated(parent: &str) {
    let error = Options::new(parent).locks(user_locks()).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated, "{error}");
    assert!(error.to_string().contains("Delegate=yes"), "{error}");
    ready();
}

/// Asks systemd for a scope, and makes a limited cgroup in it.
fn scoped(parent: &str) {
    enter_scope().unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(
        own.contains(&format!("/ampoule-{}.scope", std::process::id())),
        "{own}"
    );
    let parent = Options::new(parent)
        .locks(user_locks())
        .step_aside(true)
        .open()
        .unwrap();
    let cgroup = parent
        .create("one", Resources::new().memory(16 << 20).pids(5))
        .unwrap();
    cgroup.add_self().unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(own.trim_end().ends_with("/one"), "{own}");
    ready();
    // Dropping the cgroup would kill this very process.
    cgroup.keep();
}

/// Has no systemd to ask.
fn unscoped() {
    let error = enter_scope().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("chowns the directory"),
        "{error}"
    );
    ready();
}

fn user_locks() -> PathBuf {
    std::env::temp_dir().join("ampoule-test-user-locks")
}

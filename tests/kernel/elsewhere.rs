//! This binary started again: for code that wants a process of its own, or another user.

use needs::needs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Set for the process that runs a case: its name.
const CASE: &str = "AMPOULE_TEST_CASE";

/// Code for a process of its own.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(),
}

needs::inventory::collect!(Case);

/// Registers a function that [`run`] can call in another process: `case!(few_descriptors);`.
macro_rules! case {
    ($name:ident) => {
        needs::inventory::submit! {
            $crate::elsewhere::Case { name: stringify!($name), run: $name }
        }
    };
}
pub(crate) use case;

/// Called by `main` before anything else: runs the case that was asked for, and ends.
pub fn run_if_asked() {
    let Ok(name) = std::env::var(CASE) else {
        return;
    };
    let case = needs::inventory::iter::<Case>().find(|case| case.name == name);
    (case.expect("a case of this name").run)();
    std::process::exit(0)
}

/// Runs a case by a command line in front of this binary's path, such as `prlimit --nofile=16`.
pub fn run(case: &str, by: &[&str]) {
    let output = start(case, by);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}\n{said}", output.status);
}

/// As [`run`], for a case whose end is looked at by the caller.
pub fn start(case: &str, by: &[&str]) -> Output {
    let mut line: Vec<String> = by.iter().map(|word| word.to_string()).collect();
    line.push(std::env::current_exe().unwrap().to_str().unwrap().into());
    Command::new(&line[0])
        .args(&line[1..])
        .env(CASE, case)
        .output()
        .unwrap()
}

/// The variable and its value that make this binary run a case.
pub fn variable(case: &str) -> (&'static str, &str) {
    (CASE, case)
}

/// A directory that goes with its owner, whatever the test does.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ampoule-suite-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// An empty directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A file in it that can be executed.
    pub fn program(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// No privilege.
pub fn ordinary_user() -> Result<(), String> {
    match rustix::process::geteuid().is_root() {
        true => Err("run by `elsewhere::without_privilege` as another user".into()),
        false => Ok(()),
    }
}

needs!(root, user_namespaces => without_privilege);
fn without_privilege() {
    let scratch = Scratch::new();
    // A copy, because the directory of this one may be closed to others.
    let copy = scratch.path().join("kernel");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let home = scratch.dir("tmp");
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let output = Command::new(&copy)
        .arg("--color=never")
        .env("AMPOULE_EXPECT", "ordinary_user")
        .env("TMPDIR", &home)
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test result: ok."), "{said}");
    assert!(!said.contains(" 0 passed"), "{said}");
}

needs!(ordinary_user => nobody_is_root_here);
fn nobody_is_root_here() {
    assert!(!rustix::process::geteuid().is_root());
}

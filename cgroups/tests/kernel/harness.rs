//! What the tests share: parents of their own, on every layout that this machine offers, and processes inside cgroups.

use ampoule_cgroups::{Cgroup, Controller, Layout, Mode, Options, Parent, Version};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A parent that no other test uses; what is left below it when the test ends is a failure.
pub struct Scene {
    pub parent: Parent,
    pub name: String,
    pub locks: PathBuf,
    pub layout: Layout,
}

impl Scene {
    pub fn new(test: &str, layout: Layout) -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ampoule-test-{test}-{}-{count}", std::process::id());
        let locks = locks(&name);
        let parent = Options::new(&name)
            .layout(layout.clone())
            .locks(&locks)
            .open()
            .unwrap();
        Scene {
            parent,
            name,
            locks: locks.clone(),
            layout,
        }
    }

    /// A second view of the same parent, as another process would have it.
    pub fn again(&self) -> Parent {
        Options::new(&self.name)
            .layout(self.layout.clone())
            .locks(&self.locks)
            .open()
            .unwrap()
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.layout
            .hierarchies
            .iter()
            .map(|h| h.mount.join(&self.name))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let mut left = self.parent.names().unwrap_or_default();
        for name in &left {
            let _ = self
                .parent
                .find(name)
                .and_then(ampoule_cgroups::Cgroup::remove);
        }
        for directory in self.directories().filter(|dir| dir.exists()) {
            let children = std::fs::read_dir(&directory).unwrap();
            let children = children
                .filter_map(|entry| entry.ok())
                .filter(|e| e.path().is_dir());
            left.extend(children.map(|child| child.path().display().to_string()));
            let _ = std::fs::remove_dir(&directory);
        }
        lock_files(&self.locks, &mut left);
        let _ = std::fs::remove_dir_all(&self.locks);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// Runs a test on the machine as it is and, where that is hybrid, on its v1 hierarchies alone.
pub fn on_every_layout(test: &str, run: impl Fn(&Scene)) {
    let layout = Layout::discover().unwrap();
    if layout.mode() == Mode::Hybrid {
        run(&Scene::new(test, layout.clone().without(Version::V2)));
    }
    run(&Scene::new(test, layout));
}

/// A shell inside the cgroup, which starts the script when it has entered by [`Cgroup::entry`]'s way of v1 or, on v2, by the
/// slow way; in a process group of its own.
pub fn shell(cgroup: &Cgroup, script: &str) -> Running {
    use std::os::unix::process::CommandExt;
    let mut child = Command::new("sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let added = cgroup.add(child.id());
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let running = Running { child, out };
    added.unwrap();
    running
}

/// A process of a test's; it ends with the test.
pub struct Running {
    pub child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// The next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, for a minute at most (a virtual machine under emulation is slow).
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "in a minute not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub const SECONDS: Duration = Duration::from_secs(10);

/// Where the locks of a test's parent are kept.
pub fn locks(parent: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{parent}-locks"))
}

fn lock_files(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => lock_files(&path, found),
            false => found.push(path.display().to_string()),
        }
    }
}

/// A script that takes 64 MiB; Perl is on every Debian, and quick.
pub const GREEDY: &str = r#"exec perl -e '$x = "x" x (64 << 20); sleep 1'"#;

/// What the tests limit: a machine without them is no failure.
pub fn controllers() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(find_controllers).clone()
}

fn find_controllers() -> Result<(), String> {
    let locks = locks("probe");
    let parent = Options::new("ampoule-test-probe").locks(&locks).open();
    let _ = std::fs::remove_dir_all(locks);
    let parent = parent.map_err(|error| error.to_string())?;
    for controller in [
        Controller::Cpu,
        Controller::CpuSet,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
    ] {
        parent
            .version_of(controller)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

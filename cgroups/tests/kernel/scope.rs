//! A scope from systemd: an instance for an ordinary user runs beside the test, in a subtree of its own.

use super::owner::{Subtree, as_user};
use super::role;
use needs::needs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

needs!(root, cgroup_v2, systemd => systemd_gives_a_scope);
fn systemd_gives_a_scope() {
    let session = Session::new();
    let user = session.command(as_user());
    let mut user = session.subtree.start_inside("scoped", "outside", user);
    assert!(user.wait().unwrap().success());
}

needs!(root => without_systemd_the_error_says_what_to_do);
fn without_systemd_the_error_says_what_to_do() {
    let mut user = as_user();
    user.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    assert!(role::start(user, "unscoped", "x").wait().unwrap().success());
}

/// A message bus and a systemd of user 65534, in a subtree that belongs to them.
struct Session {
    bus: Child,
    systemd: Child,
    runtime: PathBuf,
    made: Option<PathBuf>,
    subtree: Subtree,
}

impl Session {
    fn new() -> Session {
        let subtree = Subtree::new("session", "+memory +pids +cpu");
        let runtime = std::env::temp_dir().join(format!("ampoule-session-{}", std::process::id()));
        std::fs::create_dir(&runtime).unwrap();
        chown(&runtime, Some(65534), Some(65534)).unwrap();
        // systemd's user instance runs only where this says that the machine was booted with systemd.
        let booted = Path::new("/run/systemd/system");
        let made = (!booted.exists()).then(|| booted.to_owned());
        std::fs::create_dir_all(booted).unwrap();

        let address = format!("unix:path={}/bus", runtime.display());
        let mut bus = in_session(&runtime, unprivileged("dbus-daemon"));
        bus.args([
            "--session",
            "--nofork",
            "--nopidfile",
            "--address",
            &address,
        ]);
        let bus = bus
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        super::harness::eventually("the bus is there", || runtime.join("bus").exists());
        let mut systemd = in_session(&runtime, unprivileged("/lib/systemd/systemd"));
        systemd
            .args(["--user", "--unit", "basic.target"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let systemd = subtree.spawn_inside("manager", systemd);
        super::harness::eventually("systemd is on the bus", || {
            let mut status = in_session(&runtime, unprivileged("busctl"));
            status.args([
                "--user",
                "--auto-start=no",
                "status",
                "org.freedesktop.systemd1",
            ]);
            status.stdout(Stdio::null()).stderr(Stdio::null());
            status.status().unwrap().success()
        });
        Session {
            bus,
            systemd,
            runtime,
            made,
            subtree,
        }
    }

    fn command(&self, command: Command) -> Command {
        in_session(&self.runtime, command)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in [&mut self.systemd, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.subtree.kill();
        let _ = std::fs::remove_dir_all(&self.runtime);
        if let Some(made) = &self.made {
            let _ = std::fs::remove_dir(made);
        }
    }
}

fn in_session(runtime: &Path, mut command: Command) -> Command {
    command
        .env("XDG_RUNTIME_DIR", runtime)
        .env(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={}/bus", runtime.display()),
        )
        .env("HOME", runtime);
    command
}

fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        program,
    ]);
    command
}

fn systemd() -> Result<(), String> {
    needs::file("/lib/systemd/systemd")?;
    needs::program("dbus-daemon")
}

//! Owners that are killed, and owners who are ordinary users.

use super::harness::{Scene, controllers, eventually};
use super::role;
use ampoule_cgroups::Layout;
use needs::needs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

needs!(root, controllers => gc_sweeps_after_sigkill);
fn gc_sweeps_after_sigkill() {
    let scene = Scene::new("sigkill", Layout::discover().unwrap());
    let mut owner = role::start(Command::new(role::this_binary()), "own", &scene.name);
    assert_eq!(scene.parent.gc().unwrap(), Vec::<String>::new());
    let orphan = scene.parent.find("one").unwrap();
    assert_eq!(orphan.processes().unwrap().len(), 1);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("swept", || scene.parent.gc().unwrap() == ["one"]);
    assert_eq!(scene.parent.names().unwrap(), Vec::<String>::new());
}

needs!(root, controllers, cgroup_v2 => an_ordinary_user_in_a_delegated_subtree);
fn an_ordinary_user_in_a_delegated_subtree() {
    let subtree = Subtree::new("user", "+memory +pids +cpu");
    let mut user = subtree.start_inside("delegated", "user", as_user());
    assert!(user.wait().unwrap().success());
}

needs!(root, controllers, cgroup_v2 => a_program_in_its_own_scope_steps_aside);
fn a_program_in_its_own_scope_steps_aside() {
    let subtree = Subtree::new("scope", "+memory +pids");
    let mut user = subtree.start_inside("step-aside", "", as_user());
    assert!(user.wait().unwrap().success());
}

needs!(root => without_delegation_the_error_says_what_is_missing);
fn without_delegation_the_error_says_what_is_missing() {
    let mut user = role::start(as_user(), "undelegated", "x");
    assert!(user.wait().unwrap().success());
}

/// A part of the v2 hierarchy that belongs to user 65534, as an administrator or systemd would hand it over.
pub struct Subtree {
    /// Root's, so that it decides which controllers there are.
    outer: PathBuf,
    delegated: PathBuf,
}

impl Subtree {
    pub fn new(name: &str, controllers: &str) -> Subtree {
        let outer = format!("/sys/fs/cgroup/ampoule-test-{name}-{}", std::process::id());
        let subtree = Subtree {
            delegated: Path::new(&outer).join("delegated"),
            outer: outer.into(),
        };
        std::fs::create_dir_all(&subtree.delegated).unwrap();
        std::fs::write(subtree.outer.join("cgroup.subtree_control"), controllers).unwrap();
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            chown(subtree.delegated.join(file), Some(65534), Some(65534)).unwrap();
        }
        subtree
    }

    /// Starts a role inside: in the subtree itself, or in a child of it.
    pub fn start_inside(&self, role: &str, child: &str, command: Command) -> Child {
        role::start(self.inside(child, command), role, "mine")
    }

    /// Starts a program inside.
    pub fn spawn_inside(&self, child: &str, command: Command) -> Child {
        self.inside(child, command).spawn().unwrap()
    }

    /// Kills what is still inside.
    pub fn kill(&self) {
        let _ = std::fs::write(self.outer.join("cgroup.kill"), "1");
        let events = self.outer.join("cgroup.events");
        eventually("all are killed", || {
            std::fs::read_to_string(&events).is_ok_and(|text| text.contains("populated 0"))
        });
    }

    /// The command behind a shell that enters first.
    fn inside(&self, child: &str, command: Command) -> Command {
        let home = self.delegated.join(child);
        std::fs::create_dir_all(&home).unwrap();
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            chown(home.join(file), Some(65534), Some(65534)).unwrap();
        }
        let mut shell = Command::new("sh");
        let script = format!("echo 0 >{}/cgroup.procs; exec \"$@\"", home.display());
        shell
            .args(["-c", &script, "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        shell.envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        shell
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let _ = Command::new("find")
            .arg(&self.outer)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
            .status();
        assert!(
            std::thread::panicking() || !self.outer.exists(),
            "left behind: {:?}",
            self.outer
        );
    }
}

/// This binary as user 65534, without any privilege.
pub fn as_user() -> Command {
    let mut user = Command::new("setpriv");
    user.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(role::this_binary());
    user
}

//! Others, as the commands that they are.

use crate::ours::{MEMORY, PIDS};
use crate::place::Place;
use crate::table::Sample;
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::seccomp::{Action, Compare, Host, Template};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// Runs a command to its end.
pub fn run(command: &mut Command) -> anyhow::Result<Sample> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().context("start")?;
    let executed = began.elapsed();
    let status = child.wait()?;
    let ended = began.elapsed();
    ensure!(status.success(), "{status}");
    Ok((Some(executed), ended))
}

/// The same without a word on when the container's own program was executed: the command does not say.
pub fn whole(command: &mut Command) -> anyhow::Result<Sample> {
    run(command).map(|(_, ended)| (None, ended))
}

/// The same file, found in the `PATH`, or none.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// bubblewrap: no cgroup, no filter, no masks, and the root is bound, not laid over.
pub fn bubblewrap(program: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.args([
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--bind",
    ]);
    command.arg(root);
    command.args([
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--mqueue",
        "/dev/mqueue",
    ]);
    command.args(["--clearenv", "--", "/bin/true"]);
    command
}

/// A bundle for the OCI runtimes, with the same settings. Its root is an overlay that is mounted once: they leave that to
/// others.
pub struct Bundle {
    pub dir: PathBuf,
    count: u64,
}

impl Bundle {
    pub fn new(place: &Place) -> anyhow::Result<Bundle> {
        let dir = place.base.join("bundle");
        for name in ["rootfs", "upper", "work", "state"] {
            fs::create_dir_all(dir.join(name))?;
        }
        fs::write(dir.join("config.json"), spec()?.to_string())?;
        Ok(Bundle { dir, count: 0 })
    }

    /// Mounts the root; in a mount namespace of the bench's own, which ends with it.
    pub fn mount(&self, place: &Place) -> anyhow::Result<()> {
        let layers: Vec<_> = place.layers.iter().map(|l| l.to_string_lossy()).collect();
        let (dir, lower) = (self.dir.display(), layers.join(":"));
        let options = format!("lowerdir={lower},upperdir={dir}/upper,workdir={dir}/work");
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(self.dir.join("rootfs"))
            .status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(())
    }

    pub fn run(&mut self, runtime: &Path, place: Option<&Arc<File>>) -> anyhow::Result<Sample> {
        self.count += 1;
        let name = format!("bench-{}-{}", std::process::id(), self.count);
        let mut command = Command::new("timeout");
        // youki hangs now and then when the program ends early.
        command.args(["-s", "KILL", "10"]).arg(runtime);
        command.arg("--root").arg(self.dir.join("state"));
        command.args(["run", "--bundle"]).arg(&self.dir).arg(&name);
        if let Some(namespace) = place {
            let namespace = namespace.clone();
            // SAFETY: one system call, with a descriptor that is open.
            unsafe {
                command.pre_exec(move || {
                    match libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                });
            }
        }
        let sample = whole(&mut command);
        if sample.is_err() {
            let mut delete = Command::new(runtime);
            delete.arg("--root").arg(self.dir.join("state"));
            let _ = run(delete.args(["delete", "--force", &name]));
        }
        sample
    }
}

/// A mount namespace in which a hybrid machine looks like one with cgroup v1: Debian's crun refuses hybrid ones.
pub fn without_unified() -> anyhow::Result<Option<Arc<File>>> {
    if !Path::new("/sys/fs/cgroup/unified").exists() {
        return Ok(None);
    }
    let made = std::thread::spawn(|| -> anyhow::Result<File> {
        // SAFETY: this thread's own file system state and mounts.
        let left = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) };
        ensure!(left == 0, "unshare: {}", std::io::Error::last_os_error());
        let status = Command::new("mount")
            .args(["--make-rprivate", "/"])
            .status()?;
        ensure!(status.success(), "make mounts private: {status}");
        let status = Command::new("umount")
            .args(["-l", "/sys/fs/cgroup/unified"])
            .status()?;
        ensure!(status.success(), "umount: {status}");
        Ok(File::open("/proc/thread-self/ns/mnt")?)
    });
    let namespace = made
        .join()
        .map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    Ok(Some(Arc::new(namespace)))
}

fn spec() -> anyhow::Result<Value> {
    let capabilities: Vec<String> = CapabilitySet::DOCKER
        .iter()
        .map(|c| c.to_string())
        .collect();
    let restricted = ["nosuid", "noexec", "nodev"];
    let namespaces =
        ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": restricted},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": restricted},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": format!("/ampoule-peers/{}", std::process::id()),
            "resources": {
                "memory": {"limit": MEMORY},
                "cpu": {"quota": 50_000, "period": 100_000},
                "pids": {"limit": PIDS},
            },
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
                "/sys/devices/virtual/powercap", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": seccomp()?,
        },
    }))
}

/// Docker's profile in the OCI's form, from the same data that our filter is compiled from.
fn seccomp() -> anyhow::Result<Value> {
    let profile = Template::docker().resolve(&Host::here(CapabilitySet::DOCKER)?);
    let rules = profile.rules.iter().map(|rule| {
        let args = rule.conditions.iter().map(|condition| {
            let (op, value, two) = match condition.compare {
                Compare::Ne(value) => ("SCMP_CMP_NE", value, 0),
                Compare::Lt(value) => ("SCMP_CMP_LT", value, 0),
                Compare::Le(value) => ("SCMP_CMP_LE", value, 0),
                Compare::Eq(value) => ("SCMP_CMP_EQ", value, 0),
                Compare::Ge(value) => ("SCMP_CMP_GE", value, 0),
                Compare::Gt(value) => ("SCMP_CMP_GT", value, 0),
                Compare::MaskedEq { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
            };
            json!({"index": condition.argument, "value": value, "valueTwo": two, "op": op})
        });
        let (action, errno) = action(rule.action);
        json!({"names": rule.syscalls, "action": action, "errnoRet": errno, "args": args.collect::<Vec<_>>()})
    });
    let rules: Vec<Value> = rules
        .map(|mut rule| {
            if rule["errnoRet"].is_null() {
                rule.as_object_mut().map(|rule| rule.remove("errnoRet"));
            }
            rule
        })
        .collect();
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }))
}

fn action(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno)),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(number)),
        Action::Notify => ("SCMP_ACT_NOTIFY", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

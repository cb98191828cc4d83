//! What the kernel has.

use super::{Finding, Level};
use ampoule_privileges::seccomp::KernelVersion;
use std::fs;
use std::path::Path;

/// Features by the version that brought them, what they are for, and what their lack means.
const FEATURES: [(&str, &str, Level); 4] = [
    (
        "5.12",
        "mount_setattr(2): detached mounts are made read-only",
        Level::Missing,
    ),
    (
        "5.14",
        "cgroup.kill: a whole container is killed at once",
        Level::Degraded,
    ),
    (
        "6.3",
        "sealed programs that say they are executable",
        Level::Ok,
    ),
    (
        "6.15",
        "layers of images with other owners, and detached mounts of detached trees",
        Level::Ok,
    ),
];

const NAMESPACES: [(&str, Level); 8] = [
    ("mnt", Level::Missing),
    ("pid", Level::Missing),
    ("net", Level::Missing),
    ("ipc", Level::Missing),
    ("uts", Level::Missing),
    ("cgroup", Level::Missing),
    ("user", Level::Degraded),
    ("time", Level::Ok),
];

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![version(), namespaces(), seccomp()];
    #[cfg(feature = "landlock")]
    findings.push(landlock());
    findings.extend([overlay(), tun()]);
    findings
}

fn version() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let Ok(running) = KernelVersion::running() else {
        return Finding::new("kernel", Level::Degraded, format!("Linux {release}"))
            .cause("its version cannot be read");
    };
    let lacks = |since: &str| {
        since
            .parse()
            .is_ok_and(|since: KernelVersion| running < since)
    };
    let lacking: Vec<_> = FEATURES.iter().filter(|(since, ..)| lacks(since)).collect();
    let level = lacking.iter().map(|(.., level)| *level).max();
    let finding = Finding::new(
        "kernel",
        level.unwrap_or(Level::Ok),
        format!("Linux {release}"),
    );
    if lacking.is_empty() {
        return finding;
    }
    let list: Vec<String> = lacking
        .iter()
        .map(|(since, what, _)| format!("{what} ({since})"))
        .collect();
    finding
        .cause(format!("it is too old for {}", list.join("; ")))
        .remedy("a newer kernel")
}

fn namespaces() -> Finding {
    let has = |kind: &str| Path::new("/proc/self/ns").join(kind).exists();
    let lacking: Vec<_> = NAMESPACES.iter().filter(|(kind, _)| !has(kind)).collect();
    let names = |list: &[&(&str, Level)]| {
        let names: Vec<&str> = list.iter().map(|(kind, _)| *kind).collect();
        names.join(", ")
    };
    match lacking.iter().map(|(_, level)| *level).max() {
        None => Finding::ok("namespaces", names(&NAMESPACES.each_ref())),
        Some(level) => Finding::new("namespaces", level, format!("no {}", names(&lacking)))
            .cause("/proc/self/ns does not have them: the kernel was built without")
            .remedy("a kernel with CONFIG_NAMESPACES and all below it"),
    }
}

fn seccomp() -> Finding {
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    match fs::read_to_string(path) {
        Ok(actions) if actions.split_whitespace().any(|a| a == "user_notif") => {
            Finding::ok("seccomp", "filters, with notification")
        }
        Ok(_) => Finding::ok("seccomp", "filters"),
        Err(error) => Finding::new("seccomp", Level::Missing, "no filters of system calls")
            .cause(format!("{path}: {error}"))
            .remedy("a kernel with CONFIG_SECCOMP_FILTER; a container without a filter starts, and is weaker"),
    }
}

#[cfg(feature = "landlock")]
fn landlock() -> Finding {
    use ampoule_privileges::landlock::{Landlock, Status};
    let mut all = Landlock::new();
    let status = all.restrict_files().restrict_network().status();
    match &status {
        Status::Enforced { .. } => Finding::ok("landlock", status.to_string()),
        _ => Finding::new("landlock", Level::Degraded, status.to_string())
            .cause("only rules that ask for it are refused; none is there unless asked for")
            .remedy("a kernel from 6.10 on, booted with landlock in lsm="),
    }
}

fn overlay() -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim() == "nodev\toverlay") {
        return Finding::ok("overlay", "layers over layers");
    }
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let modules = Path::new("/lib/modules").join(release);
    let listed = |file: &str| {
        let list = fs::read_to_string(modules.join(file)).unwrap_or_default();
        list.contains("/overlay.ko")
    };
    match listed("modules.builtin") || listed("modules.dep") {
        true => Finding::ok("overlay", "layers over layers, as a module"),
        false => Finding::new("overlay", Level::Degraded, "no layers over layers")
            .cause("/proc/filesystems has no overlay, and there is no module of that name")
            .remedy("a kernel with CONFIG_OVERLAY_FS; roots from one directory work without"),
    }
}

fn tun() -> Finding {
    let path = "/dev/net/tun";
    let opened = fs::File::options().read(true).write(true).open(path);
    match opened {
        Ok(_) => Finding::ok("tun", "an ordinary user's containers can have a network"),
        Err(error) => Finding::new(
            "tun",
            Level::Degraded,
            "no network for an ordinary user's containers",
        )
        .cause(format!("{path}: {error}"))
        .remedy("modprobe tun; chmod 666 /dev/net/tun"),
    }
}

//! What a machine may have: each probe looks, and answers with the reason where it is missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Effective user 0.
pub fn root() -> Result<(), String> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("the tests run as an ordinary user".into()),
    }
}

/// User namespaces that an ordinary user may make.
pub fn user_namespaces() -> Result<(), String> {
    let made = Command::new("unshare")
        .args(["--user", "true"])
        .stderr(Stdio::null())
        .status();
    match made.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err("`unshare --user true` fails".into()),
    }
}

/// The v1 controllers `memory`, `pids` and `freezer`, each mounted.
pub fn cgroup_v1() -> Result<(), String> {
    for controller in ["memory", "pids", "freezer"] {
        file(&format!("/sys/fs/cgroup/{controller}/cgroup.procs"))?;
    }
    Ok(())
}

/// cgroup v2 alone, with the controllers `memory` and `pids`.
pub fn cgroup_v2() -> Result<(), String> {
    let path = "/sys/fs/cgroup/cgroup.controllers";
    let controllers = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    for controller in ["memory", "pids"] {
        if !controllers
            .split_whitespace()
            .any(|found| found == controller)
        {
            return Err(format!("{path} has no {controller}"));
        }
    }
    Ok(())
}

/// The overlay file system.
pub fn overlay() -> Result<(), String> {
    filesystem("overlay")
}

/// The program, somewhere on `PATH`.
pub fn program(name: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        true => Ok(()),
        false => Err(format!("{name} is not installed")),
    }
}

/// A file system that the kernel knows, or has a module for.
pub fn filesystem(name: &str) -> Result<(), String> {
    let known = |list: &str| {
        list.lines()
            .any(|line| line.split_whitespace().next_back() == Some(name))
    };
    if known(&fs::read_to_string("/proc/filesystems").unwrap_or_default()) {
        return Ok(());
    }
    // A module's file system is listed only once it is loaded.
    let _ = Command::new("modprobe")
        .arg(name)
        .stderr(Stdio::null())
        .status();
    match known(&fs::read_to_string("/proc/filesystems").unwrap_or_default()) {
        true => Ok(()),
        false => Err(format!("the kernel has no file system {name}")),
    }
}

/// A kernel release no older than `(major, minor)`.
pub fn kernel(least: (u32, u32)) -> Result<(), String> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.trim().parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match found >= least {
        true => Ok(()),
        false => Err(format!(
            "the kernel is {}, older than {}.{}",
            release.trim(),
            least.0,
            least.1
        )),
    }
}

/// A file or directory that exists.
pub fn file(path: &str) -> Result<(), String> {
    match Path::new(path).exists() {
        true => Ok(()),
        false => Err(format!("{path} is missing")),
    }
}

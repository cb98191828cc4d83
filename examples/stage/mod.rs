//! The stage that the examples play on: the right to make namespaces, and a way to say that something is missing.

#![allow(dead_code, reason = "each example uses a part of it")]

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Something that this machine or user lacks. An example that ends so counts as skipped.
#[derive(Debug)]
pub struct Missing {
    need: &'static str,
    reason: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "needs {}: {}", self.need, self.reason)
    }
}

impl std::error::Error for Missing {}

/// The error for something that is missing.
pub fn missing(need: &'static str, reason: impl Into<String>) -> anyhow::Error {
    let reason = reason.into();
    Missing { need, reason }.into()
}

/// Plays an example in the role that its arguments name; none is the first. The exit code is 0 if everything that it claims
/// holds, 77 if something is missing, else 1 or 101.
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks"
)]
pub fn play(example: impl FnOnce(&[&str]) -> anyhow::Result<()>) -> ExitCode {
    let role: Vec<String> = std::env::args().skip(1).collect();
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    match example(&role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Missing>() => {
            println!("skipped, {error}");
            ExitCode::from(77)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The right to make namespaces. Root has it; an ordinary user gets it as root of a user namespace, which example 07 is about.
pub fn may_make_namespaces() -> anyhow::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| missing("user_namespaces", format!("unshare: {errno}")))?;
    std::fs::write("/proc/self/setgroups", "deny").context("write setgroups")?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("write gid_map")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("write uid_map")
}

/// Mounts that nobody else sees, which example 06 is about.
pub fn own_mounts() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mounts")?;
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("make / private")
}

/// A new file system at a place: `tmpfs`, `proc`.
pub fn mount_new(kind: &str, at: impl AsRef<Path>) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let at = at.as_ref();
    mount(Some(kind), at, Some(kind), flags, None::<&str>)
        .with_context(|| format!("mount {kind} at {at:?}"))
}

/// This program once more, to play another role: its first argument.
pub fn again(role: &str) -> Command {
    // Not by its path, which an ordinary user might not be allowed to walk.
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}

/// What a command prints; it must succeed.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let (stdout, stderr) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(String::from_utf8(stdout)?.trim_end().to_string())
}

/// The names in a directory, in order.
pub fn names(directory: impl AsRef<Path>) -> anyhow::Result<Vec<String>> {
    let directory = directory.as_ref();
    let entries = std::fs::read_dir(directory).with_context(|| format!("read {directory:?}"))?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

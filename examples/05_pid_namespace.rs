//! *Why does a container see only its own processes, and who buries its dead?*
//!
//! **The kernel's idea.** A process has a number in its pid namespace and in every one above. The first in a namespace is
//! process 1: orphans become its children, signals from below cannot kill it, and when it ends the kernel kills all others.
//! A process that ended stays as a *zombie*, a line in a table, until its parent has asked how it ended.
//!
//! **Run it**: `cargo run --example 05_pid_namespace`
//!
//! **Check it yourself**: `unshare --user --map-root-user --pid --fork --mount-proc sh -c 'echo $$; ps'`
//!
//! **Try to escape**: a process can neither name nor see one above. Its own number up there is known only to `/proc` of the
//! host: that is why a container gets a `/proc` of its own, and process 1 gets `Container::init(true)` if it is no parent.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use anyhow::Context;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::wait;
use stage::{again, mount_new, names, output};
use std::fs;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        // A process stays in its pid namespace: only its children are born in a new one.
        ["container", init] => {
            stage::own_mounts()?;
            unshare(CloneFlags::CLONE_NEWPID).context("unshare")?;
            print!("{}", output(&mut again(init))?);
            Ok(())
        }
        ["sees"] => sees(),
        ["careless"] => zombies(|| sleep(Duration::from_millis(500))),
        // What an init does all its life: here until there is nobody left.
        ["reaper"] => zombies(|| while wait() != Err(Errno::ECHILD) {}),
        ["dies"] => {
            Command::new("sleep").arg("60").spawn()?;
            Ok(())
        }
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    stage::may_make_namespaces()?;
    let container = |init: &str| output(again("container").arg(init));
    println!("{}", container("sees")?);

    // Broken: a program as process 1 that knows nothing of orphans.
    let zombies = container("careless")?;
    println!("a careless process 1: {zombies} zombies");
    assert_eq!(zombies, "1");

    // Fixed: it waits for whoever ends.
    let zombies = container("reaper")?;
    println!("one that waits: {zombies} zombies");
    assert_eq!(zombies, "0");

    // The sleeper holds our pipe open: that we read its end says that the sleeper is dead.
    let begun = Instant::now();
    container("dies")?;
    println!(
        "process 1 ends, and `sleep 60` with it, after {:.1?}",
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    Ok(())
}

fn sees() -> anyhow::Result<()> {
    // Broken: the /proc that is mounted belongs to the namespace of who mounted it.
    let hosts = fs::read_link("/proc/self").context("read /proc/self")?;
    println!(
        "process {} is {} in the host's /proc",
        std::process::id(),
        hosts.display()
    );
    assert_eq!(std::process::id(), 1);
    assert_ne!(hosts.as_os_str(), "1");

    // Fixed: a /proc of its own.
    mount_new("proc", "/proc")?;
    println!("its own /proc has the processes {:?}", processes()?);
    assert_eq!(processes()?, ["1"]);

    let killed = Command::new("sh").args(["-c", "kill -9 1"]).status()?;
    println!("`kill -9 1` from inside says {killed}, and process 1 lives on");
    Ok(())
}

/// A child ends at once and leaves one of its own behind, which ends soon. What is left after process 1 has done its work?
fn zombies(work: impl FnOnce()) -> anyhow::Result<()> {
    mount_new("proc", "/proc")?;
    let parent = Command::new("sh").args(["-c", "sleep 0.1 &"]).status()?;
    assert!(parent.success());
    work();
    let stat = |pid: &String| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let dead = processes()?
        .iter()
        .filter(|pid| stat(pid).contains(") Z "))
        .count();
    print!("{dead}");
    Ok(())
}

fn processes() -> anyhow::Result<Vec<String>> {
    let mut names = names("/proc")?;
    names.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(names)
}

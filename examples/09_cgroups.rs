//! *How is a program kept from eating the machine?*
//!
//! **The kernel's idea.** Namespaces decide what a process *sees*; control groups decide what it *uses*. Processes are sorted
//! into a tree of groups, and controllers count and limit memory, processor time and processes for each group as a whole, so
//! that no number of forks gets around a limit.
//!
//! **Run it**: `cargo run --example 09_cgroups` (as root, or with a delegated cgroup: `systemd-run --user --scope -p Delegate=yes`)
//!
//! **Check it yourself**: `cat /proc/self/cgroup`, and look into these directories below `/sys/fs/cgroup`
//!
//! **Try to escape**: a process that may write to the tree can move itself: so containers see theirs read-only or not at all.
//! v1's `release_agent` let root inside run a program outside (CVE-2022-0492): example 11 refuses what that takes.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::cgroups::{Controller, Parent, Resources, Stats};
use stage::{again, missing};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["guest", appetite] => {
            // The host puts us into a group first.
            std::io::stdin().read_exact(&mut [0])?;
            match appetite {
                "memory" => drop(black_box(vec![1_u8; 200 << 20])),
                "time" => burn(),
                _ => breed()?,
            }
            Ok(())
        }
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    let parent = match Parent::open("ampoule") {
        Err(error) if !nix::unistd::geteuid().is_root() => {
            return Err(missing("delegated_cgroup", error.to_string()));
        }
        opened => opened?,
    };
    memory(&parent)?;
    time(&parent)?;
    processes(&parent)
}

fn memory(parent: &Parent) -> anyhow::Result<()> {
    let mut limits = Resources::new();
    limits.account(Controller::Memory);
    let (status, _) = run(parent, &limits, "memory")?;
    println!("200 MiB without a limit: {status}");
    assert!(status.success());

    limits.memory(64 << 20).swap(0);
    let (status, stats) = run(parent, &limits, "memory")?;
    let memory = stats.memory.expect("it was limited");
    let (kills, peak) = (memory.oom_kill.unwrap_or(0), memory.peak.unwrap_or(0) >> 20);
    println!("200 MiB with a limit of 64: {status}, {kills} killed at {peak} MiB");
    assert_eq!((status.signal(), kills), (Some(9), 1));
    assert!(peak <= 64);
    Ok(())
}

fn time(parent: &Parent) -> anyhow::Result<()> {
    let mut limits = Resources::new();
    limits.account(Controller::CpuAcct).cpus(0.2);
    let begun = Instant::now();
    let (_, stats) = run(parent, &limits, "time")?;
    let cpu = stats.cpu.expect("it was limited");
    let used = cpu.usage.unwrap_or_default();
    println!("a second's loop with a fifth of a processor: {used:.0?} used");
    // Quota is dealt out in periods of 100 ms: a little more than the fifth may be used.
    assert!(used < begun.elapsed().mul_f64(0.4), "{used:?}");
    Ok(())
}

fn processes(parent: &Parent) -> anyhow::Result<()> {
    let (status, _) = run(parent, &Resources::new(), "processes")?;
    assert!(status.success());

    let (status, _) = run(parent, Resources::new().pids(8), "processes")?;
    println!("with a limit of 8 processes: {status}");
    assert!(!status.success());
    Ok(())
}

/// Runs a guest in a group of its own, and says what it used. The group goes with this function.
fn run(parent: &Parent, limits: &Resources, appetite: &str) -> anyhow::Result<(ExitStatus, Stats)> {
    let group = parent.create(&format!("example-{}", std::process::id()), limits)?;
    let mut guest = again("guest").arg(appetite).stdin(Stdio::piped()).spawn()?;
    group.add(guest.id())?;
    guest.stdin.take().expect("it is piped").write_all(b".")?;
    let status = guest.wait()?;
    Ok((status, group.stats()?))
}

fn burn() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {}
}

/// Fails if it does not get 20 children.
fn breed() -> anyhow::Result<()> {
    let fork = |_| Command::new("sleep").arg("60").spawn().ok();
    let children: Vec<Child> = (0..20).map_while(fork).collect();
    let count = children.len();
    for mut child in children {
        child.kill().and_then(|()| child.wait())?;
    }
    anyhow::ensure!(count == 20, "fork was refused after {count} children");
    Ok(())
}

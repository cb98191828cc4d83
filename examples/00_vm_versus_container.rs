//! *What is the difference between a virtual machine and a container?*
//!
//! **The kernel's idea.** A virtual machine is a program that plays a whole computer: another kernel boots on it, with memory,
//! drivers and disks of its own. A container is a few processes of *this* kernel, which shows them less. So the one costs what
//! booting costs and leaves a small surface to attack; the other costs what a fork costs and shares the kernel's whole surface.
//!
//! **Run it**: `cargo run --example 00_vm_versus_container` (needs `qemu-system-x86`, `busybox-static`, and a kernel that can be
//! read: `/boot/vmlinuz*`, or the one that `tests/vm/vmtest` fetched)
//!
//! **Check it yourself**: `ps -o rss,args -C qemu-system-x86_64`; `uname -r` inside of each
//!
//! **Try to escape**: of the container, by any bug of this kernel; of the machine, only by one of QEMU or KVM.

#![allow(clippy::print_stdout, reason = "an example talks")]

#[path = "stage/machine.rs"]
mod machine;
mod stage;

use ampoule::Container;
use machine::Costs;
use stage::output;
use std::process::{Command, ExitCode};
use std::time::Duration;

fn main() -> ExitCode {
    stage::play(|_| {
        let ours = output(Command::new("uname").arg("-r"))?;
        // Before the machine, which may be missing: the container always runs.
        let container = container()?;
        say("container", &container);
        let machine = machine::boot()?;
        say("machine", &machine);
        assert_eq!(container.kernel, ours);
        assert!(container.start < machine.start && container.memory < machine.memory);
        Ok(())
    })
}

fn say(what: &str, costs: &Costs) {
    let (memory, disk) = (costs.memory >> 10, costs.disk >> 10);
    println!(
        "{what}: up after {:.1?}, kernel {}",
        costs.start, costs.kernel
    );
    println!("    {memory} KiB of memory, {disk} KiB on disk of its own");
}

/// A container on this machine's own files: nothing is on disk for it.
fn container() -> anyhow::Result<Costs> {
    let output = Container::new("uname")
        .arg("-r")
        .timeout(Duration::from_secs(30))
        .output()?;
    let (start, memory) = (output.report.wall, output.report.peak_memory);
    let kernel = String::from_utf8(output.stdout)?.trim().to_string();
    Ok(Costs {
        start,
        memory,
        disk: 0,
        kernel,
    })
}

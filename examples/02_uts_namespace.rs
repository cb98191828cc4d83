//! *How can two programs on one machine have different host names?*
//!
//! **The kernel's idea.** A global of the kernel, here the host name, becomes a field of an object; each process points to
//! one such object, its *UTS namespace*. unshare(2) gives a process a fresh copy, its children inherit the pointer. All
//! other namespaces are this idea again, with more interesting globals.
//!
//! **Run it**: `cargo run --example 02_uts_namespace`
//!
//! **Check it yourself**: `unshare --user --map-root-user --uts sh -c 'hostname guest; hostname'; hostname`
//!
//! **Try to escape**: a namespace is a file, and setns(2) goes back to it, if there is a way to open it and the privilege to
//! enter. That is why a container sees no process of the host in `/proc`, and loses its capabilities.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use anyhow::Context;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{gethostname, sethostname};
use stage::again;
use std::fs::File;
use std::process::ExitCode;

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["rename", name] => Ok(sethostname(name)?),
        ["unshare-and-rename", name] => {
            unshare(CloneFlags::CLONE_NEWUTS)?;
            sethostname(name)?;
            println!("the guest is called {}", hostname()?);
            Ok(())
        }
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    stage::may_make_namespaces()?;
    let machines = hostname()?;
    let door = File::open("/proc/self/ns/uts")?;
    // From here on we are the machine, so that the real one need not suffer.
    unshare(CloneFlags::CLONE_NEWUTS).context("unshare")?;
    sethostname("machine")?;
    let before = std::fs::read_link("/proc/self/ns/uts")?;
    println!("in {} we are called {}", before.display(), hostname()?);

    // Broken: the child is in our namespace, so it renames us.
    assert!(again("rename").arg("guest").status()?.success());
    println!(
        "a child in the same namespace calls itself guest: we are called {}",
        hostname()?
    );
    assert_eq!(hostname()?, "guest");

    // Fixed: the child leaves our namespace before.
    sethostname("machine")?;
    assert!(again("unshare-and-rename").arg("guest").status()?.success());
    println!(
        "a child in a namespace of its own did the same: we are called {}",
        hostname()?
    );
    assert_eq!(hostname()?, "machine");

    // The way back: whoever holds the file may enter, if the kernel finds him privileged *there*.
    match setns(&door, CloneFlags::CLONE_NEWUTS) {
        Ok(()) => {
            println!(
                "root goes back through the file that it kept: {}",
                hostname()?
            );
            assert_eq!(hostname()?, machines);
        }
        Err(errno) => {
            println!("the way back is shut to an ordinary user: {errno}");
            assert_eq!(errno, nix::errno::Errno::EPERM);
        }
    }
    Ok(())
}

fn hostname() -> anyhow::Result<String> {
    Ok(gethostname()?.to_string_lossy().into_owned())
}

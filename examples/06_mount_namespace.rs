//! *Why does a container's mount not show up on the host, or does it?*
//!
//! **The kernel's idea.** A mount namespace is a copy of the list of mounts. But mounts can be *peers*: what happens to one
//! happens to its copies too. `shared` sends and receives, `slave` only receives, `private` neither. systemd makes `/` shared,
//! so that a new USB stick shows up everywhere; a bare `unshare` then tells the host of everything that it mounts.
//!
//! **Run it**: `cargo run --example 06_mount_namespace`
//!
//! **Check it yourself**: `findmnt -o TARGET,PROPAGATION`, mount_namespaces(7)
//!
//! **Try to escape**: a shared mount that was forgotten is a way to change what the host sees at a path. The suite's containers
//! begin in a mount namespace that holds next to nothing, so there is nothing to forget.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use stage::{again, mount_new, names};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};

const NONE: Option<&str> = None;

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["guest", propagation, place] => guest(propagation, Path::new(place)),
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    stage::may_make_namespaces()?;
    // From here on we are the machine, so that the real one need not suffer.
    stage::own_mounts()?;
    let place = tempfile::tempdir()?;

    // Broken: the guest leaves the mounts as they are, and systemd would have made them shared.
    assert_eq!(play(place.path(), "shared")?, (true, true));
    // Fixed: nothing passes, or only what the host mounts.
    assert_eq!(play(place.path(), "private")?, (false, false));
    assert_eq!(play(place.path(), "slave")?, (false, true));
    Ok(())
}

/// A guest mounts something, then the host does. Does the host see the guest's mount, and the guest the host's?
fn play(place: &Path, propagation: &str) -> anyhow::Result<(bool, bool)> {
    let base = place.join(propagation);
    fs::create_dir(&base)?;
    tmpfs(&base)?;
    mount(NONE, &base, NONE, MsFlags::MS_SHARED, NONE)?;
    fs::create_dir(base.join("guests"))?;
    fs::create_dir(base.join("hosts"))?;

    let mut command = again("guest");
    command.arg(propagation).arg(&base);
    let mut guest = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut to, mut from) = (guest.stdin.take().unwrap(), guest.stdout.take().unwrap());
    // It has mounted.
    from.read_exact(&mut [0])?;
    let by_host = names(base.join("guests"))? == ["mounted"];
    tmpfs(&base.join("hosts"))?;
    to.write_all(b".")?;
    let mut answer = String::new();
    from.read_to_string(&mut answer)?;
    assert!(guest.wait()?.success());
    umount2(&base, MntFlags::MNT_DETACH)?;

    let by_guest = answer == "mounted";
    println!("{propagation}: seen by the host: {by_host}, by the guest: {by_guest}");
    Ok((by_host, by_guest))
}

fn guest(propagation: &str, base: &Path) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare")?;
    match propagation {
        "private" => mount(NONE, base, NONE, MsFlags::MS_PRIVATE, NONE)?,
        "slave" => mount(NONE, base, NONE, MsFlags::MS_SLAVE, NONE)?,
        _ => {}
    }
    tmpfs(&base.join("guests"))?;
    let (mut stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    stdout.write_all(b".")?;
    stdout.flush()?;
    stdin.read_exact(&mut [0])?;
    print!("{}", names(base.join("hosts"))?.concat());
    Ok(())
}

/// A file system in memory, with one file in it.
fn tmpfs(at: &Path) -> anyhow::Result<()> {
    mount_new("tmpfs", at)?;
    Ok(fs::write(at.join("mounted"), "")?)
}

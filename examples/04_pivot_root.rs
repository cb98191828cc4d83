//! *How does a root become one that nobody gets out of?*
//!
//! **The kernel's idea.** chroot moves a pointer and leaves the old tree where it was. pivot_root(2) changes the *mounts*: in
//! a mount namespace of its own, another mount becomes the root, and the old one is taken off. What is not mounted has no
//! path, for anybody in there, by any number of `..`.
//!
//! **Run it**: `cargo run --example 04_pivot_root`
//!
//! **Check it yourself**: in any container, `cat /proc/self/mountinfo`: the host's root is not listed
//!
//! **Try to escape**: the six lines of 03 do run, and lead nowhere. An open directory of the old tree is still a way out
//! (CVE-2024-21626 was one): that is why a container's child closes every file that it was not handed.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, mkdir, pivot_root};
use stage::{again, names};
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

const NONE: Option<&str> = None;

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["prisoner", place] => prisoner(Path::new(place)),
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    stage::may_make_namespaces()?;
    let place = tempfile::tempdir()?;
    fs::create_dir(place.path().join("jail"))?;
    fs::write(place.path().join("secret"), "the key is under the mat")?;
    assert!(again("prisoner").arg(place.path()).status()?.success());
    assert_eq!(
        names(place.path().join("jail"))?,
        [""; 0],
        "the mount was the prisoner's own"
    );
    Ok(())
}

fn prisoner(place: &Path) -> anyhow::Result<()> {
    let secret = place.join("secret");
    let forgotten = File::open(place)?;
    enter(&place.join("jail"))?;
    println!("in the jail, / holds {:?}", names("/")?);
    assert_eq!(names("/")?, ["bread"]);

    escape()?;
    println!("after the same six lines, / holds {:?}", names("/")?);
    assert_eq!(names("/")?, ["bread", "tunnel"]);
    assert!(fs::read(&secret).is_err());

    // Broken again: a descriptor of the old tree that somebody forgot.
    fchdir(&forgotten)?;
    let found = fs::read_to_string("secret")?;
    println!("through a directory that was left open: {found:?}");
    assert_eq!(found, "the key is under the mat");

    // Fixed again: close it, and go home.
    drop(forgotten);
    chdir("/")?;
    assert!(fs::read("secret").is_err() && fs::read(&secret).is_err());
    println!("closed, it is gone for good");
    Ok(())
}

/// The root tree is a mount of its own, becomes `/`, and the old one goes.
fn enter(jail: &Path) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Else the host would see our mounts and lose its own: example 06.
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    mount(Some("jail"), jail, Some("tmpfs"), MsFlags::MS_NOSUID, NONE)?;
    fs::write(jail.join("bread"), "hard")?;
    chdir(jail)?;
    // With both names the same, the old root lies on top of the new one, where `.` finds it.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}

/// Word for word that of example 03.
fn escape() -> nix::Result<()> {
    mkdir("tunnel", Mode::S_IRWXU)?;
    chroot("tunnel")?;
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")
}

//! *How can an ordinary user be root in a container?*
//!
//! **The kernel's idea.** Ids and capabilities count *in a user namespace*. Its maker holds every capability in it, and in no
//! other; every namespace made from there belongs to it. A map says which ids inside stand for which outside; whatever has no
//! id in the map shows as `nobody`. All that touches the machine itself asks for the capability in the first namespace.
//!
//! **Run it**: `cargo run --example 07_user_namespace`
//!
//! **Check it yourself**: `unshare --user --map-root-user sh -c 'id; touch /tmp/mine'; ls -l /tmp/mine`, user_namespaces(7)
//!
//! **Try to escape**: root in there may call code of the kernel that a user otherwise may not, and that is where most of the
//! kernel's holes of the last years were. So containers are forbidden to make another one: example 11.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use anyhow::Context;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, getegid, geteuid, gethostname, sethostname};
use nix::unistd::{setgroups, setresgid, setresuid};
use stage::{again, missing};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// Whom root becomes for this example: any number that is not root.
const ANYBODY: u32 = 4711;

fn main() -> ExitCode {
    stage::play(|role| match *role {
        [] => host(),
        ["guest", place] => guest(Path::new(place)),
        _ => anyhow::bail!("this example takes no arguments"),
    })
}

fn host() -> anyhow::Result<()> {
    if geteuid().is_root() {
        be_anybody().context("become an ordinary user")?;
    }
    let user = geteuid().as_raw();
    println!(
        "outside: user {user}; sethostname says {:?}",
        sethostname("mine")
    );
    assert_ne!(user, 0);
    assert_eq!(sethostname("mine"), Err(Errno::EPERM));

    let place = tempfile::tempdir()?;
    let status = again("guest").arg(place.path()).status()?;
    if status.code() == Some(77) {
        return Err(missing(
            "user_namespaces",
            "an ordinary user may not make one",
        ));
    }
    assert!(status.success());
    let owner = fs::metadata(place.path().join("mine"))?.uid();
    println!("outside: what the guest's root made belongs to user {owner}");
    assert_eq!(owner, user);
    Ok(())
}

fn guest(place: &Path) -> anyhow::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWUTS)
        .map_err(|errno| missing("user_namespaces", errno.to_string()))?;

    // Broken: without a map there is nobody, who can own nothing.
    println!("inside, without a map: user {}", geteuid());
    assert_eq!(
        geteuid().to_string(),
        fs::read_to_string("/proc/sys/kernel/overflowuid")?.trim()
    );

    // Fixed: root inside stands for the user outside. Groups only once they can no longer be left (CVE-2014-8989).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    println!("inside, with `0 {user} 1` in uid_map: user {}", geteuid());
    assert!(geteuid().is_root());

    // Privileged over what belongs to this namespace ...
    sethostname("mine")?;
    println!(
        "inside: it renames its own UTS namespace to {:?}",
        gethostname()?
    );
    fs::write(place.join("mine"), "")?;
    assert_eq!(fs::metadata(place.join("mine"))?.uid(), 0);

    // ... and over nothing else.
    let disk = mknod(
        &place.join("disk"),
        SFlag::S_IFBLK,
        Mode::S_IRWXU,
        makedev(8, 0),
    );
    println!("inside: a device node for the first disk? {disk:?}");
    assert_eq!(disk, Err(Errno::EPERM));
    let other = nix::unistd::chown(&place.join("mine"), Some(Uid::from_raw(1)), None);
    println!("inside: a file for user 1, who is not in the map? {other:?}");
    assert_eq!(other, Err(Errno::EINVAL));
    Ok(())
}

fn be_anybody() -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(ANYBODY), Gid::from_raw(ANYBODY));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // A process that changed its user would not own its files in /proc, the maps among them; an exec would do as well.
    set_dumpable(true)
}

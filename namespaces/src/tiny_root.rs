//! A mount namespace with next to nothing in it.

use crate::child::arch::syscall;
use linux_raw_sys::general as raw;
use rustix::fs::{CWD, Mode, mkdirat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::process::{fchdir, pivot_root};
use std::io;
use std::os::fd::AsFd;

/// Where a container's root tree is attached before it becomes `/`. It exists in the tiny root.
pub(crate) const PLACE: &str = "root";

/// Moves this thread into a mount namespace of its own whose only mount is an empty read-only tmpfs.
///
/// Without the privilege the thread stays where it is: then children copy the host's mounts, in a user namespace of
/// their own.
pub(crate) fn enter() -> io::Result<()> {
    // SAFETY: the file system state that is unshared is this thread's; std keeps none of its own.
    match unsafe {
        syscall(
            raw::__NR_unshare,
            [raw::CLONE_NEWNS as usize, 0, 0, 0, 0, 0],
        )
    } {
        0 => {}
        error if -error == Errno::PERM.raw_os_error() as isize => return Ok(()),
        error => return Err(io::Error::from_raw_os_error(-error as i32)),
    }
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tiny = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    mkdirat(&tiny, PLACE, Mode::from_raw_mode(0o755))?;
    move_mount(
        tiny.as_fd(),
        "",
        CWD,
        "/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    fchdir(&tiny)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::mount::mount_remount("/", attributes_of_an_empty_root(), "")?;
    Ok(())
}

fn attributes_of_an_empty_root() -> rustix::mount::MountFlags {
    use rustix::mount::MountFlags;
    MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV
}

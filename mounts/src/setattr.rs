//! mount_setattr(2), which no crate wraps safely yet. The only unsafe code here.
#![allow(unsafe_code)]

use crate::{MountAttributes, Propagation};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A change of what a mount allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change<'fd> {
    pub set: MountAttributes,
    pub clear: MountAttributes,
    pub propagation: Option<Propagation>,
    /// A user namespace by whose map the mount shows the owners of files.
    pub idmap: Option<BorrowedFd<'fd>>,
}

/// Changes the mount that `mount` stands for, and with `recursive` all that is mounted below it: kernel 5.12.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    change: Change<'_>,
) -> io::Result<()> {
    let idmap = change.idmap.map_or(0, |_| libc::MOUNT_ATTR_IDMAP);
    let attr = libc::mount_attr {
        attr_set: change.set.bits() | idmap,
        attr_clr: change.clear.bits(),
        propagation: change.propagation.map_or(0, |how| how.flag().1),
        userns_fd: change.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads an empty C string and `size_of::<mount_attr>()` bytes of `attr`, both of which outlive the call,
    // and writes to no memory of ours; the descriptors are borrowed, so they are open.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attr,
            size_of::<libc::mount_attr>(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

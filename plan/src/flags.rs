//! Flags of system calls under the kernel's own names, so that a printed plan can be searched for in the man pages.

use linux_raw_sys::general as raw;

bitflags::bitflags! {
    /// Kinds of namespaces, as `clone3`, `unshare` and `setns` take them: namespaces(7).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Namespaces: u64 {
        /// Mount points.
        #[doc(alias = "mount")]
        const CLONE_NEWNS = raw::CLONE_NEWNS as u64;
        /// Control group root directory.
        const CLONE_NEWCGROUP = raw::CLONE_NEWCGROUP as u64;
        /// Host name and NIS domain name.
        const CLONE_NEWUTS = raw::CLONE_NEWUTS as u64;
        /// System V IPC, POSIX message queues.
        const CLONE_NEWIPC = raw::CLONE_NEWIPC as u64;
        /// User and group ids, capabilities.
        const CLONE_NEWUSER = raw::CLONE_NEWUSER as u64;
        /// Process ids.
        const CLONE_NEWPID = raw::CLONE_NEWPID as u64;
        /// Network devices, stacks, ports.
        const CLONE_NEWNET = raw::CLONE_NEWNET as u64;
        /// Boot and monotonic clocks (kernel 5.6).
        const CLONE_NEWTIME = raw::CLONE_NEWTIME as u64;
    }

    /// How a file is opened: open(2). `O_CLOEXEC` is not listed: the child adds it to every open.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const O_WRONLY = raw::O_WRONLY;
        /// Read and write.
        const O_RDWR = raw::O_RDWR;
        /// Make it if it is missing.
        const O_CREAT = raw::O_CREAT;
        /// It must be missing.
        const O_EXCL = raw::O_EXCL;
        /// Empty it.
        const O_TRUNC = raw::O_TRUNC;
        /// Only a place in the tree, no access to content.
        const O_PATH = raw::O_PATH;
        /// It must be a directory.
        const O_DIRECTORY = raw::O_DIRECTORY;
        /// A symbolic link at the end is not followed.
        const O_NOFOLLOW = raw::O_NOFOLLOW;
        /// A terminal does not become the controlling one.
        const O_NOCTTY = raw::O_NOCTTY;
        /// Do not wait.
        const O_NONBLOCK = raw::O_NONBLOCK;
    }

    /// How a path is resolved: openat2(2), kernel 5.6.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Resolve: u64 {
        /// Mount points are not crossed.
        const RESOLVE_NO_XDEV = raw::RESOLVE_NO_XDEV as u64;
        /// `/proc/PID/fd/N` and its like are not followed.
        const RESOLVE_NO_MAGICLINKS = raw::RESOLVE_NO_MAGICLINKS as u64;
        /// No symbolic link is followed.
        const RESOLVE_NO_SYMLINKS = raw::RESOLVE_NO_SYMLINKS as u64;
        /// A way out of the directory is refused.
        const RESOLVE_BENEATH = raw::RESOLVE_BENEATH as u64;
        /// The directory is taken for `/`.
        const RESOLVE_IN_ROOT = raw::RESOLVE_IN_ROOT as u64;
    }

    /// How a mount is taken: open_tree(2), kernel 5.2.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct OpenTreeFlags: u32 {
        /// A detached copy of the mount, not the mount itself.
        const OPEN_TREE_CLONE = raw::OPEN_TREE_CLONE;
        /// With everything mounted below it.
        const AT_RECURSIVE = raw::AT_RECURSIVE;
        /// The file descriptor itself is meant.
        const AT_EMPTY_PATH = raw::AT_EMPTY_PATH;
        /// A symbolic link at the end is not followed.
        const AT_SYMLINK_NOFOLLOW = raw::AT_SYMLINK_NOFOLLOW;
    }

    /// What a mount allows: mount_setattr(2), kernel 5.12.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MountAttributes: u64 {
        /// Read only.
        const MOUNT_ATTR_RDONLY = raw::MOUNT_ATTR_RDONLY as u64;
        /// Set-user-ID bits and file capabilities are ignored.
        const MOUNT_ATTR_NOSUID = raw::MOUNT_ATTR_NOSUID as u64;
        /// Device nodes cannot be opened.
        const MOUNT_ATTR_NODEV = raw::MOUNT_ATTR_NODEV as u64;
        /// Programs cannot be executed.
        const MOUNT_ATTR_NOEXEC = raw::MOUNT_ATTR_NOEXEC as u64;
        /// Access times are not kept.
        const MOUNT_ATTR_NOATIME = raw::MOUNT_ATTR_NOATIME as u64;
        /// Access times are kept to the letter.
        const MOUNT_ATTR_STRICTATIME = raw::MOUNT_ATTR_STRICTATIME as u64;
        /// All bits of the access-time setting, to clear it before another is set.
        const MOUNT_ATTR__ATIME = raw::MOUNT_ATTR__ATIME as u64;
        /// Access times of directories are not kept.
        const MOUNT_ATTR_NODIRATIME = raw::MOUNT_ATTR_NODIRATIME as u64;
        /// Symbolic links on it are not followed (kernel 5.14).
        const MOUNT_ATTR_NOSYMFOLLOW = raw::MOUNT_ATTR_NOSYMFOLLOW as u64;
    }

    /// How a filter is loaded: seccomp(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SeccompFlags: u32 {
        /// For all threads of the process.
        const SECCOMP_FILTER_FLAG_TSYNC = 1;
        /// Actions other than `ALLOW` are logged.
        const SECCOMP_FILTER_FLAG_LOG = 2;
        /// Speculative store bypass stays on.
        const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;
        /// The call returns a listener for `SECCOMP_RET_USER_NOTIF`.
        const SECCOMP_FILTER_FLAG_NEW_LISTENER = 8;
        /// A notified thread waits as killable only (kernel 5.19).
        const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32;
    }
}

/// How mount events pass between copies of a mount: mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// From the original into this copy.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be copied either.
    Unbindable,
}

impl Propagation {
    /// The kernel's name and value: `mount_setattr` takes the flags of mount(2) for it.
    pub fn flag(self) -> (&'static str, u64) {
        match self {
            Propagation::Shared => ("MS_SHARED", 1 << 20),
            Propagation::Slave => ("MS_SLAVE", 1 << 19),
            Propagation::Private => ("MS_PRIVATE", 1 << 18),
            Propagation::Unbindable => ("MS_UNBINDABLE", 1 << 17),
        }
    }
}

//! The vocabulary: the system calls that a child makes.

use crate::flags::{
    MountAttributes, Namespaces, OpenFlags, OpenTreeFlags, Propagation, Resolve, SeccompFlags,
};
use crate::syscall::{Fd, Slot};
use std::ffi::CString;
use std::sync::Arc;

/// One system call of the child, with its arguments.
///
/// The enum is closed: a container is made of these and of nothing else, so one person can read what may happen. A new
/// variant is a new line in [`Call::operation`]; printing and execution follow from that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the arguments are those of the man page that each variant names"
)]
pub enum Call {
    // Namespaces and processes.
    /// Joins namespaces: setns(2). With several kinds, `fd` is a pidfd (kernel 5.8).
    Setns { fd: Fd, kinds: Namespaces },
    /// Leaves namespaces for new ones: unshare(2).
    Unshare { kinds: Namespaces },
    /// See [`Micro::Fork`](crate::Micro::Fork).
    Fork,
    /// See [`Micro::Lifeline`](crate::Micro::Lifeline).
    Lifeline,
    /// Names the host: sethostname(2).
    Sethostname { name: CString },
    /// Names the NIS domain: setdomainname(2).
    Setdomainname { name: CString },

    // Files.
    /// Opens a file: openat(2).
    Openat {
        dir: Fd,
        path: CString,
        flags: OpenFlags,
        mode: u32,
        out: Slot,
    },
    /// Opens a file with rules for the resolution of its path: openat2(2), kernel 5.6.
    Openat2 {
        dir: Fd,
        path: CString,
        flags: OpenFlags,
        mode: u32,
        resolve: Resolve,
        out: Slot,
    },
    /// Closes a file descriptor: close(2).
    Close { fd: Fd },
    /// See [`Micro::CloseFrom`](crate::Micro::CloseFrom).
    CloseFrom { first: u32 },
    /// Writes bytes, all at once: write(2).
    Write { fd: Fd, bytes: Vec<u8> },
    /// Gives a file descriptor the number `to`, without close-on-exec: dup3(2).
    Dup3 { from: Fd, to: i32 },
    /// Makes a directory: mkdirat(2).
    Mkdirat { dir: Fd, path: CString, mode: u32 },
    /// Makes a file, fifo or device node: mknodat(2).
    Mknodat {
        dir: Fd,
        path: CString,
        mode: u32,
        device: u64,
    },
    /// Makes a symbolic link: symlinkat(2).
    Symlinkat {
        target: CString,
        dir: Fd,
        path: CString,
    },
    /// Removes a name: unlinkat(2).
    Unlinkat { dir: Fd, path: CString },
    /// Changes an owner, of the file itself if `path` is empty: fchownat(2).
    Fchownat {
        dir: Fd,
        path: CString,
        uid: u32,
        gid: u32,
    },
    /// Changes a mode: fchmodat(2).
    Fchmodat { dir: Fd, path: CString, mode: u32 },
    /// Changes the working directory: chdir(2).
    Chdir { path: CString },
    /// Changes the working directory: fchdir(2).
    Fchdir { fd: Fd },
    /// Changes the root directory: chroot(2).
    Chroot { path: CString },
    /// Masks the modes of new files: umask(2).
    Umask { mask: u32 },
    /// Makes a socket: socket(2).
    Socket {
        domain: u32,
        kind: u32,
        protocol: u32,
        out: Slot,
    },
    /// Asks a device: ioctl(2), with the request's name for the reader.
    Ioctl {
        fd: Fd,
        request: (u64, &'static str),
        argument: Vec<u8>,
        shows: String,
    },

    // Mounts.
    /// Opens a file system to configure it: fsopen(2), kernel 5.2.
    Fsopen { kind: CString, out: Slot },
    /// Configures a file system: fsconfig(2).
    Fsconfig { fs: Fd, config: Config },
    /// Makes a detached mount of a configured file system: fsmount(2).
    Fsmount {
        fs: Fd,
        attributes: MountAttributes,
        out: Slot,
    },
    /// Takes a mount, or a detached copy of it: open_tree(2).
    OpenTree {
        dir: Fd,
        path: CString,
        flags: OpenTreeFlags,
        out: Slot,
    },
    /// Attaches a detached mount; an empty `path` means the file descriptor `dir` itself: move_mount(2).
    MoveMount { from: Fd, dir: Fd, path: CString },
    /// Changes what a mount allows: mount_setattr(2), kernel 5.12.
    MountSetattr {
        dir: Fd,
        path: CString,
        recursive: bool,
        set: MountAttributes,
        clear: MountAttributes,
        propagation: Option<Propagation>,
    },
    /// Detaches a mount, at once and lazily: umount2(2) with `MNT_DETACH`.
    Umount2 { path: CString },
    /// Changes the root mount: pivot_root(2).
    PivotRoot { new: CString, old: CString },

    // Identity.
    /// Sets real, effective and saved user id: setresuid(2).
    Setresuid { uid: u32 },
    /// Sets real, effective and saved group id: setresgid(2).
    Setresgid { gid: u32 },
    /// Sets the supplementary groups: setgroups(2).
    Setgroups { gids: Vec<u32> },

    // Privileges and limits.
    /// Sets a property of the process: prctl(2), with the option's name for the reader.
    Prctl {
        option: (u32, &'static str),
        args: [u64; 4],
    },
    /// Sets the capability sets, as bit masks: capset(2).
    Capset {
        effective: u64,
        permitted: u64,
        inheritable: u64,
    },
    /// Limits a resource: prlimit(2), with the resource's name for the reader.
    Setrlimit {
        resource: (u32, &'static str),
        soft: u64,
        hard: u64,
    },
    /// Sets the scheduling policy from a `struct sched_attr`: sched_setattr(2).
    SchedSetattr { attr: Vec<u8>, shows: String },
    /// Sets the processors, as a bit mask: sched_setaffinity(2).
    SchedSetaffinity { mask: Vec<u8>, shows: String },
    /// Sets the priority of I/O: ioprio_set(2).
    IoprioSet { value: u32 },
    /// Sets the nice value: setpriority(2).
    Setpriority { nice: i32 },
    /// Sets the execution domain: personality(2).
    Personality { persona: u32 },
    /// Joins a session keyring of this name, or a new one without a name, which nobody else can join: keyctl(2).
    JoinSessionKeyring { name: Option<CString> },
    /// Restricts itself by a Landlock rule set: landlock_restrict_self(2), kernel 5.13.
    LandlockRestrictSelf { ruleset: Fd },
    /// Loads a filter of system calls, each instruction a `struct sock_filter`: seccomp(2).
    Seccomp {
        filter: Arc<[u64]>,
        flags: SeccompFlags,
        out: Option<Slot>,
    },

    // Session and program.
    /// Starts a session: setsid(2).
    Setsid,
    /// Blocks just these signals, as a bit mask: rt_sigprocmask(2).
    Sigprocmask { mask: u64 },
    /// Gives a signal its default action: rt_sigaction(2), with the signal's name for the reader.
    DefaultSignal { signal: (i32, String) },
    /// Starts the program: execve(2).
    Execve {
        path: CString,
        argv: Vec<CString>,
        envp: Vec<CString>,
    },
    /// Starts the program that a file descriptor stands for: execveat(2).
    Execveat {
        fd: Fd,
        argv: Vec<CString>,
        envp: Vec<CString>,
    },
}

/// One instruction to a file system that is being configured: fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// An option without a value.
    Flag(CString),
    /// An option with a value.
    String(CString, CString),
    /// An option whose value is a file descriptor.
    Fd(CString, Fd),
    /// The file system is made.
    Create,
}

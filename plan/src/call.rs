//! The vocabulary: the system calls that a child makes, and the one place that says what each comes down to.

use crate::flags::{
    MountAttributes, Namespaces, OpenFlags, OpenTreeFlags, Propagation, Resolve, SeccompFlags,
};
use crate::syscall::{Arg, Fd, Micro, Operation, Slot, Syscall};
use linux_raw_sys::general as raw;
use std::borrow::Cow;
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
    /// See [`Micro::Fork`].
    Fork,
    /// See [`Micro::Lifeline`].
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
    /// See [`Micro::CloseFrom`].
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

impl Call {
    /// What it comes down to. Printing, error texts and execution all follow from this one definition.
    pub fn operation(&self) -> Operation<'_> {
        use Call::*;
        match self {
            Fork => Operation::Micro(Micro::Fork),
            Lifeline => Operation::Micro(Micro::Lifeline),
            CloseFrom { first } => Operation::Micro(Micro::CloseFrom(*first)),

            Setns { fd, kinds } => call(
                "setns",
                raw::__NR_setns,
                [Arg::Fd(*fd), flags(kinds, kinds.bits())],
            ),
            Unshare { kinds } => call("unshare", raw::__NR_unshare, [flags(kinds, kinds.bits())]),
            Sethostname { name } => call(
                "sethostname",
                raw::__NR_sethostname,
                [Arg::Text(name), length(name)],
            ),
            Setdomainname { name } => call(
                "setdomainname",
                raw::__NR_setdomainname,
                [Arg::Text(name), length(name)],
            ),

            Openat {
                dir,
                path,
                flags: how,
                mode,
                out,
            } => call(
                "openat",
                raw::__NR_openat,
                [
                    Arg::Fd(*dir),
                    Arg::Text(path),
                    open_flags(*how),
                    Arg::Octal(*mode),
                ],
            )
            .into(*out),
            Openat2 {
                dir,
                path,
                flags: how,
                mode,
                resolve,
                out,
            } => call(
                "openat2",
                raw::__NR_openat2,
                [
                    Arg::Fd(*dir),
                    Arg::Text(path),
                    open_how(*how, *mode, *resolve),
                    Arg::Int(24),
                ],
            )
            .into(*out),
            Close { fd } => call("close", raw::__NR_close, [Arg::Fd(*fd)]),
            Write { fd, bytes } => call(
                "write",
                raw::__NR_write,
                [
                    Arg::Fd(*fd),
                    text_bytes(bytes),
                    Arg::Int(bytes.len() as i64),
                ],
            ),
            Dup3 { from, to } => call(
                "dup3",
                raw::__NR_dup3,
                [Arg::Fd(*from), Arg::Int((*to).into()), Arg::Int(0)],
            ),
            Mkdirat { dir, path, mode } => call(
                "mkdirat",
                raw::__NR_mkdirat,
                [Arg::Fd(*dir), Arg::Text(path), Arg::Octal(*mode)],
            ),
            Mknodat {
                dir,
                path,
                mode,
                device,
            } => call(
                "mknodat",
                raw::__NR_mknodat,
                [
                    Arg::Fd(*dir),
                    Arg::Text(path),
                    Arg::Octal(*mode),
                    Arg::Int(*device as i64),
                ],
            ),
            Symlinkat { target, dir, path } => call(
                "symlinkat",
                raw::__NR_symlinkat,
                [Arg::Text(target), Arg::Fd(*dir), Arg::Text(path)],
            ),
            Unlinkat { dir, path } => call(
                "unlinkat",
                raw::__NR_unlinkat,
                [Arg::Fd(*dir), Arg::Text(path), Arg::Int(0)],
            ),
            Fchownat {
                dir,
                path,
                uid,
                gid,
            } => call(
                "fchownat",
                raw::__NR_fchownat,
                [
                    Arg::Fd(*dir),
                    Arg::Text(path),
                    Arg::Int((*uid).into()),
                    Arg::Int((*gid).into()),
                    named("AT_EMPTY_PATH", raw::AT_EMPTY_PATH.into()),
                ],
            ),
            Fchmodat { dir, path, mode } => call(
                "fchmodat",
                raw::__NR_fchmodat,
                [Arg::Fd(*dir), Arg::Text(path), Arg::Octal(*mode)],
            ),
            Chdir { path } => call("chdir", raw::__NR_chdir, [Arg::Text(path)]),
            Fchdir { fd } => call("fchdir", raw::__NR_fchdir, [Arg::Fd(*fd)]),
            Chroot { path } => call("chroot", raw::__NR_chroot, [Arg::Text(path)]),
            Umask { mask } => call("umask", raw::__NR_umask, [Arg::Octal(*mask)]),
            Socket {
                domain,
                kind,
                protocol,
                out,
            } => call(
                "socket",
                raw::__NR_socket,
                [
                    Arg::Int((*domain).into()),
                    Arg::Int((*kind | raw::O_CLOEXEC).into()),
                    Arg::Int((*protocol).into()),
                ],
            )
            .into(*out),
            Ioctl {
                fd,
                request: (request, name),
                argument,
                shows,
            } => {
                let argument = match argument.is_empty() {
                    true => Arg::Null,
                    false => Arg::Bytes(argument.into(), shows.into()),
                };
                call(
                    "ioctl",
                    raw::__NR_ioctl,
                    [Arg::Fd(*fd), named(name, *request), argument],
                )
            }

            Fsopen { kind, out } => call(
                "fsopen",
                raw::__NR_fsopen,
                [Arg::Text(kind), named("FSOPEN_CLOEXEC", 1)],
            )
            .into(*out),
            Fsconfig { fs, config } => call("fsconfig", raw::__NR_fsconfig, config.arguments(*fs)),
            Fsmount {
                fs,
                attributes,
                out,
            } => call(
                "fsmount",
                raw::__NR_fsmount,
                [
                    Arg::Fd(*fs),
                    named("FSMOUNT_CLOEXEC", 1),
                    flags(attributes, attributes.bits()),
                ],
            )
            .into(*out),
            OpenTree {
                dir,
                path,
                flags: how,
                out,
            } => call(
                "open_tree",
                raw::__NR_open_tree,
                [
                    Arg::Fd(*dir),
                    Arg::Text(path),
                    also(
                        "OPEN_TREE_CLOEXEC",
                        raw::OPEN_TREE_CLOEXEC.into(),
                        how,
                        how.bits().into(),
                    ),
                ],
            )
            .into(*out),
            MoveMount { from, dir, path } => {
                let how = match path.is_empty() {
                    true => named("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH", 0x44),
                    false => named("MOVE_MOUNT_F_EMPTY_PATH", 0x4),
                };
                call(
                    "move_mount",
                    raw::__NR_move_mount,
                    [
                        Arg::Fd(*from),
                        Arg::Text(c""),
                        Arg::Fd(*dir),
                        Arg::Text(path),
                        how,
                    ],
                )
            }
            MountSetattr {
                dir,
                path,
                recursive,
                set,
                clear,
                propagation,
            } => {
                let how = match (recursive, path.is_empty()) {
                    (false, false) => Arg::Int(0),
                    (false, true) => named("AT_EMPTY_PATH", 0x1000),
                    (true, false) => named("AT_RECURSIVE", 0x8000),
                    (true, true) => named("AT_RECURSIVE|AT_EMPTY_PATH", 0x9000),
                };
                let attributes = mount_attr(*set, *clear, *propagation);
                call(
                    "mount_setattr",
                    raw::__NR_mount_setattr,
                    [
                        Arg::Fd(*dir),
                        Arg::Text(path),
                        how,
                        attributes,
                        Arg::Int(32),
                    ],
                )
            }
            Umount2 { path } => call(
                "umount2",
                raw::__NR_umount2,
                [Arg::Text(path), named("MNT_DETACH", 2)],
            ),
            PivotRoot { new, old } => call(
                "pivot_root",
                raw::__NR_pivot_root,
                [Arg::Text(new), Arg::Text(old)],
            ),

            Setresuid { uid } => call("setresuid", raw::__NR_setresuid, three(*uid)),
            Setresgid { gid } => call("setresgid", raw::__NR_setresgid, three(*gid)),
            Setgroups { gids } => {
                let bytes: Vec<u8> = gids.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
                let list = Arg::Bytes(bytes.into(), format!("{gids:?}").into());
                call(
                    "setgroups",
                    raw::__NR_setgroups,
                    [Arg::Int(gids.len() as i64), list],
                )
            }

            Prctl {
                option: (option, name),
                args: [a, b, c, d],
            } => {
                let words = [*a, *b, *c, *d].map(|word| Arg::Int(word as i64));
                let [a, b, c, d] = words;
                call(
                    "prctl",
                    raw::__NR_prctl,
                    [named(name, (*option).into()), a, b, c, d],
                )
            }
            Capset {
                effective,
                permitted,
                inheritable,
            } => {
                let (header, sets) = capability_data(*effective, *permitted, *inheritable);
                call("capset", raw::__NR_capset, [header, sets])
            }
            Setrlimit {
                resource: (resource, name),
                soft,
                hard,
            } => {
                let bytes = [soft.to_ne_bytes(), hard.to_ne_bytes()].concat();
                let limits = Arg::Bytes(
                    bytes.into(),
                    format!("{{{}, {}}}", limit(*soft), limit(*hard)).into(),
                );
                call(
                    "prlimit64",
                    raw::__NR_prlimit64,
                    [
                        Arg::Int(0),
                        named(name, (*resource).into()),
                        limits,
                        Arg::Null,
                    ],
                )
            }
            SchedSetattr { attr, shows } => {
                let attr = Arg::Bytes(attr.into(), shows.into());
                call(
                    "sched_setattr",
                    raw::__NR_sched_setattr,
                    [Arg::Int(0), attr, Arg::Int(0)],
                )
            }
            SchedSetaffinity { mask, shows } => call(
                "sched_setaffinity",
                raw::__NR_sched_setaffinity,
                [
                    Arg::Int(0),
                    Arg::Int(mask.len() as i64),
                    Arg::Bytes(mask.into(), shows.into()),
                ],
            ),
            IoprioSet { value } => call(
                "ioprio_set",
                raw::__NR_ioprio_set,
                [
                    named("IOPRIO_WHO_PROCESS", 1),
                    Arg::Int(0),
                    Arg::Int((*value).into()),
                ],
            ),
            Setpriority { nice } => call(
                "setpriority",
                raw::__NR_setpriority,
                [
                    named("PRIO_PROCESS", 0),
                    Arg::Int(0),
                    Arg::Int((*nice).into()),
                ],
            ),
            Personality { persona } => call(
                "personality",
                raw::__NR_personality,
                [Arg::Int((*persona).into())],
            ),
            JoinSessionKeyring { name } => call(
                "keyctl",
                raw::__NR_keyctl,
                [
                    named("KEYCTL_JOIN_SESSION_KEYRING", 1),
                    name.as_ref().map_or(Arg::Null, |name| Arg::Text(name)),
                ],
            ),
            LandlockRestrictSelf { ruleset } => call(
                "landlock_restrict_self",
                raw::__NR_landlock_restrict_self,
                [Arg::Fd(*ruleset), Arg::Int(0)],
            ),
            Seccomp {
                filter,
                flags: how,
                out,
            } => {
                let mut operation = call(
                    "seccomp",
                    raw::__NR_seccomp,
                    [
                        named("SECCOMP_SET_MODE_FILTER", 1),
                        flags(how, how.bits().into()),
                        Arg::Filter(filter),
                    ],
                );
                if let Some(out) = out {
                    operation = operation.into(*out);
                }
                operation
            }

            Setsid => call("setsid", raw::__NR_setsid, []),
            Sigprocmask { mask } => {
                let shows = if *mask == 0 {
                    "[]".to_string()
                } else {
                    format!("{mask:#x}")
                };
                let set = Arg::Bytes(mask.to_ne_bytes().to_vec().into(), shows.into());
                call(
                    "rt_sigprocmask",
                    raw::__NR_rt_sigprocmask,
                    [named("SIG_SETMASK", 2), set, Arg::Null, Arg::Int(8)],
                )
            }
            DefaultSignal {
                signal: (number, name),
            } => call(
                "rt_sigaction",
                raw::__NR_rt_sigaction,
                [
                    Arg::Named(*number as u64, name.clone().into()),
                    Arg::Bytes(vec![0; 32].into(), "{SIG_DFL}".into()),
                    Arg::Null,
                    Arg::Int(8),
                ],
            ),
            Execve { path, argv, envp } => call(
                "execve",
                raw::__NR_execve,
                [Arg::Text(path), Arg::List(argv), Arg::Hidden(envp)],
            ),
            Execveat { fd, argv, envp } => call(
                "execveat",
                raw::__NR_execveat,
                [
                    Arg::Fd(*fd),
                    Arg::Text(c""),
                    Arg::List(argv),
                    Arg::Hidden(envp),
                    named("AT_EMPTY_PATH", raw::AT_EMPTY_PATH.into()),
                ],
            ),
        }
    }
}

impl Config {
    fn arguments(&self, fs: Fd) -> Vec<Arg<'_>> {
        let (command, key, value, aux) = match self {
            Config::Flag(key) => (
                named("FSCONFIG_SET_FLAG", 0),
                Arg::Text(key),
                Arg::Null,
                Arg::Int(0),
            ),
            Config::String(key, value) => (
                named("FSCONFIG_SET_STRING", 1),
                Arg::Text(key),
                Arg::Text(value),
                Arg::Int(0),
            ),
            Config::Fd(key, fd) => (
                named("FSCONFIG_SET_FD", 5),
                Arg::Text(key),
                Arg::Null,
                Arg::Fd(*fd),
            ),
            Config::Create => (
                named("FSCONFIG_CMD_CREATE", 6),
                Arg::Null,
                Arg::Null,
                Arg::Int(0),
            ),
        };
        vec![Arg::Fd(fs), command, key, value, aux]
    }
}

fn call<'a>(name: &'static str, number: u32, args: impl Into<Vec<Arg<'a>>>) -> Operation<'a> {
    Operation::Syscall(Syscall {
        name,
        number,
        args: args.into(),
        out: None,
    })
}

impl Operation<'_> {
    /// Keeps the file descriptor that the call returns.
    fn into(mut self, slot: Slot) -> Self {
        if let Operation::Syscall(syscall) = &mut self {
            syscall.out = Some(slot);
        }
        self
    }
}

fn named(name: &'static str, bits: u64) -> Arg<'static> {
    Arg::Named(bits, Cow::Borrowed(name))
}

fn length(text: &CString) -> Arg<'static> {
    Arg::Int(text.as_bytes().len() as i64)
}

/// Real, effective and saved id.
fn three(id: u32) -> [Arg<'static>; 3] {
    [id, id, id].map(|id| Arg::Int(id.into()))
}

fn text_bytes(bytes: &[u8]) -> Arg<'_> {
    Arg::Bytes(
        bytes.into(),
        format!("{:?}", String::from_utf8_lossy(bytes)).into(),
    )
}

/// Flags by their names, `A|B` as strace writes them.
fn flag_names<F: bitflags::Flags>(flags: &F) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() {
        "0".to_string()
    } else {
        names.join("|")
    }
}

fn flags<F: bitflags::Flags>(flags: &F, bits: u64) -> Arg<'static> {
    Arg::Named(bits, flag_names(flags).into())
}

/// Flags, and one more that is always set.
fn also<F: bitflags::Flags>(name: &str, bit: u64, flags: &F, bits: u64) -> Arg<'static> {
    match bits {
        0 => Arg::Named(bit, name.to_string().into()),
        _ => Arg::Named(bit | bits, format!("{}|{name}", flag_names(flags)).into()),
    }
}

fn open_flags(how: OpenFlags) -> Arg<'static> {
    also("O_CLOEXEC", raw::O_CLOEXEC.into(), &how, how.bits().into())
}

/// `struct open_how`: flags, mode, resolve.
fn open_how(how: OpenFlags, mode: u32, resolve: Resolve) -> Arg<'static> {
    let flags = u64::from(how.bits() | raw::O_CLOEXEC);
    let bytes = [
        flags.to_ne_bytes(),
        u64::from(mode).to_ne_bytes(),
        resolve.bits().to_ne_bytes(),
    ]
    .concat();
    let mode = if mode == 0 {
        String::new()
    } else {
        format!("0{mode:o}, ")
    };
    Arg::Bytes(
        bytes.into(),
        format!("{{{}, {mode}{}}}", flag_names(&how), flag_names(&resolve)).into(),
    )
}

/// `struct mount_attr`: set, clear, propagation, and a user namespace that is not used here.
fn mount_attr(
    set: MountAttributes,
    clear: MountAttributes,
    propagation: Option<Propagation>,
) -> Arg<'static> {
    let (name, flag) = propagation.map_or(("", 0), Propagation::flag);
    let bytes = [set.bits(), clear.bits(), flag, 0]
        .map(u64::to_ne_bytes)
        .concat();
    let mut shows = Vec::new();
    if !set.is_empty() {
        shows.push(format!("set {}", flag_names(&set)));
    }
    if !clear.is_empty() {
        shows.push(format!("clear {}", flag_names(&clear)));
    }
    if !name.is_empty() {
        shows.push(name.to_string());
    }
    Arg::Bytes(bytes.into(), format!("{{{}}}", shows.join(", ")).into())
}

/// `struct __user_cap_header_struct` and two `struct __user_cap_data_struct`: capset(2).
fn capability_data(
    effective: u64,
    permitted: u64,
    inheritable: u64,
) -> (Arg<'static>, Arg<'static>) {
    const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let header = [LINUX_CAPABILITY_VERSION_3, 0]
        .map(u32::to_ne_bytes)
        .concat();
    let low = [effective, permitted, inheritable].map(|set| set as u32);
    let high = [effective, permitted, inheritable].map(|set| (set >> 32) as u32);
    let data = [low, high]
        .concat()
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect::<Vec<u8>>();
    let shows = format!(
        "{{effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x}}}"
    );
    (
        Arg::Bytes(header.into(), "_LINUX_CAPABILITY_VERSION_3".into()),
        Arg::Bytes(data.into(), shows.into()),
    )
}

fn limit(value: u64) -> String {
    if value == u64::MAX {
        "RLIM_INFINITY".to_string()
    } else {
        value.to_string()
    }
}

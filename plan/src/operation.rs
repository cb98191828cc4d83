//! The one place that says what each call comes down to.

use crate::arguments::{
    also, capability_data, flags, length, limit, mount_attr, named, open_flags, open_how,
    text_bytes, three,
};
use crate::call::{Call, Config};
use crate::syscall::{Arg, Fd, Micro, Operation, Slot, Syscall};
use linux_raw_sys::general as raw;

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

//! What can go wrong when a process is started, and what a person can do about it.

use ampoule_plan::{Errno, Phase};
use std::io;

/// A process that could not be started, waited for, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan itself could not be made.
    #[error(transparent)]
    Plan(#[from] ampoule_plan::Error),
    /// The kernel refused to make the process or one of its namespaces.
    #[error("step 1: clone3: {errno:?}{}", hinted(*.hint))]
    Birth {
        /// Why.
        #[source]
        errno: Errno,
        /// The usual cause and its remedy.
        hint: Option<&'static str>,
    },
    /// A call of the child failed.
    #[error("step {number} ({phase}): {call}: {errno:?}{}", hinted(*.hint))]
    Step {
        /// The step, as the printed plan numbers it.
        number: u32,
        /// Its phase.
        phase: Phase,
        /// The call, as the printed plan shows it.
        call: String,
        /// Why.
        #[source]
        errno: Errno,
        /// The usual cause and its remedy.
        hint: Option<&'static str>,
    },
    /// The host's own work at a gate failed.
    #[error("step {number} ({phase}): {why}: {source}")]
    Host {
        /// The step, as the printed plan numbers it.
        number: u32,
        /// Its phase.
        phase: Phase,
        /// What was to be done.
        why: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The child was killed before it had become the program.
    #[error("killed by {} in step {number} ({phase}): {call}", crate::signal::name(*.signal))]
    Killed {
        /// The step, as the printed plan numbers it.
        number: u32,
        /// Its phase.
        phase: Phase,
        /// The call, as the printed plan shows it.
        call: String,
        /// The signal.
        signal: i32,
    },
    /// Something else that was done to something.
    #[error("{what}: {source}{}", hinted(*.hint))]
    Os {
        /// What was done to what.
        what: String,
        /// What the operating system answered.
        #[source]
        source: io::Error,
        /// The usual cause and its remedy.
        hint: Option<&'static str>,
    },
}

/// The kinds of [`Error`], for a program that decides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// The program does not exist in the container.
    ProgramNotFound,
    /// The program exists, but cannot be executed.
    ProgramNotExecutable,
    /// Something else that the request names does not exist in the container.
    NotFound,
    /// The kernel lacks a feature, or the caller a privilege.
    Refused,
    /// A limit was reached: processes, memory, file descriptors, space.
    Exhausted,
    /// The child was killed while it was being set up.
    Killed,
    /// Something else; see [`Error::raw_os_error`].
    Os,
}

impl Error {
    pub(crate) fn os(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Os {
            what: what.into(),
            source: source.into(),
            hint: None,
        }
    }

    pub(crate) fn birth(errno: Errno) -> Error {
        let hint = match errno {
            Errno::ENOSPC => Some(
                "a limit on namespaces is reached: see sysctl user.max_user_namespaces and its neighbours",
            ),
            Errno::EPERM => Some(
                "user namespaces may be switched off here: sysctl kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns; in another container they need CAP_SYS_ADMIN",
            ),
            Errno::EAGAIN => {
                Some("a limit on processes is reached: ulimit -u, or pids.max of a cgroup above")
            }
            Errno::EBUSY => {
                Some("the cgroup has children with controllers: a process can only live in a leaf")
            }
            Errno::EOPNOTSUPP => Some("the cgroup is of an invalid type: see its cgroup.type"),
            _ => None,
        };
        Error::Birth { errno, hint }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Plan(error) if error.raw_os_error().is_none() => ErrorKind::Invalid,
            Error::Step {
                phase: Phase::Exec,
                errno,
                ..
            } => match errno {
                Errno::ENOENT | Errno::ENOTDIR => ErrorKind::ProgramNotFound,
                Errno::EACCES | Errno::ENOEXEC | Errno::EISDIR | Errno::ELIBBAD | Errno::ELOOP => {
                    ErrorKind::ProgramNotExecutable
                }
                errno => of_errno(*errno as i32),
            },
            // What the request names is a path in all these: a directory, a place of a mount.
            Error::Step {
                errno: Errno::ENOENT,
                ..
            } => ErrorKind::NotFound,
            Error::Step {
                errno: Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG,
                ..
            } => ErrorKind::Invalid,
            Error::Killed { .. } => ErrorKind::Killed,
            error => error.raw_os_error().map_or(ErrorKind::Os, of_errno),
        }
    }

    /// The operating system's error number, where there is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Plan(error) => error.raw_os_error(),
            Error::Birth { errno, .. } | Error::Step { errno, .. } => Some(*errno as i32),
            Error::Host { source, .. } | Error::Os { source, .. } => source.raw_os_error(),
            Error::Killed { .. } => None,
        }
    }
}

fn of_errno(errno: i32) -> ErrorKind {
    match Errno::from_raw(errno) {
        Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENODEV => {
            ErrorKind::Refused
        }
        Errno::EAGAIN
        | Errno::ENOMEM
        | Errno::ENOSPC
        | Errno::EMFILE
        | Errno::ENFILE
        | Errno::EDQUOT => ErrorKind::Exhausted,
        _ => ErrorKind::Os,
    }
}

/// The usual cause of a failed step, where the error number alone misleads.
pub(crate) fn hint(phase: Phase, errno: Errno) -> Option<&'static str> {
    match (phase, errno) {
        (Phase::Exec, Errno::ENOENT) => Some(
            "the program, or the interpreter that it names, is not in the container's root tree",
        ),
        (Phase::Exec, Errno::EACCES) => {
            Some("it is not an executable file for this user, or lies on a mount with noexec")
        }
        (Phase::Exec, Errno::ENOEXEC) => {
            Some("it is neither an ELF program for this machine nor begins with #!")
        }
        (Phase::Mounts, Errno::EPERM) => {
            Some("a mount needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace")
        }
        (Phase::Session, Errno::ENOENT) => {
            Some("the working directory must exist in the container's root tree")
        }
        (Phase::Session, Errno::ENOTDIR) => Some("the working directory must be a directory"),
        (Phase::Session, Errno::ELOOP) => {
            Some("a working directory by way of /proc/PID/fd, cwd or root is refused")
        }
        (Phase::Filter, Errno::EBADF) => {
            Some("the limit on open files, nofile, leaves no room for a start: 4 are needed")
        }
        (_, Errno::ECANCELED) => Some("the host went away"),
        _ => None,
    }
}

fn hinted(hint: Option<&'static str>) -> String {
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}

//! What can go wrong, and what to do about it.

use crate::Controller;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a cgroup that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cgroup's name that cannot be a directory's.
    #[error("cgroup name {name:?}: {reason}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Limits that make no sense; found before the kernel was asked.
    #[error("{}", Problems(.0))]
    InvalidResources(Vec<String>),
    /// No cgroup file system is mounted.
    #[error(
        "no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup (or start the container with one)"
    )]
    NotMounted,
    /// A controller that this machine does not have.
    #[error("the {controller} controller is not available: {reason}")]
    Unavailable {
        /// Which one.
        controller: Controller,
        /// Why, with the remedy.
        reason: String,
    },
    /// A hierarchy, or a controller in it, which was not handed to this user.
    #[error("{what} is not delegated to this process at {path:?}: {DELEGATE}")]
    NotDelegated {
        /// "the memory controller", or "a cgroup subtree".
        what: String,
        /// Where it would have to be.
        path: PathBuf,
    },
    /// v2 forbids limits below a cgroup that has processes itself.
    #[error(
        "enable {controllers} below {path:?}: it has processes itself (v2's \"no internal processes\" rule): move them into \
         a child first, or let this process do so with `Options::step_aside`"
    )]
    InternalProcesses {
        /// What was to be enabled, as in `cgroup.subtree_control`.
        controllers: String,
        /// The cgroup with the processes.
        path: PathBuf,
    },
    /// The cgroup lives without this controller, so its limits cannot be set.
    #[error(
        "cgroup {name:?} was created without the {controller} controller: ask for it at creation with `Resources::account`"
    )]
    NotJoined {
        /// The cgroup.
        name: String,
        /// The controller.
        controller: Controller,
    },
    /// This kernel, or this version of cgroups, cannot do what was asked.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// Why not, with the remedy where there is one.
        reason: String,
    },
    /// There is a cgroup of this name, and somebody owns it (or is just sweeping it).
    #[error(
        "cgroup {name:?} exists already, and nobody gave it up: choose another name, or remove it by `Parent::find`"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no cgroup of this name.
    #[error("there is no cgroup {name:?} below {parent:?}")]
    NotFound {
        /// The name.
        name: String,
        /// The parent's name.
        parent: String,
    },
    /// The deadline passed before the kernel had done it.
    #[error("{what} took longer than {waited:?}{}", Hint(.hint))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// What usually causes it.
        hint: Option<&'static str>,
    },
    /// A system call failed.
    #[error("{action} {path:?}: {source}{}", Hint(.hint))]
    Kernel {
        /// What was done: "mkdir", or "write \"100\" to".
        action: String,
        /// To what.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
        /// The usual cause and its remedy.
        hint: Option<&'static str>,
    },
}

const DELEGATE: &str = "with systemd, start the program by `systemd-run --user --scope -p Delegate=yes`; without, root \
                        makes a subtree, moves the program into it and chowns the directory, cgroup.procs, \
                        cgroup.threads and cgroup.subtree_control to the user";

/// The kinds of [`Error`], to decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's values are wrong.
    InvalidInput,
    /// The machine lacks the file system, the controller or the feature.
    Unavailable,
    /// It is there, but this user may not use it.
    NotDelegated,
    /// The kernel refused for want of a privilege.
    PermissionDenied,
    /// The cgroup has processes or children.
    Busy,
    /// The name is taken.
    AlreadyExists,
    /// There is no such cgroup.
    NotFound,
    /// A deadline passed.
    TimedOut,
    /// Any other error of a system call.
    Os,
}

impl Error {
    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::InvalidName { .. } | Error::InvalidResources(_) | Error::NotJoined { .. } => {
                ErrorKind::InvalidInput
            }
            Error::NotMounted | Error::Unavailable { .. } | Error::Unsupported { .. } => {
                ErrorKind::Unavailable
            }
            Error::NotDelegated { .. } => ErrorKind::NotDelegated,
            Error::InternalProcesses { .. } => ErrorKind::Busy,
            Error::Exists { .. } => ErrorKind::AlreadyExists,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Timeout { .. } => ErrorKind::TimedOut,
            Error::Kernel { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::PERM | Errno::ACCESS | Errno::ROFS) => ErrorKind::PermissionDenied,
                Some(Errno::BUSY) => ErrorKind::Busy,
                Some(Errno::NOENT | Errno::NODEV) => ErrorKind::NotFound,
                Some(Errno::EXIST) => ErrorKind::AlreadyExists,
                _ => ErrorKind::Os,
            },
        }
    }

    /// The operating system's error number, where a system call failed.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// A failed system call, with the hint that its errno suggests.
    pub(crate) fn kernel(
        action: impl Into<String>,
        path: &Path,
        source: impl Into<io::Error>,
    ) -> Error {
        let (action, source) = (action.into(), source.into());
        let hint = Errno::from_io_error(&source).and_then(|errno| hint(&action, errno));
        Error::Kernel {
            action,
            path: path.to_owned(),
            source,
            hint,
        }
    }
}

/// The usual cause of an errno, and its remedy.
fn hint(action: &str, errno: Errno) -> Option<&'static str> {
    let writes = action.starts_with("write");
    Some(match errno {
        Errno::PERM if writes => {
            "the kernel asks for a privilege here (CAP_SYS_RESOURCE in the initial user namespace for some limits): \
             run as root, or leave this limit out"
        }
        Errno::ACCESS => "the cgroup belongs to another user: have it delegated, or run as root",
        Errno::ROFS => {
            "cgroupfs is mounted read-only: remount it read-write, or run outside the container"
        }
        Errno::BUSY if action == "rmdir" => "it still has processes or child cgroups",
        Errno::BUSY => "a process or a child cgroup holds this in use",
        Errno::OPNOTSUPP => {
            "the cgroup is in a threaded domain (cgroup.type), where only cpu, cpuset and pids work: use a domain cgroup"
        }
        Errno::NODEV => {
            "no such device, or the file wants a device number MAJOR:MINOR of a whole disk"
        }
        Errno::NOENT if ["mkdir", "create"].contains(&action) => {
            "the parent was removed meanwhile: open it again"
        }
        Errno::AGAIN if action == "mkdir" => {
            "cgroup.max.descendants or cgroup.max.depth of a parent is reached"
        }
        Errno::NOSPC if writes => {
            "cpuset.cpus and cpuset.mems must be set before processes can enter"
        }
        Errno::MFILE => "too many open files: raise RLIMIT_NOFILE",
        _ => return None,
    })
}

struct Hint<'a>(&'a Option<&'static str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, ": {hint}"))
    }
}

struct Problems<'a>(&'a [String]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid resources: {}", self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_was_done_to_what_and_the_remedy() {
        let error = Error::kernel("write \"5\" to", Path::new("/c/memory.max"), Errno::ACCESS);
        assert_eq!(
            error.to_string(),
            "write \"5\" to \"/c/memory.max\": Permission denied (os error 13): the cgroup belongs to another user: have it \
             delegated, or run as root"
        );
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.errno(), Some(13));
    }
}

//! What can go wrong with a container.

use rustix::io::Errno;
use std::io;

/// A container that could not be started, watched or ended.
///
/// The message says what was done to what; where the usual cause is known, it names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The description itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The container did not start; the step that failed is named.
    #[error(transparent)]
    Start(#[from] ampoule_namespaces::Error),
    /// A cgroup could not be made, read or removed.
    #[error(transparent)]
    Cgroup(#[from] ampoule_cgroups::Error),
    /// The root tree or a volume could not be prepared.
    #[error(transparent)]
    Mount(#[from] ampoule_rootfs::Error),
    /// Privileges that cannot be given or taken.
    #[error(transparent)]
    Privileges(#[from] ampoule_privileges::Error),
    /// A network namespace could not be made or opened.
    #[error(transparent)]
    Network(#[from] ampoule_net::Error),
    /// Something else that was done to something.
    #[error("{what}: {source}")]
    Os {
        /// What was done to what.
        what: String,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
}

/// The kinds of [`Error`], for a program that decides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The description itself is wrong.
    Invalid,
    /// The program does not exist in the container.
    ProgramNotFound,
    /// The program exists, but cannot be executed.
    ProgramNotExecutable,
    /// Something that the description names is not there: a root, a source of a volume.
    NotFound,
    /// The kernel lacks a feature, or the caller a privilege; see [`doctor`](crate::doctor()).
    Refused,
    /// A limit was reached: processes, memory, file descriptors, space.
    Exhausted,
    /// The child was killed while it was being set up.
    Killed,
    /// Something else.
    Other,
}

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn os(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Os {
            what: what.into(),
            source: source.into(),
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            error if error.raw_os_error().is_some_and(is_a_limit) => ErrorKind::Exhausted,
            Error::Invalid(_) => ErrorKind::Invalid,
            Error::Start(error) => of_start(error),
            Error::Cgroup(error) => of_cgroup(error),
            Error::Mount(error) => of_mount(error),
            Error::Privileges(error) => of_privileges(error),
            Error::Network(_) => ErrorKind::Refused,
            Error::Os { .. } => ErrorKind::Other,
        }
    }

    /// The operating system's error number, where that is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Start(error) => error.raw_os_error(),
            Error::Cgroup(error) => error.errno(),
            Error::Mount(error) => error.raw_os_error(),
            Error::Privileges(ampoule_privileges::Error::Read { source, .. })
            | Error::Os { source, .. } => source.raw_os_error(),
            Error::Invalid(_) | Error::Privileges(_) | Error::Network(_) => None,
        }
    }
}

fn is_a_limit(errno: i32) -> bool {
    [
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::NOSPC,
        Errno::MFILE,
        Errno::NFILE,
        Errno::DQUOT,
    ]
    .contains(&Errno::from_raw_os_error(errno))
}

/// A part that cannot contribute to a plan.
impl From<ampoule_plan::Error> for Error {
    fn from(error: ampoule_plan::Error) -> Error {
        Error::Start(error.into())
    }
}

fn of_start(error: &ampoule_namespaces::Error) -> ErrorKind {
    use ampoule_namespaces::ErrorKind as Kind;
    match error.kind() {
        Kind::Invalid => ErrorKind::Invalid,
        Kind::NotFound => ErrorKind::NotFound,
        Kind::ProgramNotFound => ErrorKind::ProgramNotFound,
        Kind::ProgramNotExecutable => ErrorKind::ProgramNotExecutable,
        Kind::Refused => ErrorKind::Refused,
        Kind::Exhausted => ErrorKind::Exhausted,
        Kind::Killed => ErrorKind::Killed,
        _ => ErrorKind::Other,
    }
}

fn of_cgroup(error: &ampoule_cgroups::Error) -> ErrorKind {
    use ampoule_cgroups::Error as Cgroup;
    match error {
        Cgroup::InvalidName { .. } | Cgroup::InvalidResources { .. } => ErrorKind::Invalid,
        Cgroup::NotFound { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Refused,
    }
}

fn of_privileges(error: &ampoule_privileges::Error) -> ErrorKind {
    use ampoule_privileges::ErrorKind as Kind;
    match error.kind() {
        Kind::InvalidInput => ErrorKind::Invalid,
        Kind::Unsupported => ErrorKind::Refused,
        _ => ErrorKind::Other,
    }
}

fn of_mount(error: &ampoule_rootfs::Error) -> ErrorKind {
    use ampoule_rootfs::ErrorKind as Kind;
    match error.kind() {
        Kind::Invalid | Kind::WrongType => ErrorKind::Invalid,
        Kind::Missing => ErrorKind::NotFound,
        Kind::Denied | Kind::Unsupported => ErrorKind::Refused,
        _ => ErrorKind::Other,
    }
}

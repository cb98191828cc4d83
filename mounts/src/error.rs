//! What went wrong, with what, and what can be done about it.

use std::io;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what was done to what, the kernel's answer, and the remedy where the usual cause is known.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}{}", because(.source), remedy(.hint))]
#[non_exhaustive]
pub struct Error {
    kind: ErrorKind,
    what: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

/// The class of an [`Error`], for a program that wants to react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong, whatever the machine.
    Invalid,
    /// A path leads to nothing.
    Missing,
    /// A path leads to a file where a directory is needed, to a symbolic link that is refused, or the other way round.
    WrongType,
    /// The caller lacks a privilege.
    Denied,
    /// The kernel lacks a feature.
    Unsupported,
    /// The kernel or the machine refused for a reason of its own; see the error's source.
    Kernel,
}

impl Error {
    /// A system call that failed while `what` was being done.
    pub fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        let source = source.into();
        Error {
            kind: ErrorKind::of(&source),
            what: what.into(),
            hint: None,
            source: Some(source),
        }
    }

    /// A request that is refused without asking the kernel.
    pub fn refused(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error {
            kind,
            what: what.into(),
            hint: None,
            source: None,
        }
    }

    /// Adds the usual cause and its remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// The class of this failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's error number, where it is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.as_ref()?.raw_os_error()
    }
}

impl ErrorKind {
    fn of(error: &io::Error) -> ErrorKind {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => ErrorKind::Missing,
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP) => ErrorKind::WrongType,
            Some(Errno::PERM | Errno::ACCESS) => ErrorKind::Denied,
            Some(Errno::NOSYS | Errno::NODEV | Errno::OPNOTSUPP) => ErrorKind::Unsupported,
            // std found it before the kernel: a path with a NUL in it.
            None if error.kind() == io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            _ => ErrorKind::Kernel,
        }
    }
}

impl From<Error> for ampoule_plan::Error {
    fn from(error: Error) -> ampoule_plan::Error {
        match error.source {
            None => ampoule_plan::Error::Invalid(format!("{}{}", error.what, remedy(&error.hint))),
            Some(source) => {
                let prepared = ampoule_plan::Error::prepare(error.what, source);
                match error.hint {
                    None => prepared,
                    Some(hint) => prepared.hint(hint),
                }
            }
        }
    }
}

impl From<ampoule_plan::Error> for Error {
    fn from(error: ampoule_plan::Error) -> Error {
        Error::refused(ErrorKind::Invalid, error.to_string())
    }
}

fn because(source: &Option<io::Error>) -> String {
    source
        .as_ref()
        .map_or(String::new(), |source| format!(": {source}"))
}

fn remedy(hint: &Option<String>) -> String {
    hint.as_ref()
        .map_or(String::new(), |hint| format!(" ({hint})"))
}

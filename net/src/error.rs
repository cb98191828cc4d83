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
    /// What was asked for contradicts itself or cannot be.
    Invalid,
    /// It belongs to somebody else: an address, a port, a name, an interface.
    Taken,
    /// There are no more of them: every address of a subnet is taken.
    Exhausted,
    /// Something that must be there is not: an interface, a program.
    Missing,
    /// The kernel has no such driver.
    Unsupported,
    /// A program of others, such as a CNI plugin, failed, hung, or answered nonsense.
    Plugin,
    /// The caller lacks a privilege.
    Denied,
    /// The kernel or the machine refused for a reason of its own; see the error's source.
    Kernel,
}

impl Error {
    #[cfg(feature = "drivers")]
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error {
            kind,
            what: what.into(),
            hint: None,
            source: None,
        }
    }

    /// A system call that failed while `what` was being done.
    pub(crate) fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        let source = source.into();
        let kind = match source.raw_os_error() {
            Some(EPERM | EACCES) => ErrorKind::Denied,
            Some(EOPNOTSUPP) => ErrorKind::Unsupported,
            _ => ErrorKind::Kernel,
        };
        Error {
            kind,
            what: what.into(),
            hint: None,
            source: Some(source),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    #[cfg(feature = "drivers")]
    /// The kernel's error number, if it was the kernel that refused.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// The same failure, with the remedy if it was that the kernel lacks a driver.
    #[cfg(feature = "drivers")]
    pub(crate) fn without_driver(mut self, things: &str, module: &str) -> Error {
        if self.errno() == Some(EOPNOTSUPP) {
            self.kind = ErrorKind::Unsupported;
            self.hint = Some(format!("this kernel has no {things}: modprobe {module}"));
        }
        self
    }

    /// The class of this failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
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

/// From `asm-generic/errno.h`.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EOPNOTSUPP: i32 = 95;

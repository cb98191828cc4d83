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
    /// The caller lacks a privilege.
    Denied,
    /// The kernel or the machine refused for a reason of its own; see the error's source.
    Kernel,
}

impl Error {
    /// A system call that failed while `what` was being done.
    pub(crate) fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        let source = source.into();
        let denied = source.kind() == io::ErrorKind::PermissionDenied;
        Error {
            kind: if denied {
                ErrorKind::Denied
            } else {
                ErrorKind::Kernel
            },
            what: what.into(),
            hint: None,
            source: Some(source),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
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

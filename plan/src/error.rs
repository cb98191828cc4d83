//! What can be wrong with a contribution.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// A contribution to a plan that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path or word with a NUL byte: the kernel would see it cut short.
    #[error("{0:?} has a NUL byte in it")]
    Nul(String),
    /// Two contributions want what only one can have.
    #[error("{what} is set twice")]
    Twice {
        /// What it is.
        what: &'static str,
    },
    /// Something was asked for that cannot be, whatever the machine.
    #[error("{0}")]
    Invalid(String),
    /// The host could not prepare what the step needs.
    #[error("{what}: {source}{}", hint.as_deref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Prepare {
        /// What was done to what.
        what: String,
        /// The usual cause and its remedy, where it is known.
        hint: Option<String>,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
}

/// The kinds of [`Error`], for a program that decides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// The operating system refused; see [`Error::raw_os_error`].
    Os,
}

impl Error {
    /// The host could not prepare what a step needs: says what was done to what.
    pub fn prepare(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Prepare {
            what: what.into(),
            hint: None,
            source: source.into(),
        }
    }

    /// Adds the usual cause and its remedy.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Error {
        if let Error::Prepare { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Whether the request or the operating system is the cause.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Prepare { .. } => ErrorKind::Os,
            _ => ErrorKind::Invalid,
        }
    }

    /// The operating system's error number, where it is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Prepare { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A path, or any other text that the kernel reads up to its NUL.
///
/// # Errors
/// [`Error::Nul`] if the text has a NUL byte in it.
pub fn path(text: impl AsRef<OsStr>) -> Result<CString, Error> {
    let bytes = text.as_ref().as_bytes();
    CString::new(bytes).map_err(|_| Error::Nul(String::from_utf8_lossy(bytes).into_owned()))
}

/// Several texts, such as a program's arguments.
///
/// # Errors
/// [`Error::Nul`] if one of them has a NUL byte in it.
pub fn words<W: AsRef<OsStr>>(texts: impl IntoIterator<Item = W>) -> Result<Vec<CString>, Error> {
    texts.into_iter().map(path).collect()
}

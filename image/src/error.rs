//! What can go wrong, with the words for it.

use crate::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on images failed.
///
/// The message says what was done to what; [`Error::kind`] tells causes apart for programs, and `source()` gives the
/// operating system's error where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not of its grammar.
    #[error("parse {what} {text:?}: {reason}")]
    Parse {
        /// What the text should have been.
        what: &'static str,
        /// The text, shortened.
        text: String,
        /// What was wrong with it.
        reason: String,
    },
    /// A document (manifest, index, configuration) is not what its specification says.
    #[error("read {what}: {reason}")]
    Document {
        /// Which document.
        what: String,
        /// What was wrong with it.
        reason: String,
    },
    /// A Dockerfile cannot be read.
    #[error("{file}:{line}:{column}: {message}")]
    Dockerfile {
        /// The file, as it was named.
        file: String,
        /// From 1 on.
        line: usize,
        /// From 1 on, in characters.
        column: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A step of a build failed.
    #[error("build line {line}: {cause}")]
    Build {
        /// The line in the Dockerfile.
        line: usize,
        /// What went wrong.
        #[source]
        cause: Box<Error>,
    },
    /// A system call failed.
    #[error("{action} {path:?}: {source}{}", hint(source))]
    Io {
        /// What was done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Content is not what its name says.
    #[error("verify {what}: its digest is {found}, not {expected}")]
    DigestMismatch {
        /// Which content.
        what: &'static str,
        /// What it should have been.
        expected: Box<Digest>,
        /// What it is.
        found: Box<Digest>,
    },
    /// Content is not as long as was promised.
    #[error("verify blob {digest}: it has {found} bytes, not {expected}")]
    SizeMismatch {
        /// Which blob.
        digest: Box<Digest>,
        /// What its descriptor says.
        expected: u64,
        /// What arrived.
        found: u64,
    },
    /// A stated limit was exceeded.
    #[error("{what}: more than the limit of {limit}")]
    Limit {
        /// What grew too large.
        what: String,
        /// The limit, in bytes or entries.
        limit: u64,
    },
    /// A layer is broken, or tries what no layer may.
    #[error("unpack entry {entry:?}: {reason}")]
    Layer {
        /// The entry's name as it stands in the archive.
        entry: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing has that name here.
    #[error("find {what}: not present in {place}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where.
        place: String,
    },
    /// A registry could not be reached, or the connection broke.
    #[error("{action}: {source}")]
    Network {
        /// What was done, at which host.
        action: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A registry answered with an error.
    #[error("{action}: {status} {message}")]
    Refused {
        /// What was asked, at which host.
        action: String,
        /// The status of HTTP.
        status: u16,
        /// The registry's own words.
        message: String,
    },
    /// Something else holds it.
    #[error("{what} is in use")]
    Busy {
        /// What is held.
        what: String,
    },
}

/// The causes that a program may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text or document is malformed.
    Invalid,
    /// Content does not match its digest or size.
    Corrupt,
    /// A layer is broken or hostile.
    Layer,
    /// A stated limit was exceeded.
    Limit,
    /// It does not exist.
    NotFound,
    /// It is in use.
    Busy,
    /// The disk or the quota is full.
    NoSpace,
    /// A registry could not be reached, or answered with a failure of its own.
    Network,
    /// A registry wants other credentials, or does not allow it.
    Denied,
    /// The kernel refused for lack of privilege.
    Permission,
    /// Any other failure of the operating system.
    Io,
}

impl Error {
    /// The cause, for programs.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Parse { .. } | Self::Document { .. } | Self::Dockerfile { .. } => {
                ErrorKind::Invalid
            }
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => ErrorKind::Corrupt,
            Self::Layer { .. } => ErrorKind::Layer,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Build { cause, .. } => cause.kind(),
            Self::Network { .. } => ErrorKind::Network,
            Self::Refused { status, .. } => match status {
                401 | 403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                500.. | 429 => ErrorKind::Network,
                _ => ErrorKind::Invalid,
            },
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
                io::ErrorKind::PermissionDenied => ErrorKind::Permission,
                _ => ErrorKind::Io,
            },
        }
    }

    pub(crate) fn parse(what: &'static str, text: &str, reason: impl Into<String>) -> Self {
        // Foreign text: a message does not grow with it.
        let text = text.chars().take(200).collect();
        Self::Parse {
            what,
            text,
            reason: reason.into(),
        }
    }

    pub(crate) fn document(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Document {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    /// For `map_err`: keeps the action and the path with the kernel's answer.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        }
    }

    pub(crate) fn layer(entry: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Layer {
            entry: entry.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            " (free space with `prune`, or put the store on a larger file system)"
        }
        io::ErrorKind::QuotaExceeded => " (the owner's disk quota is used up)",
        _ => "",
    }
}

//! What can go wrong, in the wording that Kubernetes' users know.

use crate::field::Problems;
use crate::object::{Key, Kind};

/// What this crate returns when something fails.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, worded as the Kubernetes API server words it where it has a word for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No object has this key.
    #[error("{} \"{}\" not found", .0.kind.resource(), .0.name)]
    NotFound(Key),
    /// An object with this key is there already.
    #[error("{} \"{}\" already exists", .0.kind.resource(), .0.name)]
    AlreadyExists(Key),
    /// Somebody else changed the object since it was read.
    #[error(
        "Operation cannot be fulfilled on {} \"{}\": {why}",
        key.kind.resource(), key.name
    )]
    Conflict {
        /// The object.
        key: Key,
        /// What differs.
        why: String,
    },
    /// The object's fields do not make sense.
    #[error("{} \"{name}\" is invalid: {problems}", kind.qualified())]
    Invalid {
        /// The object's kind.
        kind: Kind,
        /// The object's name.
        name: String,
        /// Every problem that was found, not only the first.
        problems: Problems,
    },
    /// A watch asked to resume from a revision whose successors are no longer kept: list again, then watch.
    #[error("too old resource version: {asked} ({oldest}): list again, then watch from that list")]
    Expired {
        /// The revision asked for.
        asked: u64,
        /// The oldest revision from which a watch can resume.
        oldest: u64,
    },
    /// Text that cannot be read as an object.
    #[error("{source_name}:{line}:{column}: {message}")]
    Malformed {
        /// The file, or `stdin`.
        source_name: String,
        /// Line, from 1; 0 when it is not known.
        line: u64,
        /// Column, from 1; 0 when it is not known.
        column: u64,
        /// What is wrong, with the path of the field.
        message: String,
    },
    /// The operating system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was done to what.
        action: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// What was asked for is not offered by this store, runtime or network.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// The other side cannot be reached now; the same call may work later.
    #[error("{what} is unavailable: {why}")]
    Unavailable {
        /// Who did not answer.
        what: String,
        /// Why.
        why: String,
    },
    /// Bytes on disk that this store did not write, or that decayed.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// The file and the offset in it.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The sort of an [`Error`], for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// See [`Error::NotFound`].
    NotFound,
    /// See [`Error::AlreadyExists`].
    AlreadyExists,
    /// See [`Error::Conflict`].
    Conflict,
    /// See [`Error::Invalid`].
    Invalid,
    /// See [`Error::Expired`].
    Expired,
    /// See [`Error::Malformed`].
    Malformed,
    /// See [`Error::Io`].
    Io,
    /// See [`Error::Unsupported`].
    Unsupported,
    /// See [`Error::Unavailable`].
    Unavailable,
    /// See [`Error::Corrupt`].
    Corrupt,
}

impl Error {
    /// The sort of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound(_) => ErrorKind::NotFound,
            Error::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Error::Conflict { .. } => ErrorKind::Conflict,
            Error::Invalid { .. } => ErrorKind::Invalid,
            Error::Expired { .. } => ErrorKind::Expired,
            Error::Malformed { .. } => ErrorKind::Malformed,
            Error::Io { .. } => ErrorKind::Io,
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::Unavailable { .. } => ErrorKind::Unavailable,
            Error::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }

    pub(crate) fn stale(key: Key) -> Error {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Error::Conflict {
            key,
            why: why.to_owned(),
        }
    }
    pub(crate) fn io(action: impl std::fmt::Display, source: std::io::Error) -> Error {
        Error::Io {
            action: action.to_string(),
            source,
        }
    }
}

//! The tar format in all dialects that layers come in: v7, ustar, GNU, star and PAX, sparse files included.
//!
//! The reader is our own because a layer is hostile until proven otherwise: a name, a PAX header and a sparse map are bounded
//! before they are kept in memory, PAX sparse files are known, the rules where readers disagree are those of Go's
//! `archive/tar` (with which the digest's meaning was agreed by everyone else), and file data is handed out as slices of the
//! decompressed stream, without a copy.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

pub(crate) use read::Reader;
pub(crate) use sparse::Segment;
pub(crate) use write::Writer;

/// Archives are made of blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;
/// The most that one name, one PAX header or one sparse map may take.
pub(crate) const LARGEST_EXTENSION: u64 = 1 << 20;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// One entry, put together from its header and what extends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it stands in the archive: it may be absolute, hold `..`, anything but NUL.
    pub name: Vec<u8>,
    pub kind: Kind,
    /// Permissions with set-uid, set-gid and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: Time,
    /// How long the file is; of a sparse one, with its holes.
    pub size: u64,
    /// The target of a link.
    pub link: Vec<u8>,
    pub major: u32,
    pub minor: u32,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse file belongs.
    pub sparse: Option<Vec<Segment>>,
}

/// Seconds since 1970 and, forwards from there, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Invalid(String),
}

impl TarError {
    fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

//! Applies layers: an archive becomes a directory that is ready to be a lower directory of an overlay.
//!
//! Two steps. [`unpack`] writes one layer into an empty directory, knowing nothing of those below, so that all layers of an
//! image are written in parallel. [`Unpacked::settle`] then, from the lowest up, completes what depends on those below:
//! directories that the archive only implies take their mode, owner, times and attributes from there, and hard links whose
//! target lies there are made.
//!
//! **Invariant:** every path is resolved by `openat2` with `RESOLVE_IN_ROOT` from the layer's own directory, or is one
//! component below a directory that was. **Invariant:** no name that means something to overlay (a 0:0 device, a
//! `trusted.overlay.` attribute) passes from an archive to the disk; only the `.wh.` names do, and those by rule.

mod apply;
mod compression;
mod metadata;
mod ownership;
mod pipeline;
mod settle;
mod tree;
mod whiteout;

pub use compression::Compression;
pub use ownership::{IdRange, Ownership};
pub use pipeline::unpack;
pub(crate) use settle::xattrs;
pub(crate) use tree::{follow, open_beneath, split};
pub(crate) use whiteout::{is_opaque_directory, is_overlay_xattr, is_whiteout};

use crate::Digest;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How a layer is unpacked.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// Whose the files are.
    pub ownership: Ownership,
    /// Where to stop.
    pub limits: UnpackLimits,
}

/// Where unpacking stops with an error of kind `Limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Length of the decompressed archive, and apart from that of all files with their holes; bytes. 64 GiB.
    pub bytes: u64,
    /// Entries of the archive. 10 million.
    pub entries: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 10_000_000,
        }
    }
}

/// What an archive became.
#[derive(Debug)]
pub struct Unpacked {
    /// The digest of the plain archive.
    pub diff_id: Digest,
    /// How the archive was packed.
    pub compression: Compression,
    /// The length of the plain archive, bytes.
    pub bytes: u64,
    /// The number of its entries.
    pub entries: u64,
    /// Whether opaque directories are marked for an overlay mounted with `userxattr`.
    pub user_xattrs: bool,
    /// What could not be made; always empty unless [`Ownership::Caller`] was asked for.
    pub left_out: Vec<LeftOut>,
    pub(crate) needs: Needs,
}

/// Something that only a privileged user could have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The entry.
    pub path: PathBuf,
    /// What it lacks: `device`, or the name of an extended attribute.
    pub what: String,
}

/// What a layer needs from those below.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Directories without an entry of their own.
    pub implied: BTreeSet<Vec<u8>>,
    /// Hard links: the target below, and the name.
    pub links: Vec<(Vec<u8>, Vec<u8>)>,
}

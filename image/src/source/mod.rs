//! Places that images come from: other layouts, archives, directories, registries.

mod archive;
mod layout;

pub use archive::{DockerArchive, OciArchive};
pub use layout::LayoutSource;

use crate::{Descriptor, Result};
use std::io::Read;

/// A place that has an image, by digests.
///
/// What it gives is not trusted: whoever reads from it compares lengths and digests.
pub trait Source: Sync {
    /// The manifest or index that the source's name stands for, with its bytes.
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)>;

    /// The bytes of a manifest or index.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// A blob from a byte on; the reader ends where the blob does.
    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>>;

    /// What a person would call it, for messages.
    fn name(&self) -> String;
}

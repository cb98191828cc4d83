//! What happens while an image is moved, as events that a program may show or count.

use crate::{Descriptor, Digest};

/// Receives events, from any of the threads that work.
///
/// A closure is one: `|event: Event| println!("{event:?}")`. It should return quickly, because the work waits for it.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

impl<F: Fn(Event<'_>) + Sync> Progress for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The name led to this manifest.
    Resolved(&'a Descriptor),
    /// Nothing is to be done for this layer.
    Present(&'a Descriptor),
    /// This blob begins to move, from this byte on.
    Started {
        /// The blob.
        blob: &'a Descriptor,
        /// What an earlier attempt had moved, bytes.
        offset: u64,
    },
    /// As many more bytes of the blob have moved.
    Bytes {
        /// The blob.
        blob: &'a Digest,
        /// How many, since the last event.
        count: u64,
    },
    /// The blob is in place, its digest verified.
    Stored(&'a Descriptor),
    /// The layer is unpacked and in place, by its chain id.
    Unpacked {
        /// The blob.
        blob: &'a Descriptor,
        /// The unpacked layer's name.
        chain_id: &'a Digest,
    },
}

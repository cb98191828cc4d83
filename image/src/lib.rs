//! OCI images for Rust programs: references, a content store, unpacking, archives, registries and builds.

mod commit;
mod config;
mod diff;
mod digest;
pub mod dockerfile;
mod error;
mod manifest;
mod platform;
mod progress;
mod pull;
mod reference;
mod registry;
mod save;
mod source;
mod store;
mod tar;
mod unpack;

pub use commit::{ConfigEdit, NewLayer};
pub use config::{
    Config, Healthcheck, History, LARGEST_CONFIG, MOST_LAYERS, RootfsConfig, RunConfig, chain_ids,
};
pub use diff::{DiffOptions, archive_directory};
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, ErrorKind, Result};
pub use manifest::{Descriptor, Document, Index, LARGEST_MANIFEST, Manifest, media_type};
pub use platform::Platform;
pub use progress::{Event, Progress, Silent};
pub use pull::PullOptions;
pub use reference::Reference;
pub use registry::{Credential, Credentials, Protocol, PushOptions, Registry, RegistryOptions};
pub use source::{DockerArchive, LayoutSource, OciArchive, Source};
pub use store::{
    BlobWriter, Collected, Damage, Image, Ingest, Ingestion, LayerInfo, Lease, PendingLayer,
    Rootfs, Store, Tag,
};
pub use unpack::{
    Compression, IdRange, LeftOut, Ownership, UnpackLimits, UnpackOptions, Unpacked, unpack,
};

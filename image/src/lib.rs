//! OCI images for Rust programs: references, a content store, registries, unpacking, archives and builds.
//!
//! An image is the share-able form of a root tree: layers upon one another, each named by its content, so that only the missing
//! ones travel. This crate takes images in ([`Store::pull`] from a [`Registry`], a [`LayoutSource`], an [`OciArchive`] or a
//! [`DockerArchive`]), hands out the directories of which an overlay makes their root tree ([`Store::rootfs`]), and makes new ones
//! ([`Store::commit`], [`Store::import`], [`Store::build`]). It starts no containers: what runs commands in a build is an
//! [`Executor`] of its caller.
//!
//! # Examples
//! ```no_run
//! use ampoule_image::{PullOptions, Reference, Registry, RegistryOptions, Store};
//!
//! let name: Reference = "localhost:5000/team/app:1".parse()?;
//! let registry = Registry::new(&name, &RegistryOptions::default())?;
//!
//! let store = Store::open("images")?;
//! let image = store.pull(&registry, &name, &PullOptions::default())?;
//!
//! let rootfs = store.rootfs(&image)?;
//! println!("{:?} runs {:?}", rootfs.lower, image.config().run.cmd);
//!
//! // What nothing names any more, and nobody uses, is removed.
//! store.untag(&name)?;
//! drop(rootfs);
//! println!("{} bytes are free again", store.collect()?.bytes);
//! # Ok::<(), ampoule_image::Error>(())
//! ```
//!
//! # Threads and processes
//! A [`Store`] holds no state: any number of threads and processes may work in the same directory. All functions block; under an
//! asynchronous run time call them where blocking is allowed. Unpacking starts threads of its own, and one of them parts from the
//! process's umask; nothing else of the process is changed.

mod build;
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

pub use build::{BuildOptions, BuildStep, Executor, RunCommand, RunMountKind, RunMountPoint};
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

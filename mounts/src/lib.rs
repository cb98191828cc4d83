//! Detached mounts: described once, made by the host or by the child.
//!
//! A *detached* mount is a mount that is nowhere yet: a file descriptor, which is attached to a place by one call, and which
//! the kernel takes back if that never happens. A [`Mount`] describes one: a new file system, or a copy of what a path shows.
//! A [`Tree`] is a mount with things in it: directories, files, links, devices, more mounts.
//!
//! ```no_run
//! use ampoule_mounts::Mount;
//! use std::io::Write;
//!
//! // A file system in memory that no path leads to.
//! let scratch = Mount::tmpfs().option("size", "1m").create()?;
//! let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR;
//! let file = rustix::fs::openat(&scratch, "note", flags, 0o600.into()).map_err(std::io::Error::from)?;
//! std::fs::File::from(file).write_all(b"gone when the descriptor is")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two makers
//!
//! With privilege the host makes the mount beforehand and hands it to the child, which only attaches it: nothing of the host's
//! tree need be visible to the child. Without it, only the child can make mounts, in the user namespace that it is born in.
//! Both follow the same description; [`Maker`] says who does it.

mod error;
mod host;
mod kernel;
mod mount;
mod overlay;
mod play;
mod setattr;
mod target;
mod tree;

pub use error::{Error, ErrorKind, Result};
pub use mount::{Maker, Mount};
pub use overlay::{Overlay, Upper};
pub use target::{Kind, Target};
pub use tree::{Place, Planted, Ready, Tree, attach};

pub use ampoule_plan::{MountAttributes, Propagation};

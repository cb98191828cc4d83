//! Root file systems of containers, as parts of a plan.
//!
//! A [`Rootfs`] is a [`Root`] (a read-only view of this machine, a directory, an overlay, or a mount that was handed over) with
//! `/dev`, `/proc`, `/sys` and masks. It is described first; [`Rootfs::prepare`] looks at everything that can be wrong and makes
//! what the host makes; what comes of it is a [`Part`](ampoule_plan::Part) of the plan of one container.
//!
//! ```no_run
//! use ampoule_plan::{Draft, Part};
//! use ampoule_rootfs::{Root, Rootfs, Templates};
//!
//! let templates = Templates::new();
//! let mut rootfs = Rootfs::new(Root::host());
//! rootfs.file("/etc/hostname", "demo\n");
//! let mut draft = Draft::new();
//! rootfs.prepare(&templates)?.contribute(&mut draft)?;
//! print!("{}", draft.finish()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the child must have
//!
//! A mount namespace of its own; a pid namespace for `/proc`; an IPC namespace for `/dev/mqueue`; a network namespace for
//! [`Sys::Own`]; a cgroup namespace for [`Cgroups`]. With [`Maker::Child`] also a user namespace, and the host's mounts as they
//! are. Parts that mount more come after this one: places are relative to the child's working directory, which is the root
//! tree until it becomes `/`.
//!
//! # Why it holds
//!
//! `/proc`, `/sys` and `/dev` are directories and no links, or the root is refused. Their contents are reached from the mounts
//! that the child has just made, never by paths. The old root is unmounted, not only left: after that no mount of the host is
//! in the namespace at all. Tests look from inside, as root and as an ordinary user, on kernels 6.1 and 6.18.

mod dev;
mod diff;
mod files;
mod mask;
mod pseudo;
mod root;
mod rootfs;
mod templates;
mod view;

pub use ampoule_mounts::{Error, ErrorKind, Maker, Mount, Overlay, Result, Upper};
pub use dev::{Dev, Device};
pub use diff::{Change, ChangeKind, Notes, diff};
pub use mask::Masks;
pub use pseudo::{Cgroups, HidePid, Hierarchy, Proc, Sys};
pub use root::Root;
pub use rootfs::{Ready, Rootfs};
pub use templates::Templates;

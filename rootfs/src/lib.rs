//! Root file systems of containers, as parts of a plan.
//!
//! ```no_run
//! use ampoule_plan::{Draft, Part};
//! use ampoule_rootfs::{Root, Rootfs, Templates};
//!
//! let templates = Templates::new();
//! let ready = Rootfs::new(Root::host()).prepare(&templates)?;
//! let mut draft = Draft::new();
//! ready.contribute(&mut draft)?;
//! print!("{}", draft.finish()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

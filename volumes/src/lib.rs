//! Volumes of containers, as parts of a plan: binds of a directory or a single file, and file systems in memory.
//!
//! ```no_run
//! use ampoule_plan::{Draft, Part};
//! use ampoule_volumes::{Maker, Volume, Volumes};
//!
//! let volumes = Volumes::new([
//!     Volume::parse_volume("/srv/data:/data:ro")?,
//!     Volume::parse_tmpfs("/scratch:size=64m,mode=1777")?,
//! ]);
//! let mut draft = Draft::new();
//! volumes.prepare(Maker::Host, None)?.contribute(&mut draft)?;
//! print!("{}", draft.finish()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where they land
//!
//! A volume's part goes into the plan after the part that attaches the root tree and makes it the working directory: targets are
//! resolved by the child, relative to that directory, with `openat2` and `RESOLVE_IN_ROOT`. Whatever symbolic links the tree
//! holds, no volume lands outside of it. A target that is missing is made, if the tree can be written.

mod syntax;
mod volume;
mod volumes;

pub use ampoule_mounts::{Error, ErrorKind, Maker, Propagation, Result};
pub use volume::{Bind, Tmpfs, Volume};
pub use volumes::{Ready, Volumes};

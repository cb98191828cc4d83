//! The vocabulary of a container's start: system calls in order, each with its *why*.
//!
//! A container is a list of system calls in one causal order. Some are done by the *host* (the process that asks for the
//! container), most by the *child* (the process that becomes it). Each isolation primitive is a [`Part`] that writes its
//! steps into one [`Draft`]; the finished [`Plan`] can be printed, tested, and handed to a launcher that plays it.
//!
//! This crate is data only: nothing in here touches the kernel.
//!
//! ```
//! use ampoule_plan::{Call, Draft, Errno, Fd, Part, Phase, path};
//!
//! /// A part that gives the container a directory of its own.
//! struct Scratch;
//!
//! impl Part for Scratch {
//!     fn contribute(&self, draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
//!         let mkdir = Call::Mkdirat { dir: Fd::Cwd, path: path("/scratch")?, mode: 0o700 };
//!         draft.child(Phase::Mounts, mkdir, "a place for its own files").tolerate(Errno::EEXIST);
//!         Ok(())
//!     }
//! }
//!
//! let mut draft = Draft::new();
//! Scratch.contribute(&mut draft)?;
//! let plan = draft.finish()?;
//! assert!(plan.to_string().contains(r#"mkdirat(AT_FDCWD, "/scratch", 0700)"#));
//! # Ok::<(), ampoule_plan::Error>(())
//! ```
//!
//! # What a plan cannot say
//!
//! There are no conditions, loops or arithmetic in a plan. Whoever contributes decides beforehand, in the host: open it,
//! stat it, choose. What can only be known in the child is said by the call that needs no question (`openat2`,
//! `mount_setattr`), by [`StepRef::tolerate`], or by one [`StepRef::or_else`].

mod arguments;
mod call;
mod draft;
mod error;
mod flags;
mod operation;
mod phase;
mod plan;
mod show;
mod syscall;

pub use call::{Call, Config};
pub use draft::{Draft, Part, StepRef};
pub use error::{Error, ErrorKind, path, words};
pub use flags::{
    MountAttributes, Namespaces, OpenFlags, OpenTreeFlags, Propagation, Resolve, SeccompFlags,
};
pub use phase::Phase;
pub use plan::{Action, ChildStep, HostStep, Peer, Plan, Step, Undo};
pub use syscall::{Arg, Fd, Micro, Operation, Slot, Syscall};

pub use nix::errno::Errno;

//! Starts a process in Linux namespaces of its own, from any thread of any program.
//!
//! [`launch`] plays an [`ampoule_plan::Plan`]: a spawner thread gives birth to a child that makes the plan's system calls
//! one by one, while the calling thread does the host's steps at the gates. [`Isolation`] and [`Command`] are the parts that
//! most plans begin with:
//!
//! ```no_run
//! use ampoule_namespaces::{Command, IdMap, Isolation, Namespaces, launch};
//! use ampoule_plan::{Draft, Part};
//!
//! let mut isolation = Isolation::new();
//! isolation.unshare(Namespaces::CLONE_NEWUSER | Namespaces::CLONE_NEWPID | Namespaces::CLONE_NEWUTS);
//! isolation.id_map(IdMap::single(0, 0)).hostname("inside");
//!
//! let mut draft = Draft::new();
//! isolation.contribute(&mut draft)?;
//! Command::new("/bin/sh").args(["-c", "hostname; id -u; echo $$"]).contribute(&mut draft)?;
//! let ended = launch(draft.finish()?)?.wait()?;
//! println!("{}", ended.status);
//! # Ok::<(), ampoule_namespaces::Error>(())
//! ```
//!
//! # What it may be called from
//! Any thread of a program with any number of them, under tokio as well: the child allocates nothing, takes no lock, and
//! inherits only what the plan hands it. The host's dumpable flag, signal handlers, working directory and namespaces are what
//! they were. Each spawner is a thread with a socket; there are at most eight, and they stay for as long as the process.

mod child;
mod command;
mod dumpable;
mod error;
mod gate;
mod idmap;
mod init;
mod isolation;
mod launch;
mod lower;
mod outcome;
mod parked;
mod passing;
mod process;
mod pty;
mod reaper;
pub mod signal;
mod spawner;
mod tiny_root;
mod wait;

pub use ampoule_plan::Namespaces;
pub use command::{Command, DEFAULT_PATH, Starter};
pub use error::{Error, ErrorKind};
pub use idmap::{Extent, IdMap};
pub use isolation::{Clock, Isolation};
pub use launch::launch;
pub use parked::Parked;
pub use process::Process;
pub use pty::Terminal;
pub use spawner::warm_up;
pub use wait::{Ended, Status, Usage};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

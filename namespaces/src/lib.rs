//! Starts a process in Linux namespaces of its own, from any thread of any program.
//!
//! [`launch`] plays an [`ampoule_plan::Plan`]: a spawner thread gives birth to a child that makes the plan's system calls
//! one by one, while the calling thread does the host's steps at the gates.

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
pub use wait::{Ended, Status, Usage};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

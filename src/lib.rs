//! Containers for Linux as a library: sealed, clear and small.
//!
//! ```no_run
//! use ampoule::{Container, Root};
//! use std::time::Duration;
//!
//! let output = Container::new("sh")
//!     .args(["-c", "echo hello from $(hostname)"])
//!     .root(Root::host())
//!     .hostname("demo")
//!     .memory(64 << 20)
//!     .timeout(Duration::from_secs(5))
//!     .output()?;
//! assert_eq!(output.stdout, b"hello from demo\n");
//! println!("{}", output.report);
//! # Ok::<(), ampoule::Error>(())
//! ```
//!
//! - [`Container`] mirrors [`std::process::Command`], [`Child`] its child. Both can be used from any thread of any program.
//! - [`Container::plan`] gives the system calls that start it, in order, each with its *why*: print it.
//! - [`doctor()`] says what this machine allows, with cause and remedy; [`Report`] says why a container ended and what it used.
//!
//! - `ampoule::tokio` mirrors `tokio::process`, with the feature `tokio`.
//!
//! The primitives are crates of their own, and can be used without this one: [`plan`], [`namespaces`], [`privileges`],
//! [`cgroups`], [`rootfs`], [`volumes`], [`net`].

mod assembly;
mod child;
mod container;
mod doctor;
mod engine;
mod error;
mod exec;
mod limits;
mod network;
mod pool;
mod report;
mod stdio;
#[cfg(feature = "tokio")]
pub mod tokio;
mod user;

pub use child::Child;
pub use container::{Container, Seccomp};
pub use doctor::{Finding, Level, doctor};
pub use engine::gc;
pub use error::{Error, ErrorKind, Result};
pub use exec::Exec;
pub use network::Network;
pub use pool::{GenericPool, Pool};
pub use report::{Ending, Output, Report};
pub use stdio::Stdio;

pub use ampoule_cgroups as cgroups;
pub use ampoule_namespaces as namespaces;
pub use ampoule_namespaces::IdMap;
pub use ampoule_net as net;
pub use ampoule_plan as plan;
pub use ampoule_privileges as privileges;
pub use ampoule_rootfs as rootfs;
pub use ampoule_rootfs::{Overlay, Root, Upper};
pub use ampoule_volumes as volumes;
pub use ampoule_volumes::{Bind, Tmpfs, Volume};

/// The README's program is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

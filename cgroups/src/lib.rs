//! Linux control groups: create, limit, account, freeze and kill.
//!
//! One API over cgroup v2, v1 and hybrid machines (controllers on v1, a v2 hierarchy beside them), for root and, where a
//! subtree was delegated, for an ordinary user. It is made for starting many short-lived programs: a cgroup costs a
//! `mkdirat`, an `openat` and a `write` a limit, and one that nobody owns any more is found and removed.
//!
//! # Examples
//! A program that runs another with limits, and tells what it used:
//! ```no_run
//! use ampoule_cgroups::{Controller, Parent, Resources};
//! use std::os::unix::process::CommandExt;
//! use std::process::Command;
//!
//! let parent = Parent::open("my-judge")?; // once for the process
//! let mut limits = Resources::new();
//! limits.memory(64 << 20).swap(0).pids(16).cpus(0.5);
//! let cgroup = parent.create("job-1", &limits)?; // killed and removed when dropped
//!
//! let mut child = Command::new("sleep").arg("1").spawn()?;
//! cgroup.add(child.id())?; // the simple way in; `Cgroup::entry` is the fast one
//! child.wait()?;
//!
//! let stats = cgroup.stats()?;
//! println!("peak memory: {:?}", stats.memory.and_then(|memory| memory.peak));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where cgroups live
//! [`Parent`] is the directory (one for each hierarchy) below which this program makes its cgroups. As root it stands at the
//! root of each hierarchy. An ordinary user needs a delegated subtree: the crate finds it from `/proc/self/cgroup` and the
//! permissions above; where there is none, the error says how to get one.
//!
//! # How processes get in
//! A [`Cgroup`] gives descriptors: its v2 directory for `CLONE_INTO_CGROUP`, and the opened `tasks` files of v1 into which the
//! child writes `0` itself ([`Cgroup::entry`]).
//!
//! # Who cleans up
//! Cgroup directories outlive processes, so each has a lock file whose lock its owner holds. [`Parent::gc`] removes those whose
//! owner is gone, also after SIGKILL.
//!
//! # Features
//! - `tokio`: [`Events`] as an async stream.
//! - `oci`: [`Resources`] from the OCI runtime specification's `linux.resources`.

mod bpf;
mod cgroup;
mod controller;
mod dbus;
mod devices;
mod dir;
mod error;
mod events;
mod freezer;
mod kill;
mod layout;
mod lock;
mod name;
mod node;
#[cfg(feature = "oci")]
mod oci;
mod parent;
mod resources;
mod scope;
mod settings;
mod stats;
#[cfg(feature = "tokio")]
mod stream;
mod tree;
mod wait;

pub use cgroup::{Cgroup, Entry};
pub use controller::{Controller, Controllers};
pub use devices::{Access, DeviceKind, DeviceRule};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Events};
pub use layout::{Hierarchy, Layout, Mode, Version};
pub use parent::{Options, Parent};
pub use resources::{IoLimit, Limit, Quota, Resources};
pub use scope::enter_scope;
pub use stats::{
    CpuStats, IoStats, MemoryStats, PidsStats, Pressure, Pressures, Stall, Stats, Totals,
};
#[cfg(feature = "tokio")]
pub use stream::EventStream;

/// The README's program is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! What a process may do, as values: capabilities, seccomp filters, Landlock, limits, scheduling.
//!
//! Everything here is decided, checked and compiled before a process exists. A seccomp profile becomes a [`Filter`], a
//! program of a few hundred instructions that can be printed, asked, kept and loaded any number of times:
//!
//! ```
//! use ampoule_privileges::capabilities::CapabilitySet;
//! use ampoule_privileges::seccomp::{Arch, Host, Template};
//!
//! // Docker's default profile for a container that may also configure its network.
//! let capabilities = CapabilitySet::DOCKER.adjusted("NET_ADMIN".parse()?, "MKNOD".parse()?);
//! let filter = Template::docker().resolve(&Host::here(capabilities)?).compile()?;
//!
//! let native = Arch::native().unwrap();
//! let decision = filter.explain(native, "keyctl", [0; 6])?;
//! assert_eq!(
//!     decision.to_string(),
//!     format!("seccomp answers errno 1 (EPERM) on syscall keyctl ({native}, number {})", decision.number)
//! );
//! # Ok::<(), ampoule_privileges::Error>(())
//! ```
//!
//! [`Filter`]: seccomp::Filter

pub mod capabilities;
mod error;
mod label;
#[cfg(feature = "landlock")]
pub mod landlock;
pub mod limits;
mod part;
mod privileges;
pub mod scheduling;
pub mod seccomp;
mod securebits;
mod similar;

pub use error::{Error, ErrorKind};
pub use label::Label;
pub use privileges::{Privileges, User};
pub use securebits::Securebits;

/// The README's program is compiled too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! System call filters: a profile, our compiler for it, and Docker's default profile as data.
//!
//! A [`Profile`] is a value. [`Profile::compile`] turns it into a [`Filter`]: a BPF program that finds the span of numbers
//! a call is in by binary search, so that loading and running it cost a fraction of a list of comparisons. A filter can be
//! printed ([`Display`](std::fmt::Display)) and asked ([`Filter::explain`]).

mod action;
mod arch;
mod assemble;
mod compile;
mod docker;
mod filter;
mod graph;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "oci")]
mod oci;
mod profile;
mod program;
mod rules;
mod syscalls;
mod template;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use arch::Arch;
pub use filter::{Decision, Filter};
pub use profile::{Compare, Condition, Flags, Newer, Profile, Rule, Unknown};
pub use program::{Data, Instruction, Program};
pub use syscalls::{name as syscall_name, number as syscall_number};
pub use template::{Guard, Host, KernelVersion, Section, Template};

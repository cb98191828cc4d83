//! What libseccomp and the kernel themselves make of a system call filter, for tests.
//!
//! Neither is trusted with our types: actions, operators and architectures are the numbers of `seccomp.h`.

mod kernel;
mod libseccomp;
mod listener;

pub use kernel::{Call, Outcome, attempt, load, time_to_load};
pub use libseccomp::{Comparison, Context, available, resolve};
pub use listener::answer;

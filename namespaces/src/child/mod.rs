//! Everything that runs between birth and `execve`, and the data that it walks over.
//!
//! **Invariant:** nothing in here allocates, drops, indexes, unwraps, or touches libc. The child may share its memory with
//! a host of many threads, any of which may hold any lock. The same files are compiled, without std, into the small
//! program that waits in pools and reaps as process 1 (`build.rs`).

pub mod abi;
pub mod arch;
mod player;
pub mod program;

pub use player::{Life, play};

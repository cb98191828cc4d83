//! What the kernel and libseccomp make of this crate's values.

#[path = "kernel/container.rs"]
mod container;
#[path = "kernel/enforcement.rs"]
mod enforcement;
#[path = "kernel/equivalence.rs"]
mod equivalence;
#[cfg(feature = "landlock")]
#[path = "kernel/landlock.rs"]
mod landlock;
#[path = "kernel/meaning.rs"]
mod meaning;
#[path = "kernel/process.rs"]
mod process;

fn main() -> std::process::ExitCode {
    needs::run()
}

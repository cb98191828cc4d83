//! What the kernel and libseccomp make of this crate's values.

#[path = "kernel/enforcement.rs"]
mod enforcement;
#[path = "kernel/equivalence.rs"]
mod equivalence;
#[path = "kernel/meaning.rs"]
mod meaning;

fn main() -> std::process::ExitCode {
    needs::run()
}

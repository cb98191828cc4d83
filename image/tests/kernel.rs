//! What needs a kernel, and other programs as peers.

#[path = "kernel/scratch.rs"]
mod scratch;
#[path = "kernel/store.rs"]
mod store;

fn main() -> std::process::ExitCode {
    needs::run()
}

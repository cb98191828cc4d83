//! Tests of detached mounts on the running kernel.

mod detached;
mod targets;

fn main() -> std::process::ExitCode {
    needs::run()
}

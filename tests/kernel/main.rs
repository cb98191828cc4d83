//! The suite's tests: whole containers on a real kernel.

mod container;

fn main() -> std::process::ExitCode {
    needs::run()
}

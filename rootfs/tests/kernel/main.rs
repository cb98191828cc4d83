//! Tests of root trees on the running kernel: what a process inside them sees.

mod inside;
mod ordinary;
mod view;

fn main() -> std::process::ExitCode {
    needs::run()
}

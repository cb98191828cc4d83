//! What this crate does, done to a real kernel.

mod container;
mod gates;
mod join;
mod pool;
mod start;

fn main() -> std::process::ExitCode {
    needs::run()
}

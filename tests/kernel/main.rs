//! The suite's tests: whole containers on a real kernel.

mod container;
mod death;
mod pool;
mod tokio;

fn main() -> std::process::ExitCode {
    death::die_if_asked();
    needs::run()
}

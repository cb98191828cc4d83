//! The suite's tests: whole containers on a real kernel.

mod container;
mod death;
mod elsewhere;
mod mistakes;
mod pool;
mod surroundings;
mod tokio;

fn main() -> std::process::ExitCode {
    death::die_if_asked();
    elsewhere::run_if_asked();
    needs::run()
}

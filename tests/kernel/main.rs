//! The suite's tests: whole containers on a real kernel.

#![expect(
    clippy::print_stdout,
    clippy::exit,
    reason = "some of it runs in processes of its own, which tell the test what they found"
)]

mod attacks;
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

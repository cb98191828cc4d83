//! The command line as people type it, on a real kernel.

mod command;
mod insight;
mod mistakes;
mod ordinary_user;
mod run;
mod signals;
mod terminal;

fn main() -> std::process::ExitCode {
    needs::run()
}

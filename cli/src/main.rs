//! `ampoule`: containers on the command line.
//!
//! A thin layer: each subcommand is one file that parses, calls the library, and prints.

// A command prints its errors, unlike a library.
#![allow(clippy::print_stderr)]

mod doctor;
mod failure;
mod gc;
mod run;

use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Containers for Linux: sealed, clear and small.
#[derive(Debug, Parser)]
#[command(name = "ampoule", version, arg_required_else_help = true)]
struct Ampoule {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Doctor(doctor::Doctor),
    Gc(gc::Gc),
}

fn main() -> ExitCode {
    let done = Ampoule::try_parse()
        .map_err(Failure::from)
        .and_then(|ampoule| match ampoule.command {
            Command::Run(run) => run.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Gc(gc) => gc.run(),
        });
    done.unwrap_or_else(|failure| failure.report())
}

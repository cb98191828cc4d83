//! *What, then, is a container?*
//!
//! **The kernel's idea.** There is none: the kernel has no containers. It has the parts of examples 01 to 11, and an order in
//! which they fit together. Written down, that order is a list of system calls between fork and exec: the *plan*.
//!
//! **Run it**: `cargo run --example 12_whole_container`
//!
//! **Check it yourself**: `strace -f` it, and compare
//!
//! **Try to escape**: for each step of the plan, ask what a program could do if it were missing, or came one phase later. Each
//! step's *why* is the answer that we know of; if you find another, we would like to hear of it.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::plan::{Action, Phase};
use ampoule::{Container, Ending, Network, Root};
use std::process::ExitCode;
use std::time::Duration;

const LOOK: &str = "hostname; id -u; echo $$; ls -d /proc/[0-9]* | wc -l; grep -c : /proc/net/dev";

fn main() -> ExitCode {
    stage::play(|_| {
        plan()?;
        run()
    })
}

/// The plan is a value: it can be printed, tested and counted before anything runs.
fn plan() -> anyhow::Result<()> {
    let plan = Container::new("sh").hostname("demo").plan()?;
    println!("{plan}");
    let steps = plan.steps();
    let gates = steps
        .iter()
        .filter(|step| matches!(step.action, Action::Host(_)))
        .count();
    println!(
        "{} system calls of the child, {gates} steps for which it waits\n",
        steps.len() - gates
    );

    // Privileges go after everything that needs them, the filter after those, the program last.
    let phases: Vec<Phase> = steps.iter().map(|step| step.phase).collect();
    assert!(phases.is_sorted());
    assert_eq!(phases.last(), Some(&Phase::Exec));
    Ok(())
}

/// The same by the library: a container is started as `std::process::Command` starts a program.
fn run() -> anyhow::Result<()> {
    let output = Container::new("sh")
        .args(["-c", LOOK])
        .root(Root::host())
        .hostname("demo")
        .network(Network::none())
        .timeout(Duration::from_secs(30))
        .output()?;

    let text = String::from_utf8_lossy(&output.stdout);
    let seen: Vec<&str> = text.lines().collect();
    println!("inside, host name, user, process, processes and interfaces are {seen:?}");
    assert_eq!(
        output.report.ending,
        Ending::Exited(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // `sh`, `ls` and `wc` are all there is.
    assert_eq!(
        (seen[0], seen[1], seen[2], seen[4]),
        ("demo", "0", "1", "1")
    );
    assert!(seen[3].parse::<u32>()? <= 4);

    println!("\n{}", output.report);
    assert!(
        output
            .report
            .phases
            .iter()
            .any(|(phase, _)| *phase == Phase::Filter)
    );
    Ok(())
}

//! *What may a program in a container still ask of the kernel?*
//!
//! **The kernel's idea.** Three questions, one behind the other. *Capabilities*: what of root's power does the process have?
//! *seccomp*: may it make this call at all, with these arguments, as a small program decides before the call is looked at?
//! *Landlock*: may it touch this file? Each can only be given up, never regained, also not by execve.
//!
//! **Run it**: `cargo run --example 11_privileges`
//!
//! **Check it yourself**: `grep -E 'Cap|Seccomp|NoNewPrivs' /proc/self/status`, inside of a container and outside
//!
//! **Try to escape**: the attempt below asks for a user namespace, to be root once more in there. It was the first step of
//! CVE-2022-0185, CVE-2022-0492 and CVE-2024-1086. Only the system-call filter stands in its way.

#![allow(clippy::print_stdout, reason = "an example talks")]

mod stage;

use ampoule::plan::{Namespaces, Phase};
use ampoule::privileges::capabilities::CapabilitySet;
use ampoule::privileges::landlock::Landlock;
use ampoule::privileges::seccomp::{Host, Template};
use ampoule::{Bind, Container, Seccomp, Volume};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What only an administrator may do.
const MOUNT: &str = "mount -t tmpfs none /mnt";
/// To become one first.
const EXPLOIT: &str = "unshare --user --map-root-user --mount mount -t tmpfs none /mnt";
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    stage::play(|_| {
        capabilities()?;
        filter()?;
        landlock()?;
        // What it all comes down to, in the order that it must have.
        let plan = Container::new("sh").plan()?;
        println!("\nthe end of a container's plan:");
        let steps = plan.steps().iter().enumerate();
        for (index, step) in steps.filter(|(_, step)| step.phase >= Phase::Drop) {
            let call = plan.describe(index).unwrap_or_default();
            println!("{:>7}  {call}", step.phase);
        }
        Ok(())
    })
}

fn capabilities() -> anyhow::Result<()> {
    let mut root = sh();
    // Broken: root is root.
    root.seccomp(Seccomp::Unconfined);
    root.capabilities(CapabilitySet::DOCKER | "SYS_ADMIN".parse()?);
    assert!(works("with CAP_SYS_ADMIN", &root, MOUNT)?);
    // Fixed: of root's power, the fourteen capabilities that Docker leaves.
    root.capabilities(CapabilitySet::DOCKER);
    assert!(!works("without", &root, MOUNT)?);
    Ok(())
}

fn filter() -> anyhow::Result<()> {
    // Broken: where one may become root again, capabilities are no boundary.
    assert!(works(
        "no filter",
        sh().seccomp(Seccomp::Unconfined),
        EXPLOIT
    )?);
    // Fixed: the call is refused for this argument.
    assert!(!works("Docker's filter", &sh(), EXPLOIT)?);

    let here = Host::here(CapabilitySet::DOCKER)?;
    let filter = Template::docker().resolve(&here).compile()?;
    let new_user = Namespaces::CLONE_NEWUSER.bits();
    let decision = filter.explain(here.arch, "unshare", [new_user, 0, 0, 0, 0, 0])?;
    println!("asked beforehand: {decision}");
    assert!(!decision.action.permits());
    Ok(())
}

fn landlock() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    fs::write(place.path().join("key"), "under the mat")?;
    let mut owner = sh();
    owner.volume(Volume::bind(Bind::new(place.path()), "/data"));
    // Broken: root of the container owns what is mounted there.
    assert!(works("no rules", &owner, "cat /data/key")?);
    // Fixed: programs and libraries, and no other file, whoever asks.
    let mut rules = Landlock::new();
    for directory in ["/usr", "/bin", "/lib", "/lib64"] {
        if Path::new(directory).exists() {
            rules.read(directory);
        }
    }
    // An older kernel restricts less, but reading it does.
    if !rules.best_effort().status().is_enforced() {
        return Err(stage::missing("landlock", "this kernel has none"));
    }
    owner.privileges().landlock(rules);
    assert!(!works("Landlock", &owner, "cat /data/key")?);
    Ok(())
}

fn sh() -> Container {
    Container::new("sh")
}

/// Whether a script ends well in this container.
fn works(what: &str, container: &Container, script: &str) -> anyhow::Result<bool> {
    let mut container = container.clone();
    container.args(["-c", script]).timeout(PATIENCE);
    let output = container.output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    println!(
        "{what}: {script}: {}",
        said.lines().next().unwrap_or("done")
    );
    Ok(output.report.success())
}

//! Kernel tests that say what they need, and are counted as skipped where it is missing.
//!
//! A test is a plain function that panics when it fails. The line above it registers it and names what the machine must
//! support; a function without such a line is dead code, and the compiler says so.
//!
//! ```no_run
//! use needs::needs;
//!
//! needs!(root, user_namespaces => a_child_sees_itself_as_root);
//! fn a_child_sees_itself_as_root() {
//!     assert_eq!(1 + 1, 2);
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     needs::run()
//! }
//! ```
//!
//! The binary is declared with `harness = false`. What is missing skips the test, with the reason, unless the environment
//! *states* that the machine has it: `AMPOULE_EXPECT=root,cgroup_v1` turns those skips into failures, so that a machine
//! which lost a feature cannot stay green. A test that hangs is named after five minutes, and ends its binary.

mod probe;
mod watchdog;

pub use inventory;
pub use probe::*;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// A thing that a test needs: nothing when it is there, else the reason why it is not.
pub type Probe = fn() -> Result<(), String>;

/// A registered test; made by [`needs!`].
#[derive(Debug)]
pub struct Test {
    /// The module and the function.
    pub name: (&'static str, &'static str),
    /// What it needs, by name.
    pub needs: &'static [(&'static str, Probe)],
    /// The test itself; it panics when it fails.
    pub run: fn(),
}

inventory::collect!(Test);

/// Registers a test function with what it needs: `needs!(root, cgroup_v1 => limit_kills);`.
///
/// Each name before the arrow is a function of type [`Probe`], from this crate or from the test's own.
#[macro_export]
macro_rules! needs {
    ($($need:ident),* => $test:ident) => {
        $crate::inventory::submit! {
            $crate::Test {
                name: (module_path!(), stringify!($test)),
                needs: &[$((stringify!($need), { #[allow(unused_imports)] use $crate::*; $need })),*],
                run: $test,
            }
        }
    };
}

/// Runs the registered tests that the command line selects (the flags are those of `cargo test`).
pub fn run() -> ExitCode {
    run_with(&Arguments::from_args())
}

/// The same, one test after the other: for tests that look at the whole process, such as its descriptors.
pub fn run_one_by_one() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    run_with(&arguments)
}

fn run_with(arguments: &Arguments) -> ExitCode {
    let expected = std::env::var("AMPOULE_EXPECT").unwrap_or_default();
    let expected: Vec<&'static str> = expected
        .leak()
        .split(',')
        .filter(|name| !name.is_empty())
        .collect();
    let mut trials: Vec<Trial> = inventory::iter::<Test>()
        .map(|test| trial(test, expected.clone()))
        .collect();
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    watchdog::start();
    libtest_mimic::run(arguments, trials).exit_code()
}

fn trial(test: &'static Test, expected: Vec<&'static str>) -> Trial {
    let (module, function) = test.name;
    // The first segment is the binary's own name: the same in every line.
    let module = module.split_once("::").map_or("", |(_, rest)| rest);
    let name = if module.is_empty() {
        function.to_string()
    } else {
        format!("{module}::{function}")
    };
    Trial::ignorable_test(name.clone(), move || {
        let _watched = watchdog::Watched::new(&name);
        for (need, probe) in test.needs {
            if let Err(reason) = probe() {
                return missing(need, &reason, &expected);
            }
        }
        (test.run)();
        Ok(Completion::Completed)
    })
}

fn missing(need: &str, reason: &str, expected: &[&str]) -> Result<Completion, Failed> {
    if expected.contains(&need) {
        return Err(format!("AMPOULE_EXPECT states {need}, but {reason}").into());
    }
    Ok(Completion::ignored_with(format!("needs {need}: {reason}")))
}

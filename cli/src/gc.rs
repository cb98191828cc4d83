//! `ampoule gc`: takes away what crashed programs left.

use crate::failure::{Result, say};
use std::process::ExitCode;

/// Remove the cgroups of containers whose owner is gone
///
/// Everything else goes with the process that owns it; only directories of cgroups can stay when that process is killed.
/// Those of running containers are never touched.
#[derive(Debug, clap::Args)]
pub struct Gc {}

impl Gc {
    /// Sweeps, and says what it removed.
    pub fn run(self) -> Result<ExitCode> {
        let swept = ampoule::gc()?;
        for name in &swept {
            say(format_args!("removed cgroup {name}"))?;
        }
        if swept.is_empty() {
            say("nothing to remove")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

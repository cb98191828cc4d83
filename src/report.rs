//! What became of a container.

use ampoule_cgroups::Totals;
use ampoule_namespaces::{Ended, Status, signal};
use ampoule_plan::Phase;
use std::fmt;
use std::time::Duration;

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Its program ended by itself, with this code.
    Exited(i32),
    /// A signal ended its program.
    Signaled(i32),
    /// It ran out of time, and was killed.
    TimedOut,
    /// It ran out of memory, and the kernel killed its program.
    OutOfMemory,
    /// The system-call filter killed its program.
    Filtered,
    /// Its program was killed in the very call that should have started it, by this signal: a filter that forbids `execve`
    /// does that.
    NeverBegan(i32),
    /// Its status was lost: the host's own code waited for it.
    Unknown,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(code) => write!(f, "exited with {code}"),
            Ending::Signaled(number) => write!(f, "killed by {}", signal::name(*number)),
            Ending::TimedOut => f.write_str("timed out"),
            Ending::OutOfMemory => f.write_str("out of memory"),
            Ending::Filtered => f.write_str("killed by seccomp"),
            Ending::NeverBegan(number) => {
                write!(f, "killed by {} in its execve", signal::name(*number))
            }
            Ending::Unknown => f.write_str("ended, and somebody else took its status"),
        }
    }
}

/// What became of a container, and what it used.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Why it ended.
    pub ending: Ending,
    /// The time from the call that started it until its end was seen.
    pub wall: Duration,
    /// Processor time in user mode: of all its processes where it has a cgroup, else of its first and those that it waited
    /// for.
    pub user: Duration,
    /// Processor time in the kernel, of the same.
    pub system: Duration,
    /// The most memory that it used at once, in bytes: of its cgroup, else the largest resident size of one process.
    pub peak_memory: u64,
    /// The most processes and threads that it had at once, where its cgroup counts them.
    pub peak_pids: Option<u64>,
    /// How long it waited because its processor quota was used up.
    pub throttled: Option<Duration>,
    /// How long each phase of its start took, in order.
    pub phases: Vec<(Phase, Duration)>,
}

impl Report {
    pub(crate) fn new(
        ended: Ended,
        totals: Totals,
        init: bool,
        timed_out: bool,
        wall: Duration,
        phases: &[(Phase, Duration)],
    ) -> Report {
        Report {
            ending: ending(ended, totals, init, timed_out),
            wall,
            user: totals.user.unwrap_or(ended.usage.user),
            system: totals.system.unwrap_or(ended.usage.system),
            peak_memory: totals.peak_memory.unwrap_or(ended.usage.peak_resident),
            peak_pids: totals.peak_pids,
            throttled: totals.throttled,
            phases: phases.to_vec(),
        }
    }

    /// Whether its program ended by itself, with code 0.
    pub fn success(&self) -> bool {
        self.ending == Ending::Exited(0)
    }

    /// The exit code that a shell would show: the program's own, or 128 and the signal; 124 after a timeout.
    pub fn code(&self) -> i32 {
        match self.ending {
            Ending::Exited(code) => code,
            Ending::Signaled(number) | Ending::NeverBegan(number) => 128 + number,
            Ending::TimedOut => 124,
            Ending::OutOfMemory => 137,
            Ending::Filtered => 159,
            Ending::Unknown => 125,
        }
    }
}

fn ending(ended: Ended, totals: Totals, init: bool, timed_out: bool) -> Ending {
    let out_of_memory = totals.oom_kill.is_some_and(|kills| kills > 0);
    match ended.status {
        // Process 1 of its own says so of the program that it waited for.
        Status::Exited(137) if out_of_memory && init => Ending::OutOfMemory,
        Status::Exited(code) => Ending::Exited(code),
        Status::Signaled(_) if timed_out => Ending::TimedOut,
        Status::Signaled(number) if !ended.began => Ending::NeverBegan(number),
        Status::Signaled(9) if out_of_memory => Ending::OutOfMemory,
        Status::Signaled(31) => Ending::Filtered,
        Status::Signaled(number) => Ending::Signaled(number),
        Status::Unknown => Ending::Unknown,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {:.2?}", self.ending, self.wall)?;
        write!(
            f,
            "cpu      {:.2?} user, {:.2?} system",
            self.user, self.system
        )?;
        match self.throttled {
            Some(throttled) if !throttled.is_zero() => {
                writeln!(f, ", throttled for {throttled:.2?}")?
            }
            _ => writeln!(f)?,
        }
        writeln!(
            f,
            "memory   {:.1} MiB at most",
            self.peak_memory as f64 / f64::from(1 << 20)
        )?;
        if let Some(pids) = self.peak_pids {
            writeln!(f, "pids     {pids} at most")?;
        }
        let start: Duration = self.phases.iter().map(|(_, time)| *time).sum();
        write!(f, "start    {start:.0?}:")?;
        for (phase, time) in &self.phases {
            write!(f, " {phase} {time:.0?}")?;
        }
        Ok(())
    }
}

/// What a container printed, and what became of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// What became of it.
    pub report: Report,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

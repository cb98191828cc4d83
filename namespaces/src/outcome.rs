//! What became of a child: its program, or an error that names the step.

use crate::child::program::Report;
use crate::error::{self, Error};
use crate::process::Process;
use crate::wait;
use ampoule_plan::{Errno, Phase, Plan};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

/// Everything that is known when a child has left its plan.
pub(crate) struct End<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) report: &'a Report,
    /// The host's own step that failed.
    pub(crate) failed: Option<(usize, io::Error)>,
}

impl End<'_> {
    /// Tells a program that runs from a child that failed; of that, nothing stays.
    pub(crate) fn became_its_program(
        self,
        pidfd: OwnedFd,
        started: Duration,
        name: &str,
    ) -> Result<Process, Error> {
        match self.error(pidfd.as_fd()) {
            None => Ok(Process::new(
                pidfd,
                times(self.report, started),
                self.report,
                name.to_string(),
            )),
            Some(error) => {
                // Its status says nothing that the error does not; but it must not stay as a zombie.
                let _ = wait::reap(pidfd.as_fd());
                Err(error)
            }
        }
    }

    fn error(&self, pidfd: BorrowedFd<'_>) -> Option<Error> {
        let step = self.report.step.load(Acquire);
        if let Some((index, source)) = &self.failed {
            return Some(host_error(self.plan, *index, source));
        }
        match self.report.errno.load(Acquire) {
            0 => self
                .killed_early(pidfd, step)
                .map(|signal| killed(self.plan, step, signal)),
            errno => Some(step_error(self.plan, step, Errno::from_raw(errno))),
        }
    }

    /// The signal that ended a child before its last call.
    ///
    /// That the child has left its plan means *executed or ended*; if it had not come to the last call, it ended. In the
    /// last call it is [`Process::wait`] that can tell.
    fn killed_early(&self, pidfd: BorrowedFd<'_>, step: u32) -> Option<i32> {
        if self
            .plan
            .steps()
            .get(step as usize - 2)
            .is_some_and(|step| step.phase == Phase::Exec)
        {
            return None;
        }
        wait::reap(pidfd).ok()?.status.signal()
    }
}

fn host_error(plan: &Plan, index: usize, source: &io::Error) -> Error {
    let number = index as u32 + 2;
    let (phase, why) = describe(plan, number);
    let source = source.raw_os_error().map_or_else(
        || io::Error::other(source.to_string()),
        io::Error::from_raw_os_error,
    );
    Error::Host {
        number,
        phase,
        why,
        source,
    }
}

pub(crate) fn step_error(plan: &Plan, number: u32, errno: Errno) -> Error {
    let (phase, call) = describe(plan, number);
    Error::Step {
        number,
        phase,
        call,
        errno,
        hint: error::hint(phase, errno),
    }
}

fn killed(plan: &Plan, number: u32, signal: i32) -> Error {
    let (phase, call) = describe(plan, number);
    Error::Killed {
        number,
        phase,
        call,
        signal,
    }
}

fn describe(plan: &Plan, number: u32) -> (Phase, String) {
    let Some(index) = (number as usize).checked_sub(2) else {
        return (Phase::Birth, "clone3".into());
    };
    let phase = plan
        .steps()
        .get(index)
        .map_or(Phase::Exec, |step| step.phase);
    (phase, plan.describe(index).unwrap_or_default())
}

/// How long each phase took, in the order in which they happened.
fn times(report: &Report, started: Duration) -> Vec<(Phase, Duration)> {
    let marks = report
        .marks
        .iter()
        .map(|mark| moment(mark.each_ref().map(|word| word.load(Acquire))));
    let begun: Vec<(Phase, Duration)> = Phase::ALL
        .into_iter()
        .zip(marks)
        .map(|(phase, mark)| {
            if phase == Phase::Birth {
                (phase, started)
            } else {
                (phase, mark)
            }
        })
        .filter(|(_, begun)| !begun.is_zero())
        .collect();
    let ends = begun.iter().skip(1).map(|(_, begun)| *begun).chain([now()]);
    begun
        .iter()
        .zip(ends)
        .map(|((phase, begun), end)| (*phase, end.saturating_sub(*begun)))
        .collect()
}

pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    moment([time.tv_sec, time.tv_nsec])
}

fn moment([seconds, nanoseconds]: [i64; 2]) -> Duration {
    Duration::new(seconds.unsigned_abs(), nanoseconds.unsigned_abs() as u32)
}

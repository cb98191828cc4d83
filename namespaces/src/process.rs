//! A process that was started.

use crate::child::program::Report;
use crate::error::Error;
use crate::wait::{self, Ended};
use ampoule_plan::Phase;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// A process that was started by [`launch`](crate::launch).
///
/// It is named by a pidfd, so a signal can never reach a stranger that got its number. Dropping it does not end it.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: i32,
    times: Vec<(Phase, Duration)>,
    ended: Option<Ended>,
    /// What it called itself before it executed its program.
    first_name: String,
}

impl Process {
    pub(crate) fn new(
        pidfd: OwnedFd,
        times: Vec<(Phase, Duration)>,
        report: &Report,
        first_name: String,
    ) -> Process {
        Process {
            pidfd,
            pid: report.pid.load(Acquire),
            times,
            ended: None,
            first_name,
        }
    }

    /// Its process id, in the caller's pid namespace.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// A file descriptor that stands for it, and becomes readable when it ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How long each phase of its start took, in order.
    pub fn times(&self) -> &[(Phase, Duration)] {
        &self.times
    }

    /// Sends it a signal, by number. A process that has ended already is no error.
    ///
    /// # Errors
    /// `EINVAL` for a signal that does not exist, `EPERM` without the privilege.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        // SAFETY: the kernel refuses a number that is no signal; this library uses none for itself.
        let number = unsafe { Signal::from_raw_unchecked(signal) };
        match pidfd_send_signal(&self.pidfd, number) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::os(
                format!(
                    "send {} to process {}",
                    crate::signal::name(signal),
                    self.pid
                ),
                errno,
            )),
        }
    }

    /// Kills it. If it is process 1 of a pid namespace, everything in there dies with it.
    ///
    /// # Errors
    /// As for [`signal`](Process::signal).
    pub fn kill(&self) -> Result<(), Error> {
        self.signal(libc::SIGKILL)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// `EBADF` and the like only: the host closed a descriptor that is not its own.
    pub fn wait(&mut self) -> Result<Ended, Error> {
        self.take(true).map(|ended| ended.unwrap_or(wait::LOST))
    }

    /// Takes its status if it has ended.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn try_wait(&mut self) -> Result<Option<Ended>, Error> {
        self.take(false)
    }

    fn take(&mut self, patient: bool) -> Result<Option<Ended>, Error> {
        if self.ended.is_none() {
            let seen = wait::look(self.pidfd.as_fd(), patient).map_err(|e| self.waiting(e))?;
            let Some(seen) = seen else { return Ok(None) };
            // While it is a zombie, its name can still be read.
            let began = seen.status.signal().is_none() || !self.has_its_first_name();
            let ended = wait::reap(self.pidfd.as_fd()).map_err(|e| self.waiting(e))?;
            self.ended = Some(Ended { began, ..ended });
        }
        Ok(self.ended)
    }

    fn has_its_first_name(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.contains(&format!("({})", self.first_name))
    }

    /// Waits until it has ended, but no longer than this; none if it lives on.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Ended>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(ended) = self.try_wait()? {
                return Ok(Some(ended));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(
                &mut [PollFd::new(&self.pidfd, PollFlags::IN)],
                left.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.waiting(errno.into())),
            }
        }
    }

    fn waiting(&self, source: std::io::Error) -> Error {
        Error::os(format!("wait for process {}", self.pid), source)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

//! A process that was started.

use crate::child::program::Report;
use crate::error::Error;
use crate::wait::{self, Ended};
use ampoule_plan::Phase;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A process that was started by [`launch`](crate::launch).
///
/// It is named by a pidfd, so a signal can never reach a stranger that got its number. Dropping it does not end it.
#[derive(Debug)]
pub struct Process {
    life: Arc<Life>,
    times: Vec<(Phase, Duration)>,
}

/// What is shared with the thread that takes the status of processes that joined a container.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) pidfd: OwnedFd,
    pid: i32,
    /// What it called itself before it executed its program.
    first_name: String,
    ended: Mutex<Option<Ended>>,
}

impl Life {
    /// Takes the status, once: whoever asks later gets the same.
    pub(crate) fn take(&self, patient: bool) -> io::Result<Option<Ended>> {
        if let Some(ended) = *self.ended() {
            return Ok(Some(ended));
        }
        let Some(seen) = wait::look(self.pidfd.as_fd(), patient)? else {
            return Ok(None);
        };
        let mut ended = self.ended();
        if ended.is_none() {
            // While it is a zombie, its name can still be read.
            let began = seen.status.signal().is_none() || !self.has_its_first_name();
            *ended = Some(Ended {
                began,
                ..wait::reap(self.pidfd.as_fd())?
            });
        }
        Ok(*ended)
    }

    fn ended(&self) -> MutexGuard<'_, Option<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_its_first_name(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.contains(&format!("({})", self.first_name))
    }
}

impl Process {
    pub(crate) fn new(
        pidfd: OwnedFd,
        times: Vec<(Phase, Duration)>,
        report: &Report,
        first_name: String,
    ) -> Process {
        let life = Life {
            pidfd,
            pid: report.pid.load(Acquire),
            first_name,
            ended: Mutex::new(None),
        };
        Process {
            life: Arc::new(life),
            times,
        }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Its process id, in the caller's pid namespace.
    pub fn id(&self) -> u32 {
        self.life.pid.unsigned_abs()
    }

    /// A file descriptor that stands for it, and becomes readable when it ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.life.pidfd.as_fd()
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
        match pidfd_send_signal(&self.life.pidfd, number) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::os(
                format!(
                    "send {} to process {}",
                    crate::signal::name(signal),
                    self.life.pid
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

    fn take(&self, patient: bool) -> Result<Option<Ended>, Error> {
        self.life.take(patient).map_err(|e| self.waiting(e))
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
                &mut [PollFd::new(&self.life.pidfd, PollFlags::IN)],
                left.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.waiting(errno.into())),
            }
        }
    }

    fn waiting(&self, source: std::io::Error) -> Error {
        Error::os(format!("wait for process {}", self.life.pid), source)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}
